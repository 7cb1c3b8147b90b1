import type { Assessment } from './assessment.ts'
import { BY_SLOW, DAY_PROFILE, WEEK_PROFILE, learnErrors } from './forecasters.ts'
import { learnLags } from './lag-memory.ts'
import { PART_LIST, type NumericParameters } from './numeric-parameters.ts'
import { learnBin } from './season-profile.ts'
import {
  ANCHOR,
  BEYOND_RUN,
  ERRORS,
  FAST,
  FIRST_TS,
  HIGHEST,
  INTERVAL_MS,
  LAG,
  LAST,
  LAST_TS,
  LOWEST,
  NOVELTY_MEAN,
  NOVELTY_VARIANCE,
  PARTS,
  PART_MEANS,
  PART_VARIANCES,
  QUANTUM,
  RECENT_ERROR,
  RECENT_NOVELTY,
  SEEN,
  SHIFT,
  SLOW,
  SPREAD,
  toMemory,
  type SeriesState,
} from './series-state.ts'
import { learnHistograms } from './value-histogram.ts'

/** Values before outliers are told from a series that is just beginning. */
const TRUST_AFTER = 20
/** One value teaches at most so many typical errors. */
const TEACH_MAX = 8
const SPREAD_TEACH_MAX = 10
/** After so many values in a row beyond that, it is a new level: the limit doubles every two values. */
const RUN_FREE = 8
const RUN_DOUBLES_EVERY = 2
const RUN_MAX = 1_000
/** A surprise counts at most so many spreads in what is usual. */
const USUAL_MAX = 4
const USUAL_AFTER = 30
const JOINT_AFTER = 60
const SURPRISE_VARIANCE_MIN = 1e-6
const JOINT_SPREAD_MIN = 0.3
const JOINT_VARIANCE_MIN = 1e-4
/** The range forgets at this share of the rate at which the usual is learnt. */
const RANGE_FORGETS = 0.2
/** The sampling interval: the first readings count equally, a gap counts at most fourfold. */
const INTERVAL_READINGS = 50
const GAP_MAX = 4
const INTERVAL_ASSUMED_MS = 1_000

/** Takes an assessed value into the state. */
export function learnValue(
  state: SeriesState,
  value: number,
  tsMs: number,
  seenAs: Assessment,
  parameters: Readonly<NumericParameters>,
): void {
  const { core } = state
  const seen = core[SEEN]!
  if (seen === 0) {
    learnFirst(state, value, tsMs)
    return
  }
  learnInterval(core, seen, tsMs)
  const ramp = 1 / seen
  learnUsual(core, seen, Math.max(ramp, parameters.usualRate), seenAs)
  core[SHIFT] = seenAs.shift
  core[RECENT_ERROR] = seenAs.recentError
  core[RECENT_NOVELTY] = seenAs.recent
  learnHistograms(state.memory, seenAs.bin, parameters.recentDistributionRate, Math.max(ramp, parameters.longDistributionRate))
  learnLevels(state, value, tsMs, seenAs, parameters)
  core[SEEN] = seen + 1
}

function learnFirst(state: SeriesState, value: number, tsMs: number): void {
  const { core } = state
  core[ANCHOR] = core[LAST] = core[FAST] = core[SLOW] = core[HIGHEST] = core[LOWEST] = value
  core[FIRST_TS] = core[LAST_TS] = tsMs
  core[NOVELTY_VARIANCE] = 1
  core.fill(1, PART_VARIANCES, PART_VARIANCES + PARTS)
  core[SEEN] = 1
}

/** Duplicated and unordered timestamps tell nothing of the interval. */
function learnInterval(core: Float64Array, seen: number, tsMs: number): void {
  const gapMs = tsMs - core[LAST_TS]!
  if (gapMs > 0) {
    const interval = core[INTERVAL_MS]!
    core[INTERVAL_MS] =
      interval === 0 ? gapMs : interval + (Math.min(gapMs, GAP_MAX * interval) - interval) / Math.min(seen, INTERVAL_READINGS)
  }
  core[LAST_TS] = tsMs
}

