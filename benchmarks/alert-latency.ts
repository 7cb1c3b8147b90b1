import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { AlertChange } from '../contracts/alert.ts'
import { InternalError } from '../kernel/errors.ts'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import { readDeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { DeviceConnection } from '../simulators/device-connection.ts'
import { Latencies } from '../simulators/latencies.ts'
import { BenchPlatform, deviceNames } from './harness/bench-platform.ts'
import { complain, report } from './harness/figures.ts'
import { LiveEvents } from './harness/live-events.ts'
import { runLoad } from './harness/run-load.ts'

/*
 * From the publish of the first wrong reading to the `alert` event on the live stream, while 50 devices publish 5 000 readings a second.
 * Beside it how long after the alert opened its first webhook arrives, at a receiver on this machine.
 * Each wrong reading is of a metric that never was wrong before, so each opens a new alert.
 * Options: --alerts 200, --every-ms 500, --rate 5000.
 */

const BENCH = 'alert-latency'
const P99_MAX_MS = 250
const WEBHOOK_P99_MAX_MS = 100
const BACKGROUND_DEVICES = 50
/** Fewer than a device may have scored (anomaly.metricsPerDeviceMax). */
const METRICS_PER_PROBE = 50
/** Well above what the detectors need before they speak. */
const WARM_UP_READINGS = 400
/** Event time between readings of a probe; warm-up readings are of the past. */
const PROBE_STEP_MS = 1_000
const NORMAL = 20
const WRONG = 90
const SETTLE_MS = 5_000
const KEEP_ALIVE_S = 120
const SEED = 11

const { values: options } = parseArgs({
  options: {
    alerts: { type: 'string', default: '200' },
    'every-ms': { type: 'string', default: '500' },
    rate: { type: 'string', default: '5000' },
  },
})
const alerts = Number(options.alerts)
const everyMs = Number(options['every-ms'])
const random = seededRandom(SEED)

/** A device with many metrics, each of which goes wrong once. */
class Probe {
  readonly device: string
  #connection: DeviceConnection | undefined
  #seq = 0
  readonly #startTs = systemClock.nowMs() - (WARM_UP_READINGS + alerts + 60) * PROBE_STEP_MS
  #unacked = 0
  #isDone = false

  constructor(device: string) {
    this.device = device
  }

  async open(platform: BenchPlatform): Promise<void> {
    const bundle = await readDeviceBundle(join(platform.certs, this.device))
    if (bundle === undefined) throw new InternalError(`${this.device} has no certificate`)
    const onAcked = (packetIds: readonly number[]): void => void (this.#unacked -= packetIds.length)
    this.#connection = new DeviceConnection({
      host: 'localhost',
      port: platform.port,
      device: this.device,
      bundle,
      keepAliveS: KEEP_ALIVE_S,
      onAcked,
      onClosed: (error) => {
        if (!this.#isDone) complain(`${this.device} lost its connection: ${error?.message ?? 'closed by the broker'}`)
      },
    })
    await this.#connection.open()
  }

  /** One reading of all metrics, `wrongMetric` far off. */
  publish(wrongMetric?: number): void {
    const values = Object.fromEntries(
      Array.from({ length: METRICS_PER_PROBE }, (_, metric) => [
        `m${metric}`,
        (metric === wrongMetric ? WRONG : NORMAL) + gaussian(random),
      ]),
    )
    const seq = this.#seq++
    this.#connection?.publish(Buffer.from(JSON.stringify({ ts: this.#startTs + seq * PROBE_STEP_MS, boot: 'probe', seq, values })))
    this.#unacked++
  }

  async warmUp(): Promise<void> {
    for (let i = 0; i < WARM_UP_READINGS; i++) {
      this.publish()
      while (this.#unacked > 20) await sleep(systemClock, 1)
    }
  }

  close(): void {
    this.#isDone = true
    this.#connection?.close()
  }
}

/** Registered for every opened alert; measures from the alert's opening, which this machine's clock dated too, to the arrival. */
class WebhookReceiver {
  readonly #latencies = new Latencies()
  readonly #isMeasured: (alert: { device: string; metric: string }) => boolean
  readonly #server = createServer((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      const { data } = JSON.parse(Buffer.concat(pieces).toString()) as {
        data: { alert: { openedAt: number; device: string; metric: string } }
      }
      // What opened during the warm-up came all at once: that is the storm of another bench.
      if (this.#isMeasured(data.alert)) this.#latencies.add(systemClock.nowMs() - data.alert.openedAt)
      response.writeHead(204).end()
    })
  })

  constructor(isMeasured: (alert: { device: string; metric: string }) => boolean) {
    this.#isMeasured = isMeasured
  }

  async open(platform: BenchPlatform): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.#server.unref()
    const { port } = this.#server.address() as AddressInfo
    await platform.process.post('/webhooks', { url: `http://127.0.0.1:${port}/`, events: ['alert.opened'] })
  }

  report(rate: string): void {
    this.#server.closeAllConnections()
    this.#server.close()
    const { count, p50, p99, max } = this.#latencies.percentiles()
    report({
      bench: BENCH,
      figure: 'alert opened to first webhook, p99',
      value: p99,
      unit: 'ms',
      p50,
      max,
      webhooks: count,
      backgroundPerS: Number(rate),
    })
    if (p99 === null || p99 > WEBHOOK_P99_MAX_MS) complain(`the first webhook's p99 is ${p99} ms, more than ${WEBHOOK_P99_MAX_MS} ms`)
  }
}

