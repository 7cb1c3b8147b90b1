import type { Assessment } from './assessment.ts'
import type { Finding } from './detector.ts'
import { BY_DAY, BY_LAG, BY_WEEK } from './forecasters.ts'
import { PART_LIST, RECENT_PART } from './numeric-parameters.ts'
import { ERRORS, LAG, PART_MEANS, PART_VARIANCES, SEEN, type SeriesState } from './series-state.ts'

const ONE_STEP = 0
const LEVEL = 1
const SHIFT = 3
const VOLATILITY = 5
/** The band holds what is at most so many spreads above the usual surprise. */
const BAND_SPREADS = 3
const SPREADS_MAX = 1e12
/** Novelty from which a value inside its band needs a reason. */
const WORTH_A_REASON = 0.3

/** Why the assessed value is as novel as it is. */
export function explainAssessment(
  state: SeriesState,
  value: number,
  seenAs: Assessment,
): Omit<Finding, 'detector' | 'detectorVersion' | 'parameters'> {
  const { core } = state
  const readingsSeen = core[SEEN]!
  if (readingsSeen === 0) {
    return {
      sentence: `${plain(value)} is the first reading`,
      observed: value,
      expected: null,
      low: null,
      high: null,
      contributions: [],
      readingsSeen,
    }
  }
  const byLevel = seenAs.excesses[LEVEL]! > seenAs.excesses[ONE_STEP]!
  const forecaster = byLevel ? seenAs.level : seenAs.oneStep
  const part = byLevel ? LEVEL : ONE_STEP
  const error = Math.max(core[ERRORS + forecaster]!, seenAs.floor)
  const expected = seenAs.forecasts[forecaster]!
  const spread = Math.max(Math.sqrt(core[PART_VARIANCES + part]!), PART_LIST[part]!.spreadMin)
  const reach = error * Math.sinh(core[PART_MEANS + part]! + BAND_SPREADS * spread)
  const band = { expected, low: expected - reach, high: expected + reach }
  const normal = `${plain(band.low)} and ${plain(band.high)}${season(core, forecaster)}`
  const spreads = plain(Math.min(SPREADS_MAX, Math.abs(value - expected) / error))
  let sentence = `${plain(value)} is normal (between ${normal})`
  if (value < band.low || value > band.high) {
    sentence = `${plain(value)} is ${spreads} spreads ${value > expected ? 'above' : 'below'} the expected ${plain(expected)} (normal between ${normal})`
  } else if (seenAs.novelty >= WORTH_A_REASON) {
    sentence = `${plain(value)} alone would be normal (between ${normal}), but ${pattern(seenAs)}`
  }
  return { sentence, observed: value, ...band, contributions: contributionsOf(seenAs), readingsSeen }
}

/** Each part's share of the novelty: shares of the sum of squares, and what earlier values left behind. They add up to the novelty. */
function contributionsOf(seenAs: Assessment): Finding['contributions'] {
  if (seenAs.novelty === 0 || seenAs.joint === 0) return []
  const own = seenAs.combined / (seenAs.combined + seenAs.recent)
  const contributions = PART_LIST.map((part, k) => ({
    part: part.name,
    weight: seenAs.combined === 0 ? 0 : (seenAs.novelty * own * part.weight * seenAs.excesses[k]! ** 2) / seenAs.combined ** 2,
  }))
  contributions.push({ part: RECENT_PART, weight: seenAs.novelty * (1 - own) })
  return contributions.filter((entry) => entry.weight > 0).sort((a, b) => b.weight - a.weight)
}

function pattern(seenAs: Assessment): string {
  let largest = 0
  let at = -1
  for (let k = 2; k < PART_LIST.length; k++) {
    const share = PART_LIST[k]!.weight * seenAs.excesses[k]! ** 2
    if (share > largest) {
      largest = share
      at = k
    }
  }
  if (at === SHIFT) return `the latest readings lie ${seenAs.shift > 0 ? 'above' : 'below'} their level together`
  if (at === VOLATILITY) return 'the latest readings are much calmer or noisier than before'
  if (at === -1) return 'the readings just before it were not'
  return 'the latest readings are spread differently than before'
}

function season(core: Float64Array, forecaster: number): string {
  if (forecaster === BY_DAY) return ' at this time of day'
  if (forecaster === BY_WEEK) return ' at this time of the week'
  return forecaster === BY_LAG ? ` at this point of a cycle of ${core[LAG]!} readings` : ''
}

/** A number for people: up to four significant digits beyond the point, no exponent in the everyday range. */
export function plain(value: number): string {
  const size = Math.abs(value)
  if (size !== 0 && (size >= 1e9 || size < 1e-4)) return value.toPrecision(4)
  const decimals = size >= 10 ? 1 : size >= 1 ? 2 : 4
  return String(Number(value.toFixed(decimals)))
}
