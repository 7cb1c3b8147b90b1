import type { LoggedReading } from '../../../contracts/reading.ts'
import { gaussian, seededRandom, type Random } from '../../../kernel/random.ts'

/** What goes wrong with one metric of a device. `decoupled`: it goes on as always, and no longer with the others. */
export type SyntheticFault = 'none' | 'shift' | 'decoupled' | 'stuck' | 'drift'

/** Metrics of a pump: two hidden quantities, load and surroundings, are in all of them. */
export const PUMP_METRICS = ['current', 'flow', 'humidity', 'noise', 'pressure', 'speed', 'temperature', 'vibration'] as const

const DAY_ROWS = 600
const START_TS = 1_763_680_000_000

export interface PumpOptions {
  device: string
  seed: number
  rows: number
  /** First row, so that a later part of the same device can be made. */
  from?: number
  fault?: { kind: SyntheticFault; metric: number; fromRow: number; toRow: number }
}

/** Readings of one pump, one a second, the same for the same options. A day has ten minutes here. */
export function pumpReadings({ device, seed, rows, from = 0, fault }: PumpOptions): LoggedReading[] {
  const random = seededRandom(`pump/${seed}`)
  const offsets = PUMP_METRICS.map(() => 0.2 * gaussian(random))
  const real = course(seededRandom(`course/${seed}`), from + rows)
  const other = course(seededRandom(`other/${seed}`), from + rows)
  const readings: LoggedReading[] = []
  let held = 0
  for (let row = 0; row < from + rows; row++) {
    const own = metricsOf(real[row]!, offsets, random)
    const foreign = metricsOf(other[row]!, offsets, random)
    if (row < from) continue
    if (fault !== undefined && row >= fault.fromRow && row < fault.toRow) {
      const { kind, metric } = fault
      const share = (row - fault.fromRow) / (fault.toRow - fault.fromRow)
      if (kind === 'shift') own[metric]! += 5
      if (kind === 'drift') own[metric]! += 8 * share
      if (kind === 'decoupled') own[metric] = foreign[metric]!
      if (kind === 'stuck') own[metric] = held
    } else if (fault !== undefined) held = own[fault.metric]!
    readings.push(readingOf(device, row, own))
  }
  return readings
}

export function readingOf(device: string, row: number, values: readonly number[]): LoggedReading {
  const ts = START_TS + row * 1_000
  return {
    ...{ tenant: 'default', device, type: 'pump', ts, receivedAt: ts, correlationId: `c${row}`, partition: 0, offset: row },
    values: Object.fromEntries(PUMP_METRICS.map((name, k) => [name, values[k] ?? 0])),
  }
}

/** Load and surroundings by row: a daily course, and a wandering around it. */
function course(random: Random, rows: number): [number, number][] {
  const phase = 6 * random.next()
  let load = 0
  let air = 0
  return Array.from({ length: rows }, (_, row) => {
    load += 0.2 * gaussian(random) - 0.05 * load
    air += 0.05 * gaussian(random) - 0.01 * air
    const day = (2 * Math.PI * row) / DAY_ROWS + phase
    return [Math.sin(day) + load, Math.cos(day) + air]
  })
}

function metricsOf([load, air]: [number, number], offsets: readonly number[], random: Random): number[] {
  const clean = [
    2 * load,
    1.5 * load + 0.2 * load * load,
    2 * air,
    load - 0.5 * air,
    1.8 * load + 0.3 * air,
    2 * load,
    air + load,
    Math.abs(load) + 0.3 * air,
  ]
  return clean.map((value, k) => value + (offsets[k] ?? 0) + 0.15 * gaussian(random))
}
