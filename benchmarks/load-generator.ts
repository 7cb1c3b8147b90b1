import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { InvalidInputError } from '../kernel/errors.ts'
import { every, systemClock, type Timer } from '../kernel/time.ts'
import { readDeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { Latencies, type Percentiles } from '../simulators/latencies.ts'
import { LoadConnection } from './load/load-connection.ts'
import { ReadingPackets } from './load/reading-packets.ts'

/*
 * A lean QoS 1 load generator, a process of its own: prebuilt packets, a fixed number in flight per connection, nothing but node:net and
 * node:tls, so that what is loaded is what is measured. Prints one line of JSON (LoadResult).
 *
 *   node load-generator.js --port 8883 --certs DIR --connections 50 --seconds 60
 *
 * Device i is `<id-prefix><i>`; with --certs its certificate is in DIR/<device>/{key,cert,ca}.pem, without it MQTT is plain. It ends when
 * --total publishes are acknowledged or after --seconds; --rate (publishes a second, of all connections; with --seconds) paces it, otherwise
 * it is as fast as it is acknowledged.
 */

export interface LoadResult {
  acked: number
  seconds: number
  ackedPerS: number
  /** One publish in sixteen. */
  pubackMs: Percentiles
  /** Epoch ms. */
  firstPublishAtMs: number
  lastAckAtMs: number
  /** Event time of seq 0, epoch ms. */
  startTs: number
  boot: string
  /** Processor time of the generator itself, s. */
  cpuS: number
}

const CONNECT_AT_ONCE = 25
const PACE_MS = 5
const NO_LIMIT = 2 ** 50

interface LoadOptions {
  host: string
  port: number
  connections: number
  inflight: number
  total: number
  seconds: number
  rate: number
  certs: string | undefined
  idPrefix: string
  boot: string
  startTs: number
}

function readOptions(): LoadOptions {
  const { values } = parseArgs({
    options: {
      host: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string' },
      connections: { type: 'string', default: '50' },
      inflight: { type: 'string', default: '20' },
      total: { type: 'string', default: '0' },
      seconds: { type: 'string', default: '0' },
      rate: { type: 'string', default: '0' },
      certs: { type: 'string' },
      'id-prefix': { type: 'string', default: 'load-' },
      boot: { type: 'string', default: `b${systemClock.nowMs().toString(36)}` },
      'start-ts': { type: 'string', default: String(systemClock.nowMs()) },
    },
  })
  const number = (name: 'port' | 'connections' | 'inflight' | 'total' | 'seconds' | 'rate' | 'start-ts'): number => {
    const value = Number(values[name] ?? NaN)
    if (!Number.isFinite(value) || value < 0) throw new InvalidInputError(`--${name} is a number from 0`)
    return value
  }
  const options = {
    host: values.host,
    port: number('port'),
    connections: number('connections'),
    inflight: number('inflight'),
    total: number('total'),
    seconds: number('seconds'),
    rate: number('rate'),
    certs: values.certs,
    idPrefix: values['id-prefix'],
    boot: values.boot,
    startTs: number('start-ts'),
  }
  if (options.total === 0 && options.seconds === 0) throw new InvalidInputError('say --total or --seconds')
  if (options.rate > 0 && options.seconds === 0) throw new InvalidInputError('--rate goes with --seconds')
  if (options.total % options.connections !== 0) throw new InvalidInputError('--total is a multiple of --connections')
  return options
}

async function connectionOf(options: LoadOptions, index: number, latencies: Latencies): Promise<LoadConnection> {
  const { host, port, certs, idPrefix, boot, startTs, inflight } = options
  const device = `${idPrefix}${index}`
  const bundle = certs === undefined ? undefined : await readDeviceBundle(join(certs, device))
  if (certs !== undefined && bundle === undefined) throw new InvalidInputError(`there is no certificate of ${device} in ${certs}`)
  const packets = new ReadingPackets({ device, boot, startTs })
  const connection = new LoadConnection({ host, port, device, bundle, packets, inflightMax: inflight, latencies })
  await connection.open()
  return connection
}

/** Hands out what the rate allows, evenly over the connections. */
function startPace(connections: readonly LoadConnection[], ratePerS: number): Timer {
  const startMs = systemClock.monotonicMs()
  let allowed = 0
  const tick = (): void => {
    const due = Math.floor(((systemClock.monotonicMs() - startMs) * ratePerS) / 1_000)
    for (; allowed < due; allowed++) (connections[allowed % connections.length] as LoadConnection).pace(1)
  }
  return every(systemClock, PACE_MS, tick, (error) => {
    throw error
  })
}

async function load(options: LoadOptions): Promise<LoadResult> {
  const latencies = new Latencies()
  const connections: LoadConnection[] = []
  for (let first = 0; first < options.connections; first += CONNECT_AT_ONCE) {
    const count = Math.min(CONNECT_AT_ONCE, options.connections - first)
    connections.push(...(await Promise.all(Array.from({ length: count }, (_, i) => connectionOf(options, first + i, latencies)))))
  }
  const cpuBefore = process.cpuUsage()
  const firstPublishAtMs = systemClock.nowMs()
  const startMs = systemClock.monotonicMs()
  const each = options.total === 0 ? NO_LIMIT : options.total / options.connections
  const running = connections.map((connection) => (options.rate === 0 ? connection.run(each) : connection.runPaced()))
  const pace = options.rate === 0 ? undefined : startPace(connections, options.rate)
  const finish = (): void => {
    pace?.cancel()
    for (const connection of connections) connection.finish()
  }
  if (options.seconds > 0) systemClock.after(options.seconds * 1_000, finish)
  await Promise.all(running)
  const seconds = (systemClock.monotonicMs() - startMs) / 1_000
  const cpu = process.cpuUsage(cpuBefore)
  const acked = connections.reduce((sum, connection) => sum + connection.acked, 0)
  return {
    acked,
    seconds: Number(seconds.toFixed(3)),
    ackedPerS: Math.round(acked / seconds),
    pubackMs: latencies.percentiles(),
    firstPublishAtMs,
    lastAckAtMs: systemClock.nowMs(),
    startTs: options.startTs,
    boot: options.boot,
    cpuS: Number(((cpu.user + cpu.system) / 1e6).toFixed(2)),
  }
}

process.stdout.write(`${JSON.stringify(await load(readOptions()))}\n`)
