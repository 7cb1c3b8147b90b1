import { fileURLToPath } from 'node:url'
import type { OperatorOutput } from '../contracts/operator.ts'
import type { LoggedReading } from '../contracts/reading.ts'
import { ByteWriter } from '../kernel/byte-stream.ts'
import { Metrics } from '../kernel/metrics.ts'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { compileSchema } from '../kernel/schema.ts'
import { systemClock } from '../kernel/time.ts'
import { WindowsConfigSchema } from '../processing/windows/config.ts'
import { WindowOperator } from '../processing/windows/window-operator.ts'

export interface WindowsFigure {
  figure: string
  devices: number
  /** Metric values windowed. */
  values: number
  nsPerValue: number
  emitted: number
  /** Average encoded state of one device, bytes. */
  stateBytes: number
  encodeUsPerDevice: number
}

/** Windows alone, one thread: `devices` devices take turns, each saying two metrics every `intervalMs` of event time. */
export function benchWindows(options: { devices: number; readings: number; intervalMs: number; seed: number }): WindowsFigure {
  const config = compileSchema(WindowsConfigSchema)({})
  if (config.status === 'invalid') throw new Error('the default configuration is invalid')
  const operator = new WindowOperator({ config: config.value, metrics: new Metrics() })
  let emitted = 0
  const out: OperatorOutput = { emit: () => void emitted++ }
  const random = seededRandom(options.seed)
  const states = Array.from({ length: options.devices }, (_, i) => operator.create('default', `device-${i}`))
  const noise = Array.from({ length: 4_096 }, () => 20 + gaussian(random))
  const reading: LoggedReading = {
    tenant: 'default',
    device: 'device',
    type: 'generic',
    receivedAt: 0,
    correlationId: 'c',
    ts: 0,
    values: { temperature: 0, pressure: 0 },
    partition: 0,
    offset: 0,
  }
  const run = (from: number, to: number): number => {
    const startMs = systemClock.monotonicMs()
    for (let i = from; i < to; i++) {
      reading.ts = 1_700_000_000_000 + Math.floor(i / options.devices) * options.intervalMs
      reading.values.temperature = noise[i & 4_095] as number
      reading.values.pressure = noise[(i * 7) & 4_095] as number
      operator.apply(states[i % options.devices] as (typeof states)[number], reading, out)
    }
    return systemClock.monotonicMs() - startMs
  }
  const warmUp = Math.floor(options.readings / 4)
  run(0, warmUp)
  emitted = 0
  const tookMs = run(warmUp, warmUp + options.readings)
  const encodeStartMs = systemClock.monotonicMs()
  let stateBytes = 0
  const writer = new ByteWriter()
  for (const state of states) {
    writer.reset()
    operator.encode(state, writer)
    stateBytes += writer.length
  }
  const encodeMs = systemClock.monotonicMs() - encodeStartMs
  const values = options.readings * 2
  return {
    figure: `windows, a reading each ${options.intervalMs} ms`,
    devices: options.devices,
    values,
    nsPerValue: Math.round((tookMs * 1e6) / values),
    emitted,
    stateBytes: Math.round(stateBytes / options.devices),
    encodeUsPerDevice: Math.round((encodeMs * 1e3) / options.devices),
  }
}

/** Prints one line of JSON per figure. */
export function main(): void {
  for (const intervalMs of [10, 1_000, 60_000]) {
    process.stdout.write(`${JSON.stringify(benchWindows({ devices: 1_000, readings: 2_000_000, intervalMs, seed: 7 }))}\n`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
