import { LogHistogram } from './log-histogram.ts'
import { Records } from './records.ts'

/** Spreads whose square would overflow saturate here, so that no sum turns into infinity or NaN. */
const SPREAD_MAX = 1e150

/** Where the figures of a pane lie. SQUARES: sum of squared distances from the mean (Welford). */
const START_TS = 0
const COUNT = 1
const MIN = 2
const MAX = 3
const MEAN = 4
const SQUARES = 5
const FIRST_TS = 6
const FIRST = 7
const LAST_TS = 8
const LAST = 9
/** The figures that are saved, besides the count, in the order of the checkpoint. */
export const SAVED_FIGURES = [START_TS, MIN, MAX, MEAN, SQUARES, FIRST_TS, FIRST, LAST_TS, LAST] as const
/** The first values lie behind the figures: those of a device that tells a dozen in a minute, as most of a large fleet do. */
const NEAR_VALUES = 10
const NEAR_VALUES_MAX = 14

/** Values that do not fit there: all the others, or all of them as counts. */
type FarValues = number[] | LogHistogram

/**
 * Aggregates of one metric over slices of event time, in order of time, without gaps filled in; windows are merged from them. A pane is known
 * by its index. This is the hot path: a reading touches one pane.
 */
export class Panes {
  readonly #records = new Records(NEAR_VALUES + NEAR_VALUES_MAX)
  /** By pane; absent while no pane has any. */
  #far: (FarValues | null)[] | null = null

  get length(): number {
    return this.#records.length
  }

  startTs(pane: number): number {
    return this.#figure(pane, START_TS)
  }

  count(pane: number): number {
    return this.#figure(pane, COUNT)
  }

  /** The pane that begins at this time, made where there is none. */
  at(startTs: number): number {
    let before = this.length - 1
    for (; before >= 0; before--) {
      const ts = this.startTs(before)
      if (ts === startTs) return before
      if (ts < startTs) break
    }
    const pane = before + 1
    this.#records.insert(pane)
    this.#far?.splice(pane, 0, null)
    const { block, stride } = this.#records
    block[pane * stride + START_TS] = startTs
    block[pane * stride + COUNT] = 0
    return pane
  }

  /** Ties of event time: the first to arrive is `first`, the last to arrive is `last`. */
  add(pane: number, ts: number, value: number, exactValuesMax: number): void {
    const { block, stride } = this.#records
    const at = pane * stride
    const count = ++block[at + COUNT]!
    if (count === 1) {
      block[at + MIN] = block[at + MAX] = block[at + MEAN] = block[at + FIRST] = block[at + LAST] = value
      block[at + SQUARES] = 0
      block[at + FIRST_TS] = block[at + LAST_TS] = ts
      block[at + NEAR_VALUES] = value
      return
    }
    if (value < block[at + MIN]!) block[at + MIN] = value
    if (value > block[at + MAX]!) block[at + MAX] = value
    if (ts < block[at + FIRST_TS]!) {
      block[at + FIRST_TS] = ts
      block[at + FIRST] = value
    }
    if (ts >= block[at + LAST_TS]!) {
      block[at + LAST_TS] = ts
      block[at + LAST] = value
    }
    const mean = block[at + MEAN]!
    const distance = value - mean
    if (distance < SPREAD_MAX && distance > -SPREAD_MAX) {
      const moved = mean + distance / count
      block[at + MEAN] = moved
      block[at + SQUARES] = Math.min(Number.MAX_VALUE, block[at + SQUARES]! + distance * (value - moved))
    } else {
      block[at + MEAN] = mean * ((count - 1) / count) + value / count
      block[at + SQUARES] = Number.MAX_VALUE
    }
    if (count > exactValuesMax) this.#countIn(pane, count, value)
    else if (count <= NEAR_VALUES_MAX) block[at + NEAR_VALUES + count - 1] = value
    else this.#farOf(pane).push(value)
  }

  removeFirst(count: number): void {
    this.#records.removeFirst(count)
    this.#far?.splice(0, count)
  }