async function measure(platform: BenchPlatform, probes: readonly Probe[]): Promise<void> {
  const latencies = new Latencies()
  const sentAtMs = new Map<string, number>()
  const known = new Set<string>()
  const live = new LiveEvents()
  await live.open(`${platform.process.api}/api/v1/live`, platform.process.token, ({ event, data }) => {
    if (event !== 'alert') return
    const { alert, change } = data as AlertChange
    const name = `${alert.device}/${alert.metric}`
    const sent = sentAtMs.get(name)
    if (change === 'opened' && sent !== undefined) latencies.add(systemClock.monotonicMs() - sent)
    known.add(name)
  })
  const webhook = new WebhookReceiver(({ device, metric }) => sentAtMs.has(`${device}/${metric}`))
  await webhook.open(platform)
  await Promise.all(probes.map((probe) => probe.warmUp()))
  await sleep(systemClock, SETTLE_MS)
  for (let n = 0; n < alerts; n++) {
    const probe = probes[n % probes.length] as Probe
    const metric = Math.floor(n / probes.length)
    const name = `${probe.device}/m${metric}`
    if (known.has(name)) continue
    sentAtMs.set(name, systemClock.monotonicMs())
    probe.publish(metric)
    await sleep(systemClock, everyMs)
  }
  await sleep(systemClock, SETTLE_MS)
  await live.close()
  webhook.report(options.rate)
  const found = latencies.percentiles()
  const setting = { alerts: found.count, wrong: sentAtMs.size, backgroundPerS: Number(options.rate) }
  report({ bench: BENCH, figure: 'publish to alert on the live stream, p50', value: found.p50, unit: 'ms', ...setting })
  report({ bench: BENCH, figure: 'publish to alert on the live stream, p99', value: found.p99, unit: 'ms' })
  report({ bench: BENCH, figure: 'publish to alert on the live stream, max', value: found.max, unit: 'ms' })
  if (found.count < sentAtMs.size) complain(`${sentAtMs.size - found.count} of ${sentAtMs.size} wrong readings opened no alert`)
  if (found.p99 === null || found.p99 > P99_MAX_MS) complain(`p99 is ${found.p99} ms, more than ${P99_MAX_MS} ms`)
}

const platform = new BenchPlatform({ FLEETPULSE_WEBHOOKS_ALLOW_HTTP: 'true', FLEETPULSE_WEBHOOKS_ALLOW_PRIVATE_TARGETS: 'true' })
const probes = deviceNames(Math.ceil(alerts / METRICS_PER_PROBE), 'probe-').map((device) => new Probe(device))
const alive = setInterval(() => undefined, 1_000)
try {
  await platform.start()
  await platform.enrol([...deviceNames(BACKGROUND_DEVICES), ...probes.map(({ device }) => device)])
  for (const probe of probes) await probe.open(platform)
  const seconds = Math.ceil((alerts * everyMs) / 1_000) + (3 * SETTLE_MS) / 1_000 + probes.length * 2
  const background = runLoad({
    port: platform.port,
    certs: platform.certs,
    connections: BACKGROUND_DEVICES,
    rate: Number(options.rate),
    seconds,
  })
  await measure(platform, probes)
  const load = await background
  report({ bench: BENCH, figure: 'background acknowledged', value: load.ackedPerS, unit: 'readings/s', pubackP99Ms: load.pubackMs.p99 })
} finally {
  clearInterval(alive)
  for (const probe of probes) probe.close()
  await platform.remove()
}
