import { LogHistogram } from './log-histogram.ts'

/** Spreads whose square would overflow saturate here, so that no sum turns into infinity or NaN. */
const SPREAD_MAX = 1e150

/**
 * Aggregates of one metric over one slice of event time; windows are merged from panes.
 * Fields are plain and mutable because a reading touches exactly one pane: this is the hot path.
 */
export class Pane {
  startTs = 0
  count = 0
  min = 0
  max = 0
  mean = 0
  /** Sum of squared distances from the mean (Welford). */
  squares = 0
  firstTs = 0
  first = 0
  lastTs = 0
  last = 0
  /** The first `count` entries are the values, as long as there is no histogram; a recycled pane leaves old entries behind them. */
  readonly values: number[] = []
  histogram: LogHistogram | null = null

  reset(startTs: number): void {
    this.startTs = startTs
    this.count = 0
    this.histogram = null
  }

  /** Ties of event time: the first to arrive is `first`, the last to arrive is `last`. */
  add(ts: number, value: number, exactValuesMax: number): void {
    const count = ++this.count
    if (count === 1) {
      this.min = this.max = this.mean = this.first = this.last = value
      this.squares = 0
      this.firstTs = this.lastTs = ts
      this.values[0] = value
      return
    }
    if (value < this.min) this.min = value
    if (value > this.max) this.max = value
    if (ts < this.firstTs) {
      this.firstTs = ts
      this.first = value
    }
    if (ts >= this.lastTs) {
      this.lastTs = ts
      this.last = value
    }
    const distance = value - this.mean
    if (distance < SPREAD_MAX && distance > -SPREAD_MAX) {
      this.mean += distance / count
      this.squares = Math.min(Number.MAX_VALUE, this.squares + distance * (value - this.mean))
    } else {
      this.mean = this.mean * ((count - 1) / count) + value / count
      this.squares = Number.MAX_VALUE
    }
    if (count <= exactValuesMax) this.values[count - 1] = value
    else this.#toHistogram(value)
  }

  #toHistogram(value: number): void {
    if (this.histogram === null) {
      this.histogram = new LogHistogram()
      for (let i = 0; i < this.count - 1; i++) this.histogram.add(this.values[i] as number)
    }
    this.histogram.add(value)
  }
}

/** Adds the mean and squared distances of two disjoint sets (Chan et al.), saturating as panes do. */
export function mergeMoments(into: { count: number; mean: number; squares: number }, count: number, mean: number, squares: number): void {
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
