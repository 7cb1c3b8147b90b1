import {
  DAY,
  DAY_BINS,
  ERRORS,
  FAST,
  FORECASTERS,
  LAG,
  LAST,
  SEEN,
  SLOW,
  WEEK,
  WEEK_BINS,
  ANCHOR,
  type SeriesState,
} from './series-state.ts'
import { binOf, dayProfile, weekProfile } from './season-profile.ts'
import { valueAgo } from './lag-memory.ts'

export const DAY_PROFILE = dayProfile(DAY, DAY_BINS)
export const WEEK_PROFILE = weekProfile(WEEK, WEEK_BINS)

/** Forecasters, in their order in the running errors. */
export const BY_LAST = 0
export const BY_FAST = 1
export const BY_SLOW = 2
export const BY_DAY = 3
export const BY_WEEK = 4
export const BY_LAG = 5

/** A seasonal level replaces the slow one when its error is below this share of the slow one's; a lag must show more. */
const SEASON_MUST_BEAT = 0.9
const LAG_MUST_BEAT = 0.8
const LAG_MUST_BEAT_ONE_STEP = 0.9

/** Fills `forecasts` with what each forecaster expects at this instant; a season not yet seen expects the slow level. */
export function forecast(state: SeriesState, tsMs: number, forecasts: Float64Array): void {
  const { core, memory } = state
  const anchor = core[ANCHOR]!
  const slow = core[SLOW]!
  const day = memory[binOf(DAY_PROFILE, tsMs)]!
  const week = memory[binOf(WEEK_PROFILE, tsMs)]!
  const lag = core[LAG]!
  forecasts[BY_LAST] = core[LAST]!
  forecasts[BY_FAST] = core[FAST]!
  forecasts[BY_SLOW] = slow
  forecasts[BY_DAY] = Number.isNaN(day) ? slow : day + anchor
  forecasts[BY_WEEK] = Number.isNaN(week) ? slow : week + anchor
  forecasts[BY_LAG] = lag === 0 ? core[LAST]! : valueAgo(memory, core[SEEN]!, lag) + anchor
}

/** The forecaster with the smallest running one-step error. */
export function bestOneStep(core: Float64Array): number {
  let best = 0
  for (let k = 1; k < BY_LAG; k++) if (core[ERRORS + k]! < core[ERRORS + best]!) best = k
  return core[LAG]! > 0 && core[ERRORS + BY_LAG]! < core[ERRORS + best]! * LAG_MUST_BEAT_ONE_STEP ? BY_LAG : best
}

/** The forecaster that stands for the level: the slow one, or a season where a season is better. */
export function bestLevel(core: Float64Array): number {
  let best = BY_SLOW
  if (core[ERRORS + BY_DAY]! < core[ERRORS + best]! * SEASON_MUST_BEAT) best = BY_DAY
  if (core[ERRORS + BY_WEEK]! < core[ERRORS + best]! * SEASON_MUST_BEAT) best = BY_WEEK
  return core[LAG]! > 0 && core[ERRORS + BY_LAG]! < core[ERRORS + best]! * LAG_MUST_BEAT ? BY_LAG : best
}

/** Learns how far each forecaster was off; an error counts at most `limit` times what is typical, plus `floor`. */
export function learnErrors(core: Float64Array, forecasts: Float64Array, value: number, rate: number, limit: number, floor: number): void {
  for (let k = 0; k < FORECASTERS; k++) {
    const typical = core[ERRORS + k]!
    const error = Math.abs(value - forecasts[k]!)
    const most = limit * typical + floor
    core[ERRORS + k] = typical + ((error < most ? error : most) - typical) * rate
  }
}
