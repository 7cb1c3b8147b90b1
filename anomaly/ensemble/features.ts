import type { Sample } from './member.ts'

/** A figure drawn from a series at each value; what it needs lies in `core` from `at` on. NaN while there is none. */
export interface Feature {
  readonly name: string
  readonly doubles: number
  /** In words, of a value: `the mean of the last 3 readings, 48.2,`. */
  readonly of: string
  peek(core: Float64Array, at: number, sample: Readonly<Sample>): number
  learn(core: Float64Array, at: number, sample: Readonly<Sample>): void
}

const COUNT = 0
const RING = 1

export const theValue: Feature = {
  name: 'value',
  of: 'the reading',
  doubles: 0,
  peek: (_core, _at, { value }) => value,
  learn: () => undefined,
}

/** Mean of the last `readings`, of fewer at the beginning. */
export function shortMean(readings: number): Feature {
  return {
    name: `mean of ${readings}`,
    of: `the mean of the last ${readings} readings`,
    doubles: RING + readings - 1,
    peek(core, at, { value }) {
      const known = Math.min(core[at + COUNT]!, readings - 1)
      let mean = value / (known + 1)
      for (let k = 0; k < known; k++) mean += core[at + RING + k]! / (known + 1)
      return mean
    },
    learn(core, at, { value }) {
      core[at + RING + (core[at + COUNT]! % (readings - 1))] = value
      core[at + COUNT] = core[at + COUNT]! + 1
    },
  }
}

/** Change since the reading before. */
export const step: Feature = {
  name: 'step',
  of: 'the step from the reading before',
  doubles: 2,
  peek: (core, at, { value }) => (core[at + COUNT] === 0 ? Number.NaN : value - core[at + RING]!),
  learn(core, at, { value }) {
    core[at + COUNT] = 1
    core[at + RING] = value
  },
}

/** Distance from the exponential mean of the last `readings`. */
export function distanceFromMean(readings: number): Feature {
  return {
    name: 'distance from the latest readings',
    of: `the distance from the mean of about ${readings} readings`,
    doubles: 2,
    peek: (core, at, { value }) => (core[at + COUNT] === 0 ? Number.NaN : value - core[at + RING]!),
    learn(core, at, { value }) {
      core[at + RING] = core[at + COUNT] === 0 ? value : core[at + RING]! + value / readings - core[at + RING]! / readings
      core[at + COUNT] = 1
    },
  }
}

/** Values before the fast tier's forecasts mean anything. */
const FORECASTS_AFTER = 20

/** Distance from what the season, or the level where there is none, expected. */
export const offSeason: Feature = {
  name: 'distance from the season',
  of: 'the distance from what is usual at this time',
  doubles: 0,
  peek: (_core, _at, { value, seen, assessment }) =>
    seen <= FORECASTS_AFTER ? Number.NaN : value - assessment.forecasts[assessment.level]!,
  learn: () => undefined,
}
