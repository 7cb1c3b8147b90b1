import { gaussian, type Random } from '../kernel/random.ts'

/** Normal behaviours, as fleets show them; `noise` is their standard deviation. Value of reading `i`, `intervalMs` apart. */
export interface Behaviour {
  readonly noise: number
  readonly value: (i: number, intervalMs: number, random: Random) => number
}

const DAY_MS = 86_400_000

/** Each call gives behaviours with memories of their own. */
export function behaviours(): Record<string, Behaviour> {
  let wander = 0
  return {
    noise: { noise: 1, value: (_i, _intervalMs, random) => 20 + gaussian(random) },
    'day cycle': {
      noise: 0.5,
      value: (i, intervalMs, random) => 20 + 8 * Math.sin((2 * Math.PI * i * intervalMs) / DAY_MS) + 0.5 * gaussian(random),
    },
    'minute cycle': { noise: 0.5, value: (i, _intervalMs, random) => 20 + 5 * Math.sin((2 * Math.PI * i) / 60) + 0.5 * gaussian(random) },
    'duty cycle': { noise: 0.5, value: (i, _intervalMs, random) => (i % 40 < 20 ? 10 : 20) + 0.5 * gaussian(random) },
    wandering: { noise: 0.3, value: (_i, _intervalMs, random) => 20 + (wander = 0.98 * wander + 0.3 * gaussian(random)) },
    trend: { noise: 1, value: (i, _intervalMs, random) => 20 + 0.01 * i + gaussian(random) },
    'whole numbers': { noise: 0.7, value: (_i, _intervalMs, random) => Math.round(20 + 0.6 * gaussian(random)) },
  }
}

export type FaultKind = 'spike' | 'level shift' | 'drift' | 'noise burst' | 'stuck'

/** Faults, sized in the noise of the behaviour they befall. `k` is the reading's place since the fault began. */
const FAULTS: Record<
  FaultKind,
  { readings: number; apply: (value: number, k: number, noise: number, stuckAt: number, random: Random) => number }
> = {
  spike: { readings: 1, apply: (value, _k, noise) => value + 12 * noise },
  'level shift': { readings: 300, apply: (value, _k, noise) => value + 8 * noise },
  drift: { readings: 300, apply: (value, k, noise) => value + (15 * noise * k) / 300 },
  'noise burst': { readings: 60, apply: (value, _k, noise, _stuckAt, random) => value + 6 * noise * gaussian(random) },
  stuck: { readings: 120, apply: (_value, _k, _noise, stuckAt) => stuckAt },
}
export const FAULT_KINDS = Object.keys(FAULTS) as FaultKind[]

export interface LabelledSeries {
  values: number[]
  /** First reading of the fault and the first after it; both equal the length when there is none. */
  faultFrom: number
  faultTo: number
}

export interface SeriesOptions {
  readings: number
  intervalMs: number
  random: Random
  fault?: { kind: FaultKind; at: number }
}

/** A series of one behaviour, with one labelled fault or none. */
export function seriesOf(behaviour: Behaviour, options: SeriesOptions): LabelledSeries {
  const { readings, intervalMs, random, fault } = options
  const values: number[] = []
  let stuckAt = 0
  for (let i = 0; i < readings; i++) {
    let value = behaviour.value(i, intervalMs, random)
    if (fault !== undefined && i >= fault.at && i < fault.at + FAULTS[fault.kind].readings) {
      if (i === fault.at) stuckAt = value
      value = FAULTS[fault.kind].apply(value, i - fault.at, behaviour.noise, stuckAt, random)
    }
    values.push(value)
  }
  if (fault === undefined) return { values, faultFrom: readings, faultTo: readings }
  return { values, faultFrom: fault.at, faultTo: fault.at + FAULTS[fault.kind].readings }
}
