import { LogHistogram } from './log-histogram.ts'
import type { Panes } from './panes.ts'

const QUANTILE = 0.95
/** A quantile this near to the largest value is found by keeping the largest ones, without sorting: up to 320 values. */
const LARGEST_MAX = 17

/**
 * Merges panes, one behind the other, into the figures of one window. One instance is reused for every window.
 * p95 is the nearest-rank quantile (the value at rank ⌈0.95 n⌉): exact while every pane is, else within the histogram's relative error.
 */
export class WindowAccumulator {
  readonly #moments = { count: 0, mean: 0, squares: 0 }
  readonly #histogram = new LogHistogram()
  #from = 0
  #to = 0
  #values = new Float64Array(256)
  readonly #largest = new Float64Array(LARGEST_MAX)

  /** The panes that begin within this time. */
  take(panes: Panes, startTs: number, endTs: number): void {
    const moments = this.#moments
    moments.count = moments.mean = moments.squares = 0
    let at = 0
    while (at < panes.length && panes.startTs(at) < startTs) at++
    this.#from = at
    for (; at < panes.length && panes.startTs(at) < endTs; at++) panes.mergeMoments(at, moments)
    this.#to = at
  }

  /** Throws nothing; at least one pane must have been taken, of these. */
  summary(panes: Panes): {
    count: number
    min: number
    max: number
    mean: number
    stddev: number
    first: number
    last: number
    p95: number
  } {
    const { count, mean, squares } = this.#moments
    let min = Infinity
    let max = -Infinity
    for (let i = this.#from; i < this.#to; i++) {
      min = Math.min(min, panes.min(i))
      max = Math.max(max, panes.max(i))
    }
    return {
      count,
      min,
      max,
      // Rounding may carry a mean past the values it was made of.
      mean: Math.min(max, Math.max(min, mean)),
      stddev: Math.sqrt(Math.max(0, squares / count)),
      first: panes.first(this.#from),
      last: panes.last(this.#to - 1),
      p95: this.#quantile(panes, Math.ceil(QUANTILE * count), min, max),
    }
  }

  get count(): number {
    return this.#moments.count
  }

  #quantile(panes: Panes, rank: number, min: number, max: number): number {
    const { count } = this.#moments
    if (rank === count) return max
    for (let i = this.#from; i < this.#to; i++)
      if (panes.histogram(i) !== null) return Math.min(max, Math.max(min, this.#estimate(panes, rank)))
    this.#makeRoom(count)
    let length = 0
    for (let i = this.#from; i < this.#to; i++) length = panes.valuesInto(i, this.#values, length)
    const fromLargest = length - rank + 1
    return fromLargest <= LARGEST_MAX
      ? this.#nthLargest(length, fromLargest)
      : (this.#values.subarray(0, length).sort()[rank - 1] as number)
  }

  /** Of the first `length` values; 1 is the largest. */
  #nthLargest(length: number, n: number): number {
    const values = this.#values
    // The n largest so far, in ascending order.
    const largest = this.#largest
    let held = 0
    for (let i = 0; i < length; i++) {
      const value = values[i]!
      if (held < n) {
        let at = held++
        for (; at > 0 && largest[at - 1]! > value; at--) largest[at] = largest[at - 1]!
        largest[at] = value
      } else if (value > largest[0]!) {
        let at = 0
        for (; at + 1 < n && largest[at + 1]! < value; at++) largest[at] = largest[at + 1]!
        largest[at] = value
      }
    }
    return largest[0]!
  }

  #estimate(panes: Panes, rank: number): number {
    this.#histogram.clear()
    for (let i = this.#from; i < this.#to; i++) {
      const histogram = panes.histogram(i)
      if (histogram !== null) this.#histogram.merge(histogram)
      else {
        this.#makeRoom(panes.count(i))
        const end = panes.valuesInto(i, this.#values, 0)
        for (let k = 0; k < end; k++) this.#histogram.add(this.#values[k] as number)
      }
    }
    return this.#histogram.valueAtRank(rank)
  }

  #makeRoom(values: number): void {
    if (values > this.#values.length) this.#values = new Float64Array(2 ** Math.ceil(Math.log2(values)))
  }
}