function learnUsual(core: Float64Array, seen: number, rate: number, seenAs: Assessment): void {
  for (let k = 0; k < PARTS; k++) {
    const mean = core[PART_MEANS + k]!
    const variance = core[PART_VARIANCES + k]!
    const surprise = seenAs.surprises[k]!
    const most = mean + USUAL_MAX * Math.max(Math.sqrt(variance), PART_LIST[k]!.spreadMin)
    const difference = (seen < USUAL_AFTER || surprise < most ? surprise : most) - mean
    core[PART_MEANS + k] = mean + rate * difference
    core[PART_VARIANCES + k] = Math.max(SURPRISE_VARIANCE_MIN, (1 - rate) * (variance + rate * difference * difference))
  }
  const mean = core[NOVELTY_MEAN]!
  const variance = core[NOVELTY_VARIANCE]!
  const most = mean + USUAL_MAX * Math.max(Math.sqrt(variance), JOINT_SPREAD_MIN)
  const difference = (seen < JOINT_AFTER || seenAs.joint < most ? seenAs.joint : most) - mean
  core[NOVELTY_MEAN] = mean + rate * difference
  core[NOVELTY_VARIANCE] = Math.max(JOINT_VARIANCE_MIN, (1 - rate) * (variance + rate * difference * difference))
}

function learnLevels(state: SeriesState, value: number, tsMs: number, seenAs: Assessment, parameters: Readonly<NumericParameters>): void {
  const { core, memory } = state
  const seen = core[SEEN]!
  const ramp = 1 / seen
  const slow = core[SLOW]!
  const slowError = core[ERRORS + BY_SLOW]!
  const trusting = seen <= TRUST_AFTER
  const most = TEACH_MAX * slowError + seenAs.floor
  const run = Math.max(0, Math.min(RUN_MAX, core[BEYOND_RUN]! + (Math.abs(value - slow) > most ? 1 : -1)))
  core[BEYOND_RUN] = run
  const release = run > RUN_FREE ? Math.pow(2, (run - RUN_FREE) / RUN_DOUBLES_EVERY) : 1
  const limit = trusting ? Infinity : most * release
  const taught = slow + Math.max(-limit, Math.min(limit, value - slow))

  learnErrors(
    core,
    seenAs.forecasts,
    value,
    Math.max(ramp, parameters.errorRate),
    TEACH_MAX * release,
    trusting ? Infinity : seenAs.floor * release,
  )
  const remembered = toMemory(taught, core[ANCHOR]!)
  core[LAG] = learnLags(memory, seen, remembered, Math.max(slowError, seenAs.floor), parameters.errorRate, core[LAG]!)
  core[FAST] = core[FAST]! + (taught - core[FAST]!) * parameters.fastRate
  core[SLOW] = slow + (taught - slow) * Math.max(ramp, parameters.slowRate)
  const sinceFirstMs = tsMs - core[FIRST_TS]!
  const intervalMs = core[INTERVAL_MS]! || INTERVAL_ASSUMED_MS
  learnBin(memory, DAY_PROFILE, tsMs, remembered, sinceFirstMs, intervalMs)
  learnBin(memory, WEEK_PROFILE, tsMs, remembered, sinceFirstMs, intervalMs)
  learnRange(
    core,
    value,
    Math.max(ramp, parameters.usualRate),
    parameters.usualRate * RANGE_FORGETS,
    trusting ? Infinity : release,
    seenAs.floor,
  )
  const change = Math.abs(value - core[LAST]!)
  const quantum = core[QUANTUM]!
  if (change > 0 && (quantum === 0 || change < quantum)) core[QUANTUM] = change
  core[LAST] = value
}

function learnRange(core: Float64Array, value: number, rate: number, forget: number, release: number, floor: number): void {
  const slow = core[SLOW]!
  const spread = core[SPREAD]!
  const most = (SPREAD_TEACH_MAX * spread + floor) * release
  core[SPREAD] = spread + (Math.min(Math.abs(value - slow), most) - spread) * rate
  core[HIGHEST] = value > core[HIGHEST]! ? value : core[HIGHEST]! - (core[HIGHEST]! - slow) * forget
  core[LOWEST] = value < core[LOWEST]! ? value : core[LOWEST]! + (slow - core[LOWEST]!) * forget
}
