import { LogHistogram } from './log-histogram.ts'
import { mergeMoments, type Pane } from './pane.ts'

const QUANTILE = 0.95

/**
 * Merges panes, given in order of time, into the figures of one window. One instance is reused for every window.
 * p95 is the nearest-rank quantile (the value at rank ⌈0.95 n⌉): exact while every pane is, else within the histogram's relative error.
 */
export class WindowAccumulator {
  readonly #moments = { count: 0, mean: 0, squares: 0 }
  readonly #histogram = new LogHistogram()
  #panes: Pane[] = []
  #values = new Float64Array(256)

  reset(): void {
    this.#moments.count = this.#moments.mean = this.#moments.squares = 0
    this.#panes.length = 0
  }

  add(pane: Pane): void {
    mergeMoments(this.#moments, pane.count, pane.mean, pane.squares)
    this.#panes.push(pane)
  }

  /** Throws nothing; at least one pane must have been added. */
  summary(): { count: number; min: number; max: number; mean: number; stddev: number; first: number; last: number; p95: number } {
    const { count, mean, squares } = this.#moments
    const panes = this.#panes
    let min = Infinity
    let max = -Infinity
    for (const pane of panes) {
      if (pane.min < min) min = pane.min
      if (pane.max > max) max = pane.max
    }
    return {
      count,
      min,
      max,
      // Rounding may carry a mean past the values it was made of.
      mean: Math.min(max, Math.max(min, mean)),
      stddev: Math.sqrt(Math.max(0, squares / count)),
      first: (panes[0] as Pane).first,
      last: (panes[panes.length - 1] as Pane).last,
      p95: this.#quantile(Math.ceil(QUANTILE * count), min, max),
    }
  }

  get count(): number {
    return this.#moments.count
  }

  #quantile(rank: number, min: number, max: number): number {
    if (rank === this.#moments.count) return max
    if (this.#panes.some((pane) => pane.histogram !== null)) return Math.min(max, Math.max(min, this.#estimate(rank)))
    const count = this.#moments.count
    if (count > this.#values.length) this.#values = new Float64Array(2 ** Math.ceil(Math.log2(count)))
    let length = 0
    for (const pane of this.#panes) {
      for (let i = 0; i < pane.count; i++) this.#values[length++] = pane.values[i] as number
    }
    return this.#values.subarray(0, length).sort()[rank - 1] as number
  }

  #estimate(rank: number): number {
    this.#histogram.clear()
    for (const pane of this.#panes) {
      if (pane.histogram !== null) this.#histogram.merge(pane.histogram)
      else for (let i = 0; i < pane.count; i++) this.#histogram.add(pane.values[i] as number)
    }
    return this.#histogram.valueAtRank(rank)
  }
}