  /** Adds the pane's moments to those of others. */
  mergeMoments(pane: number, into: Moments): void {
    mergeMoments(into, this.count(pane), this.#figure(pane, MEAN), this.#figure(pane, SQUARES))
  }

  min(pane: number): number {
    return this.#figure(pane, MIN)
  }

  max(pane: number): number {
    return this.#figure(pane, MAX)
  }

  first(pane: number): number {
    return this.#figure(pane, FIRST)
  }

  last(pane: number): number {
    return this.#figure(pane, LAST)
  }

  /** Null as long as the values themselves are kept. */
  histogram(pane: number): LogHistogram | null {
    const far = this.#far?.[pane]
    return far instanceof LogHistogram ? far : null
  }

  /** Writes the values into `into`, in order of arrival, and answers where they end. Only for a pane without a histogram. */
  valuesInto(pane: number, into: Float64Array, from: number): number {
    const { block, stride } = this.#records
    const count = this.count(pane)
    const near = Math.min(count, NEAR_VALUES_MAX)
    const at = pane * stride + NEAR_VALUES
    for (let i = 0; i < near; i++) into[from + i] = block[at + i]!
    const far = this.#far?.[pane]
    if (Array.isArray(far)) for (let i = 0; i < far.length; i++) into[from + near + i] = far[i] as number
    return from + count
  }

  /** What a checkpoint keeps of a pane, in the order of SAVED_FIGURES. */
  saved(pane: number): number[] {
    return SAVED_FIGURES.map((figure) => this.#figure(pane, figure))
  }

  /** Puts a pane from a checkpoint behind the others: its figures as `saved` gave them, and its values, or their counts. */
  restore(count: number, figures: readonly number[], values: readonly number[] | LogHistogram): void {
    const pane = this.length
    this.#records.insert(pane)
    this.#far?.push(null)
    const { block, stride } = this.#records
    const at = pane * stride
    block[at + COUNT] = count
    SAVED_FIGURES.forEach((figure, index) => (block[at + figure] = figures[index] as number))
    if (values instanceof LogHistogram) {
      this.#keepFar(pane, values)
      return
    }
    for (let i = 0; i < values.length && i < NEAR_VALUES_MAX; i++) block[at + NEAR_VALUES + i] = values[i] as number
    if (values.length > NEAR_VALUES_MAX) this.#keepFar(pane, values.slice(NEAR_VALUES_MAX))
  }

  #figure(pane: number, figure: number): number {
    return this.#records.block[pane * this.#records.stride + figure]!
  }

  #farOf(pane: number): number[] {
    const far = this.#far?.[pane]
    return Array.isArray(far) ? far : this.#keepFar(pane, [])
  }

  #keepFar<T extends FarValues>(pane: number, values: T): T {
    this.#far ??= Array.from({ length: this.length }, () => null)
    this.#far[pane] = values
    return values
  }

  /** There are too many to keep: from now on the pane counts them. */
  #countIn(pane: number, count: number, value: number): void {
    let histogram = this.histogram(pane)
    if (histogram === null) {
      const kept = new Float64Array(count)
      this.valuesInto(pane, kept, 0)
      histogram = new LogHistogram()
      for (let i = 0; i < count - 1; i++) histogram.add(kept[i]!)
      this.#keepFar(pane, histogram)
    }
    histogram.add(value)
  }
}

export interface Moments {
  count: number
  mean: number
  squares: number
}

/** Adds the mean and squared distances of two disjoint sets (Chan et al.), saturating as panes do. */
function mergeMoments(into: Moments, count: number, mean: number, squares: number): void {
  if (count === 0) return
  if (into.count === 0) {
    into.count = count
    into.mean = mean
    into.squares = squares
    return
  }
  const total = into.count + count
  const distance = mean - into.mean
  if (distance < SPREAD_MAX && distance > -SPREAD_MAX) {
    into.mean += distance * (count / total)
    into.squares = Math.min(Number.MAX_VALUE, into.squares + squares + distance * distance * ((into.count * count) / total))
  } else {
    into.mean = into.mean * (into.count / total) + mean * (count / total)
    into.squares = Number.MAX_VALUE
  }
  into.count = total
}
