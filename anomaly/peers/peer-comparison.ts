import { COMPARED, PLACE, RECENT, USUAL, USUAL_AT_FIRST, VARIANCE, WIDTH } from './peer-state.ts'
import type { PeerFigures } from './peer-summary.ts'

/** A median distance from the median, times this, is a standard deviation where values are normal. */
const SPREADS_PER_DEVIATION = 1.4826
/** Few peers tell little of how far apart they usually are: with n of them the spread is taken 1 + 4 / n times as wide. */
const FEW_PEERS = 4
/** Less than this share of their median is no difference between peers. */
const SHARE_MIN = 1e-3
const TINY = 1e-200
/** A device that so many of its peers are as far out as is not odd; one other may be, however few they are. */
const ALIKE_SHARE = 0.1
const ALIKE_MIN = 1
/** "As far out" begins at this share of its own distance. */
const AS_FAR = 0.7
/** Where it counts as not odd, it counts as so many spreads away at most. */
const AMONG_SPREADS = 1
/** One comparison counts at most so many spreads, and the short mean is of about so many comparisons. */
const SPREADS_MAX = 30
const RECENT_RATE = 1 / 4
/** What is usual is learnt from this many comparisons, as from those that every device is assumed to have had before. */
const LEARN_RATE = 1 / 500
const ASSUMED = 20
/** A comparison teaches at most so many spreads of place, and so many of how far away. */
const PLACE_TEACH_MAX = 4
const USUAL_MAX = 2
/** A moment teaches at most so many times the usual spread of the peers. */
const WIDTH_TEACH_MAX = 4
const SPREAD_MIN = 0.15
/** Spreads that are usual, and those beyond them at which novelty is 0.5. */
const FREE_SPREADS = 2
const HALF_NOVELTY_AT = 3

/** Where a device is among its peers. */
export interface Placed {
  /** Distance from their median in spreads. */
  readonly place: number
  readonly median: number
  readonly spread: number
  /** Spread of the others at this moment, however few they are. */
  readonly width: number
  /** Others that it was compared with. */
  readonly others: number
}

/**
 * Undefined where the others are fewer than `othersMin`. `widthMin`: their usual spread; that few of them happen to be near each other for a moment says
 * nothing. A device that is among the peers is not compared with itself, where they are few.
 */
export function placeAmong(own: number, figures: PeerFigures, othersMin: number, widthMin: number): Placed | undefined {
  const { peers, values } = figures
  const exact = values.length === peers
  const at = exact ? values.indexOf(own) : -1
  const others = peers - 1
  if (others < othersMin) return undefined
  const rest = at === -1 ? values : values.filter((_, k) => k !== at)
  const median = at === -1 ? figures.median : medianOf(rest)
  const deviation = at === -1 ? figures.deviation : medianOf(rest.map((value) => Math.abs(value - median)).sort((a, b) => a - b))
  const width = Math.max(SPREADS_PER_DEVIATION * deviation, SHARE_MIN * Math.abs(median), TINY)
  const spread = (1 + FEW_PEERS / others) * Math.max(width, widthMin)
  const away = own - median
  const asFar = rest.filter((value) => (value - median) * Math.sign(away) >= AS_FAR * Math.abs(away)).length
  const place = clamp(away / spread, SPREADS_MAX)
  // Of quantiles, the outermost may be the device itself.
  const isOdd = asFar <= Math.max(ALIKE_MIN, ALIKE_SHARE * rest.length)
  return { place: isOdd ? place : clamp(place, AMONG_SPREADS), median, spread, others, width }
}

/** How much farther from its usual place the device has been lately than is usual: spreads beyond what is free, ≥ 0. */
export function excessOf(figures: Float64Array, at: number, place: number): number {
  const recent = recentWith(figures, at, place)
  const usual = Math.max(USUAL_AT_FIRST, figures[at + USUAL]!)
  return Math.max(0, (recent - usual) / Math.max(Math.sqrt(figures[at + VARIANCE]!), SPREAD_MIN) - FREE_SPREADS)
}

/** Takes a comparison into what is usual. */
export function learnPlace(figures: Float64Array, at: number, { place, width }: Pick<Placed, 'place' | 'width'>): void {
  const recent = recentWith(figures, at, place)
  const rate = Math.max(LEARN_RATE, 1 / (ASSUMED + figures[at + COMPARED]!))
  const [usual, variance] = [figures[at + USUAL]!, figures[at + VARIANCE]!]
  const difference = clamp(recent - usual, USUAL_MAX * Math.max(Math.sqrt(variance), SPREAD_MIN))
  figures[at + PLACE]! += rate * clamp(place - figures[at + PLACE]!, PLACE_TEACH_MAX)
  figures[at + RECENT] = recent
  figures[at + USUAL] = usual + rate * difference
  figures[at + VARIANCE] = (1 - rate) * (variance + rate * difference * difference)
  const before = figures[at + WIDTH]!
  figures[at + WIDTH] = before === 0 ? width : before + rate * (Math.min(width, WIDTH_TEACH_MAX * before) - before)
  figures[at + COMPARED]!++
}

/** [0, 1] of the excesses of all figures together. */
export function noveltyOfExcesses(squares: number): number {
  return 1 - Math.pow(2, -Math.sqrt(squares) / HALF_NOVELTY_AT)
}

export const PEER_PARAMETERS = { recentRate: RECENT_RATE, learnRate: LEARN_RATE, alikeShare: ALIKE_SHARE, halfNoveltyAt: HALF_NOVELTY_AT }

function recentWith(figures: Float64Array, at: number, place: number): number {
  const size = Math.log1p(Math.min(SPREADS_MAX, Math.abs(place - figures[at + PLACE]!)))
  return figures[at + RECENT]! + (size - figures[at + RECENT]!) * RECENT_RATE
}

function medianOf(sorted: readonly number[]): number {
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : sorted[middle - 1]! / 2 + sorted[middle]! / 2
}

function clamp(value: number, most: number): number {
  return value > most ? most : value < -most ? -most : value
}
