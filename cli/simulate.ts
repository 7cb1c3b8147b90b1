import { writeFile } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { createLogger } from '../kernel/log.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import { EnvironmentError } from '../kernel/errors.ts'
import { Fleet } from '../simulators/fleet.ts'
import { measureStored, StoredLatencyProbe, type StoreView } from '../simulators/store-check.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { enrolOverEst, estAddress } from './enrol.ts'
import { EXIT } from './failure.ts'
import { duration, positiveNumber, wholeNumber } from './options.ts'
import { progressBar } from './progress.ts'
import { ensureSimulatedTypes } from './simulated-types.ts'

interface SimulateOptions extends PlatformOptions {
  devices: number
  rate: number
  duration: number
  seed: number
  report?: string
  inflight: number
  host: string
  port?: number
  est?: string
  ca?: string
  faults: boolean
  json?: boolean
}

/** Longest wait, in ms, for acknowledgements and for stored readings after the last publish. */
const SETTLE_TIMEOUT_MS = 60_000
/** Part of the run before the first fault, part between two, and part one lasts. */
const FAULT_PARTS = { quiet: 0.4, every: 0.2, lasts: 0.1 }

export function simulateCommand(): Command {
  return new Command('simulate')
    .description('Run a simulated fleet against the running platform and report what became of every reading')
    .option('--devices <n>', 'devices', wholeNumber(1, 100_000), 10)
    .option('--rate <r>', 'readings per second of the whole fleet', positiveNumber(1_000_000), 10)
    .addOption(new Option('--duration <d>', 'how long to publish, for instance 30s or 5m').argParser(duration).default(30_000, '30s'))
    .option('--seed <s>', 'the same seed gives the same devices, values and faults', wholeNumber(0, 2 ** 31), 1)
    .option('--report <file>', 'write the report there as JSON')
    .option('--inflight <n>', 'readings a device may have unacknowledged', wholeNumber(1, 65_535), 100)
    .option('--no-faults', 'nothing goes wrong')
    .option('--host <host>', 'broker host', 'localhost')
    .option('--port <port>', 'broker port (default: where the platform of the data folder listens)', wholeNumber(1, 65_535))
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--est <url>', 'origin of the EST server')
    .option('--ca <file>', 'trust for --est')
    .option('--json', 'print the report as one line of JSON')
    .addHelpText('after', '\nExample:\n  fleetpulse simulate --devices 200 --rate 2000 --duration 1m --seed 7 --report report.json\n')
    .action(simulate)
}

async function simulate(options: SimulateOptions): Promise<void> {
  const api = ApiClient.find(options)
  const bar = progressBar(options.json !== true)
  let fleet: Fleet | undefined
  try {
    const port = options.port ?? api.runtime?.mqtts
    if (port === undefined) throw new EnvironmentError('PLATFORM_UNREACHABLE', 'the address of the broker is not known', { remedy: 'Name it with --port.' })
    await ensureSimulatedTypes(api)
    fleet = newFleet(options, api, port, bar)
    await fleet.connect()
    const report = await runFleet(fleet, options, api, bar)
    bar.stop()
    if (options.report !== undefined) await writeFile(options.report, `${JSON.stringify(report, null, 2)}\n`)
    process.stdout.write(options.json === true ? `${JSON.stringify(report)}\n` : `${describeReport(report)}\n`)
    if (report.lost > 0 || report.duplicated > 0) process.exitCode = EXIT.failed
  } finally {
    fleet?.stop()
    bar.stop()
    await api.close()
  }
}

async function runFleet(fleet: Fleet, options: SimulateOptions, api: ApiClient, bar: ReturnType<typeof progressBar>) {
  const store: StoreView = { readings: (query) => api.get(`/readings?${query}`) }
  const probe = new StoredLatencyProbe({ fleet, store, clock: systemClock })
  const startedMs = systemClock.monotonicMs()
  fleet.run()
  probe.start()
  await publishFor(options.duration, fleet, bar)
  fleet.pause()
  await waitFor(() => fleet.totals().unacked === 0)
  const seconds = (systemClock.monotonicMs() - startedMs) / 1_000
  await probe.stop()
  const stored = await measureStored({ fleet, store, clock: systemClock, timeoutMs: SETTLE_TIMEOUT_MS, onProgress: (done, total) => bar.update('checking the store', done, total) })
  const rejected = await countRejected(api, fleet)
  const totals = fleet.totals()
  return {
    devices: options.devices,
    seed: options.seed,
    seconds: Number(seconds.toFixed(3)),
    sent: totals.sent,
    acked: totals.acked,
    rejected,
    lost: stored.lost,
    duplicated: stored.duplicated,
    outOfOrder: stored.outOfOrder,
    reconnects: totals.reconnects,
    renewals: totals.renewals,
    ackedPerS: Math.round(totals.acked / seconds),
    publishToPubackMs: fleet.ackLatencies.percentiles(),
    publishToStoredMs: probe.latencies.percentiles(),
    faults: fleet.faults,
  }
}

function newFleet(options: SimulateOptions, api: ApiClient, port: number, bar: ReturnType<typeof progressBar>): Fleet {
  const est = estAddress(api, options)
  const { quiet, every, lasts } = FAULT_PARTS
  return new Fleet({
    devices: options.devices,
    ratePerS: options.rate,
    seed: options.seed,
    idPrefix: `load${options.seed}-`,
    host: options.host,
    mqttsPort: port,
    clock: systemClock,
    log: createLogger({ level: 'warn', name: 'simulator' }),
    enrol: (device, type) => enrolOverEst(api, est, device, type),
    inflightMax: options.inflight,
    renewal: () => ({ over: 'mqtt' }),
    onProgress: (what, done) => bar.update(what, done, options.devices),
    ...(options.faults ? { faults: { quietMs: options.duration * quiet, everyMs: options.duration * every, lastsMs: options.duration * lasts } } : {}),
  })
}

async function publishFor(durationMs: number, fleet: Fleet, bar: ReturnType<typeof progressBar>): Promise<void> {
  const startMs = systemClock.monotonicMs()
  for (let passedMs = 0; passedMs < durationMs; passedMs = systemClock.monotonicMs() - startMs) {
    const { sent, acked } = fleet.totals()
    bar.update(`sent ${sent}, acknowledged ${acked}`, Math.round(passedMs / 1_000), Math.round(durationMs / 1_000))
    await sleep(systemClock, Math.min(250, durationMs - passedMs))
  }
}

async function waitFor(condition: () => boolean): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + SETTLE_TIMEOUT_MS
  while (!condition() && systemClock.monotonicMs() < deadlineMs) await sleep(systemClock, 20)
}

async function countRejected(api: ApiClient, fleet: Fleet): Promise<number> {
  let rejected = 0
  for (const device of fleet.devices) {
    const { items } = await api.get<{ items: { rejected: number }[] }>(`/ledger?device=${device.id}`)
    for (const hour of items) rejected += hour.rejected
  }
  return rejected
}

function describeReport(report: { sent: number; acked: number; rejected: number; lost: number; duplicated: number; ackedPerS: number; publishToPubackMs: object; publishToStoredMs: object; faults: readonly object[] }): string {
  return [
    `sent ${report.sent}, acknowledged ${report.acked} (${report.ackedPerS}/s), rejected ${report.rejected}, lost ${report.lost}, duplicated ${report.duplicated}`,
    `publish to PUBACK, ms:  ${JSON.stringify(report.publishToPubackMs)}`,
    `publish to stored, ms:  ${JSON.stringify(report.publishToStoredMs)}`,
    `faults injected: ${report.faults.length}`,
  ].join('\n')
}
