import { bestLevel, bestOneStep, BY_DAY, BY_SLOW, BY_WEEK, forecast } from './forecasters.ts'
import { PART_LIST, type NumericParameters } from './numeric-parameters.ts'
import {
  ERRORS,
  FORECASTERS,
  HIGHEST,
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
  type SeriesState,
} from './series-state.ts'
import { histogramBin, relativeEntropy } from './value-histogram.ts'

/** What one value looks like against the past: made for every value, so one object is filled again and again. */
export interface Assessment {
  /** What each forecaster expected; which one is trusted for the next value, and which for the level. */
  readonly forecasts: Float64Array
  oneStep: number
  level: number
  /** Smallest error that means anything, in units of the series. */
  floor: number
  /** Surprise of each part on its own scale, and in spreads above what is usual (0 when usual or less). */
  readonly surprises: Float64Array
  readonly excesses: Float64Array
  /** Bin of the deviation from level, and the signed mean deviation with this value in it. */
  bin: number
  shift: number
  recentError: number
  /** Root of the weighted sum of squared excesses; its short mean with this value in it; half of each. */
  combined: number
  recent: number
  joint: number
  /** [0, 1]. */
  novelty: number
}

/** Values before parts are compared with what is usual: a spread of less than thirty values says little. */
const PARTS_AFTER = 30
/** A deviation counts at most so many typical errors in the mean deviation. */
const DEVIATION_MAX = 6
/** The mean deviation is small by nature; this brings it to the size of the others. */
const SHIFT_GAIN = 8
const RANGE_GAIN = 3
/** A season that leaves less than this share of the slow level's error speaks for a value that only it foretold. */
const SEASON_SURE = 0.3
/** Ratios end here: far beyond any scale that matters, and safe to calculate with. */
const RATIO_MAX = 1e12
/** Errors below this share of the running error of the level, or of the level itself, are rounding. */
const ERROR_SHARE = 0.02
const ROUNDING_SHARE = 1e-9
/** A series that never changed: its first change is measured against this share of its level. */
const FIRST_CHANGE_SHARE = 0.01
const TINY = 1e-290
/** Smallest spread of the combined surprise. */
const JOINT_SPREAD_MIN = 0.3
const RECENT_ERROR_MAX = 20

export function newAssessment(): Assessment {
  return {
    forecasts: new Float64Array(FORECASTERS),
    surprises: new Float64Array(PARTS),
    excesses: new Float64Array(PARTS),
    oneStep: 0,
    level: 0,
    floor: 0,
    bin: 0,
    shift: 0,
    recentError: 0,
    combined: 0,
    recent: 0,
    joint: 0,
    novelty: 0,
  }
}

/** Fills `into`; reads the state and changes nothing in it. */
export function assess(state: SeriesState, value: number, tsMs: number, into: Assessment, parameters: Readonly<NumericParameters>): void {
  const { core } = state
  const seen = core[SEEN]!
  if (seen === 0) {
    clear(into)
    return
  }
  forecast(state, tsMs, into.forecasts)
  into.oneStep = bestOneStep(core)
  into.level = bestLevel(core)
  into.floor = floorOf(core)
  surprise(state, value, into, parameters)
  combine(core, seen, into, parameters)
}

