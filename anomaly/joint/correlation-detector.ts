import type { Detector, Finding } from '../detector.ts'
import { plain } from '../numeric-finding.ts'
import {
  createCorrelationState,
  ERRORS,
  MEANS,
  pairAt,
  PARTNERS,
  RECENT,
  restoreCorrelationState,
  SEEN,
  SINCE,
  snapshotCorrelationState,
  TOGETHER_MAX,
  USUAL,
  VARIANCES,
  type CorrelationState,
} from './correlation-state.ts'

/** Weight of a new reading in means and covariances, in usual errors, and in the short mean of errors. */
const LEARN_RATE = 1 / 2_000
const ERROR_RATE = 1 / 1_000
const RECENT_RATE = 1 / 12
const WARM_UP_READINGS = 300
/** A metric that explains less than this share of another one's variance does not foretell it. */
const EXPLAINS_MIN = 0.5
/** Partners are chosen anew every so many readings, and one must be better by this share to be changed for another. */
const CHOOSE_EVERY = 64
const MUST_BEAT = 1.1
/** Readings after a choice before its errors mean anything. */
const SPEAKS_AFTER = 150
/** An error teaches at most so many usual ones; on the logarithmic scale at most so many spreads. */
const TEACH_MAX = 6
const USUAL_MAX = 4
const SPREAD_MIN = 0.08
/** Spreads that are usual, and those beyond them at which novelty is 0.5. */
const FREE_SPREADS = 2
const HALF_NOVELTY_AT = 4.5
const VALUE_MAX = 1e100
const SHARE_MIN = 1e-12
/** Of the processors at hand; where a line is longer, it is read twice. */
const DOUBLES_PER_LINE = 8
const TINY = 1e-200

/**
 * Metrics of one device that went together and no longer do, each of which may still be within its own band. Every metric is foretold from the
 * one that explains most of it, by the line through their latest 2 000 readings; novel is an error that has been unusually large for a dozen
 * readings. A value is one reading of all metrics in their order, at most `TOGETHER_MAX`; what is not a finite number is not there.
 */
export class CorrelationDetector implements Detector<CorrelationState, readonly number[]> {
  readonly name = 'correlation'
  readonly version = 1
  readonly warmUpReadings = WARM_UP_READINGS
  readonly #spreads = new Float64Array(TOGETHER_MAX)
  readonly #recents = new Float64Array(TOGETHER_MAX)
  readonly #errors = new Float64Array(TOGETHER_MAX)
  /** What was judged last: a reading is judged to be told, and then to be learnt. */
  #judged: CorrelationState | null = null
  #judgedSeen = 0
  #judgedCount = 0
  readonly #judgedValues = new Float64Array(TOGETHER_MAX)
  /** Of it. */
  #novelty = 0
  /** Sum of what was read to fetch a state: kept so that no compiler leaves the reading out. */
  readonly #fetched = new Float64Array(1)

  create(): CorrelationState {
    return createCorrelationState()
  }

  novelty(state: CorrelationState, values: readonly number[]): number {
    return this.#judge(state, values)
  }

  score(state: CorrelationState, values: readonly number[]): number {
    return this.#judge(state, values)
  }

  learn(state: CorrelationState, values: readonly number[]): void {
    this.#judge(state, values)
    const seen = state[SEEN]!
    this.#learnErrors(state, values)
    learnTogether(state, values, Math.max(LEARN_RATE, 1 / (seen + 1)))
    state[SEEN] = seen + 1
    if ((seen + 1) % CHOOSE_EVERY === 0) choosePartners(state)
  }

  /** Parts are places of metrics, as text; so is the sentence, after the name of the metric that stands out. */
  explain(state: CorrelationState, values: readonly number[]): Finding {
    const novelty = this.#judge(state, values)
    const blames = this.#blames(state)
    const sum = blames.reduce((total, blame) => total + blame, 0)
    const contributions = blames
      .map((blame, k) => ({ part: String(k), weight: sum === 0 ? 0 : (novelty * blame) / sum }))
      .filter(({ weight }) => weight > 0)
      .sort((a, b) => b.weight - a.weight)
    const most = Number(contributions[0]?.part ?? 0)
    const partner = state[PARTNERS + most]! - 1
    const observed = known(values[most])
    const expected = partner < 0 || observed === undefined ? null : foretold(state, most, partner, known(values[partner]))
    const reach = 3 * state[ERRORS + most]!
    const { low, high } = expected === null ? { low: null, high: null } : { low: expected - reach, high: expected + reach }
    return {
      sentence: sentenceOf(observed, expected, reach),
      observed: observed ?? null,
      expected,
      low,
      high,
      contributions,
      detector: this.name,
      detectorVersion: this.version,
      parameters: { learnRate: LEARN_RATE, explainsMin: EXPLAINS_MIN, halfNoveltyAt: HALF_NOVELTY_AT, warmUpReadings: WARM_UP_READINGS },
      readingsSeen: state[SEEN]!,
    }
  }

  /** The metric that foretells the one at `place`, and the share of its variance that it explains; undefined when none does. */
  partnerOf(state: CorrelationState, place: number): { place: number; explains: number } | undefined {
    const partner = state[PARTNERS + place]! - 1
    return partner < 0 ? undefined : { place: partner, explains: explains(state, place, partner) }
  }

  seen(state: CorrelationState): number {
    return state[SEEN]!
  }

  snapshot(state: CorrelationState): Uint8Array {
    return snapshotCorrelationState(state)
  }

  restore(bytes: Uint8Array): CorrelationState {
    return restoreCorrelationState(bytes)
  }

  #judge(state: CorrelationState, values: readonly number[]): number {
    if (this.#isJudged(state, values)) return this.#novelty
    this.#fetched[0] = fetch(state)
    let most = 0
    const count = Math.min(TOGETHER_MAX, values.length)
    for (let j = 0; j < TOGETHER_MAX; j++) {
      this.#spreads[j] = 0
      this.#errors[j] = -1
      if (j >= count) continue
      this.#judgedValues[j] = values[j]!
      const partner = state[PARTNERS + j]! - 1
      if (partner < 0) continue
      const value = known(values[j])
      const expected = foretold(state, j, partner, known(values[partner]))
      if (value === undefined || expected === null) continue
      const error = Math.min(VALUE_MAX, Math.abs(value - expected))
      this.#errors[j] = error
      const usual = state[ERRORS + j]!
      const size = usual === 0 ? 0 : Math.log1p(Math.min(1e6, error / usual))
      this.#recents[j] = state[RECENT + j]! + (size - state[RECENT + j]!) * RECENT_RATE
      if (state[SINCE + j]! < SPEAKS_AFTER) continue
      const spreads = (this.#recents[j]! - state[USUAL + j]!) / Math.max(Math.sqrt(state[VARIANCES + j]!), SPREAD_MIN)
      this.#spreads[j] = Math.max(0, spreads - FREE_SPREADS)
      if (this.#spreads[j]! > most) most = this.#spreads[j]!
    }
    const seen = state[SEEN]!
    this.#judged = state
    this.#judgedSeen = seen
    this.#judgedCount = count
    const warm = Math.min(1, seen / WARM_UP_READINGS)
    this.#novelty = most === 0 ? 0 : 1 - Math.pow(2, (-most * warm) / HALF_NOVELTY_AT)
    return this.#novelty
  }

  /** A state that has learnt since has seen more. */
  #isJudged(state: CorrelationState, values: readonly number[]): boolean {
    if (this.#judged !== state || this.#judgedSeen !== state[SEEN]) return false
    const count = this.#judgedCount
    if (values.length !== count) return false
    for (let j = 0; j < count; j++) {
      const [before, now] = [this.#judgedValues[j]!, values[j]!]
      // What is not a number is not there, whichever it is.
      if (before !== now && !(Number.isNaN(before) && Number.isNaN(now))) return false
    }
    return true
  }

  /**
   * How much each metric has to do with it: the squares of what the lines through it leave unexplained, its own and those of metrics that are
   * foretold from it. A metric that still goes with a third one is less likely the one that broke away, and one that broke away takes all with it.
   */
  #blames(state: CorrelationState): number[] {
    const sums = new Float64Array(TOGETHER_MAX)
    const links = new Float64Array(TOGETHER_MAX)
    for (let j = 0; j < TOGETHER_MAX; j++) {
      if (this.#errors[j]! < 0) continue
      for (const place of [j, state[PARTNERS + j]! - 1]) {
        sums[place] = sums[place]! + this.#spreads[j]! ** 2
        links[place] = links[place]! + 1
      }
    }
    return Array.from(sums, (sum, k) => (links[k] === 0 ? 0 : sum / Math.sqrt(links[k]!)))
  }

  /** What the judged reading teaches of errors. */
  #learnErrors(state: CorrelationState, values: readonly number[]): void {
    for (let j = 0; j < TOGETHER_MAX && j < values.length; j++) {
      const error = this.#errors[j]!
      if (error < 0) continue
      const since = state[SINCE + j]!
      const rate = Math.max(ERROR_RATE, 1 / (since + 1))
      const usual = state[ERRORS + j]!
      state[ERRORS + j] = usual + ((since < SPEAKS_AFTER ? error : Math.min(error, TEACH_MAX * usual)) - usual) * rate
      state[RECENT + j] = this.#recents[j]!
      const mean = state[USUAL + j]!
      const variance = state[VARIANCES + j]!
      const limit = USUAL_MAX * Math.max(Math.sqrt(variance), SPREAD_MIN)
      const difference = since < SPEAKS_AFTER ? this.#recents[j]! - mean : Math.max(-limit, Math.min(limit, this.#recents[j]! - mean))
      state[USUAL + j] = mean + rate * difference
      state[VARIANCES + j] = (1 - rate) * (variance + rate * difference * difference)
      state[SINCE + j] = since + 1
    }
  }
}

/** Reads one figure of every cache line of a state, side by side: in a large fleet none is in the processor's cache, and each would be waited for in turn. */
function fetch(state: CorrelationState): number {
  let sum = 0
  for (let k = 0; k < state.length; k += DOUBLES_PER_LINE) sum += state[k]!
  return sum
}

function sentenceOf(observed: number | undefined, expected: number | null, reach: number): string {
  if (observed === undefined || expected === null) return 'goes with nothing'
  const where = observed > expected ? 'above' : 'below'
  return `${plain(observed)} does not go with the other metrics: ${plain(Math.abs(observed - expected))} ${where} the ${plain(expected)} that they make likely (usually within ${plain(reach)})`
}

/** What a metric is likely to be, given its partner; null when that is not there. */
function foretold(state: CorrelationState, j: number, partner: number, value: number | undefined): number | null {
  const variance = state[pairAt(partner, partner)]!
  if (value === undefined || variance <= TINY) return null
  return state[MEANS + j]! + (state[pairAt(j, partner)]! / variance) * (value - state[MEANS + partner]!)
}

function explains(state: CorrelationState, i: number, j: number): number {
  const [a, b] = [state[pairAt(i, i)]!, state[pairAt(j, j)]!]
  const covariance = state[pairAt(i, j)]!
  return a <= TINY || b <= TINY ? 0 : Math.min(1, (covariance / a) * (covariance / b))
}

function choosePartners(state: CorrelationState): void {
  for (let j = 0; j < TOGETHER_MAX; j++) {
    const former = state[PARTNERS + j]! - 1
    let best = former
    let most = former < 0 ? EXPLAINS_MIN : MUST_BEAT * Math.max(explains(state, j, former), EXPLAINS_MIN / MUST_BEAT)
    for (let i = 0; i < TOGETHER_MAX; i++) {
      if (i === j || i === former) continue
      const share = explains(state, j, i)
      if (share <= most) continue
      best = i
      most = share
    }
    if (best === former) continue
    state[PARTNERS + j] = best + 1
    state[ERRORS + j] = state[RECENT + j] = state[USUAL + j] = state[VARIANCES + j] = state[SINCE + j] = 0
  }
}

/** Means and covariances, forgetting slowly. A reading far out teaches as much as its like did in training: there is no reading that decides. */
function learnTogether(state: CorrelationState, values: readonly number[], rate: number): void {
  const count = Math.min(TOGETHER_MAX, values.length)
  for (let i = 0; i < count; i++) {
    const value = known(values[i])
    if (value === undefined) continue
    const away = limited(value - state[MEANS + i]!, state[pairAt(i, i)]!, rate)
    for (let j = 0; j <= i; j++) {
      const other = known(values[j])
      if (other === undefined) continue
      const otherAway = j === i ? away : limited(other - state[MEANS + j]!, state[pairAt(j, j)]!, rate)
      const place = pairAt(i, j)
      state[place] = (1 - rate) * (state[place]! + rate * away * otherAway)
    }
  }
  for (let i = 0; i < count; i++) {
    const value = known(values[i])
    if (value !== undefined) state[MEANS + i] = state[MEANS + i]! + rate * limited(value - state[MEANS + i]!, state[pairAt(i, i)]!, rate)
  }
}

/** Beyond six spreads a reading teaches no more, once there are spreads to speak of. */
function limited(away: number, variance: number, rate: number): number {
  if (rate > 1 / 50 || variance <= TINY) return away
  const most = 6 * Math.sqrt(variance)
  return away > most ? most : away < -most ? -most : Math.abs(away) < SHARE_MIN * most ? 0 : away
}

/** Undefined for what is not a finite number; magnitudes end where their squares are numbers. */
function known(value: number | undefined): number | undefined {
  if (value === undefined || !Number.isFinite(value)) return undefined
  return value > VALUE_MAX ? VALUE_MAX : value < -VALUE_MAX ? -VALUE_MAX : value
}