function surprise(state: SeriesState, value: number, into: Assessment, parameters: Readonly<NumericParameters>): void {
  const { core, memory } = state
  const { surprises, floor } = into
  const oneStepError = Math.max(core[ERRORS + into.oneStep]!, floor)
  const levelError = Math.max(core[ERRORS + into.level]!, floor)
  const fromLevel = (value - into.forecasts[into.level]!) / levelError
  const error = Math.abs(value - into.forecasts[into.oneStep]!)
  let oneStep = error / oneStepError
  let level = Math.abs(fromLevel)
  for (let k = BY_DAY; k <= BY_WEEK; k++) {
    if (core[ERRORS + k]! >= SEASON_SURE * core[ERRORS + BY_SLOW]!) continue
    const fromSeason = Math.abs(value - into.forecasts[k]!) / Math.max(core[ERRORS + k]!, floor)
    if (fromSeason < oneStep) oneStep = fromSeason
    if (fromSeason < level) level = fromSeason
  }
  surprises[0] = magnitude(oneStep)
  surprises[1] = magnitude(level)
  surprises[2] = magnitude((RANGE_GAIN * Math.max(0, value - core[HIGHEST]!, core[LOWEST]! - value)) / Math.max(core[SPREAD]!, floor))
  const deviation = fromLevel > DEVIATION_MAX ? DEVIATION_MAX : fromLevel < -DEVIATION_MAX ? -DEVIATION_MAX : fromLevel
  into.shift = core[SHIFT]! + (deviation - core[SHIFT]!) * parameters.shiftRate
  surprises[3] = magnitude(Math.abs(into.shift) * SHIFT_GAIN)
  into.bin = histogramBin(fromLevel < 0 ? -magnitude(-fromLevel) : magnitude(fromLevel))
  surprises[4] = relativeEntropy(memory, into.bin, parameters.recentDistributionRate)
  into.recentError =
    core[RECENT_ERROR]! + (Math.min(error, RECENT_ERROR_MAX * oneStepError) - core[RECENT_ERROR]!) * parameters.recentErrorRate
  surprises[5] = Math.abs(Math.log((into.recentError + floor) / (oneStepError + floor)))
}

function combine(core: Float64Array, seen: number, into: Assessment, parameters: Readonly<NumericParameters>): void {
  const { surprises, excesses } = into
  let sum = 0
  for (let k = 0; k < PARTS; k++) {
    const part = PART_LIST[k]!
    const excess = (surprises[k]! - core[PART_MEANS + k]!) / Math.max(Math.sqrt(core[PART_VARIANCES + k]!), part.spreadMin)
    excesses[k] = excess > 0 && seen > PARTS_AFTER ? excess : 0
    sum += part.weight * excesses[k]! * excesses[k]!
  }
  into.combined = Math.sqrt(sum)
  into.recent = core[RECENT_NOVELTY]! + (into.combined - core[RECENT_NOVELTY]!) / parameters.noveltyMeanReadings
  into.joint = (into.combined + into.recent) / 2
  if (seen <= PARTS_AFTER) {
    into.novelty = 0
    return
  }
  const spreads = (into.joint - core[NOVELTY_MEAN]!) / Math.max(Math.sqrt(core[NOVELTY_VARIANCE]!), JOINT_SPREAD_MIN)
  const warm = seen < parameters.warmUpReadings ? seen / parameters.warmUpReadings : 1
  into.novelty = spreads > 0 ? 1 - Math.pow(2, (-spreads * warm) / parameters.halfNoveltyAt) : 0
}

/** The smallest error that means anything: the sensor's resolution, rounding, or a share of how the level errs. */
function floorOf(core: Float64Array): number {
  const level = Math.abs(core[SLOW]!)
  const quantum = core[QUANTUM]!
  return Math.max(
    quantum === 0 ? FIRST_CHANGE_SHARE * level : quantum,
    ROUNDING_SHARE * level + ERROR_SHARE * core[ERRORS + BY_SLOW]!,
    TINY,
  )
}

/** Sizes on a scale that is linear near zero and logarithmic far out (asinh). `ratio` ≥ 0, infinity included. */
function magnitude(ratio: number): number {
  const bounded = ratio < RATIO_MAX ? ratio : RATIO_MAX
  return Math.log(bounded + Math.sqrt(bounded * bounded + 1))
}

function clear(into: Assessment): void {
  into.forecasts.fill(0)
  into.surprises.fill(0)
  into.excesses.fill(0)
  into.oneStep = into.level = BY_SLOW
  into.floor = TINY
  into.bin = into.shift = into.recentError = into.combined = into.recent = into.joint = into.novelty = 0
}
