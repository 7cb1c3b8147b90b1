import type { MetricValue } from '../api/types.ts'

/** Points held at most: more than a wide screen has columns. */
export const POINTS_MAX = 3_000
/** A pause this many times the usual one is drawn as a gap. */
const GAP_FACTOR = 6
/** Different text values told apart; further ones share the last line. */
const CATEGORIES_MAX = 12

export interface Point {
  ts: number
  value: number
  min: number
  max: number
  count: number
}

/** Times, and per time lowest, highest and mean; null where the line breaks. */
export type Columns = [ts: number[], low: (number | null)[], high: (number | null)[], mean: (number | null)[]]

/** What one chart shows of one metric: readings as they are, or buckets of `intervalMs`. Bounded. */
export class ChartSeries {
  /** 0: every reading is a point. */
  readonly intervalMs: number
  /** Names of the values of a metric that holds text or booleans, by height; empty for numbers. */
  readonly categories: string[] = []
  #points: Point[] = []

  /** `points` oldest first. */
  constructor(intervalMs = 0, points: Point[] = []) {
    this.intervalMs = intervalMs
    this.#points = points.slice(-POINTS_MAX)
  }

  get length(): number {
    return this.#points.length
  }
  get firstTs(): number | undefined {
    return this.#points[0]?.ts
  }
  get lastTs(): number | undefined {
    return this.#points.at(-1)?.ts
  }
  /** Readings are drawn as an envelope with their mean, not one by one. */
  get isSummary(): boolean {
    return this.intervalMs > 0
  }

  push(ts: number, raw: MetricValue): void {
    const value = typeof raw === 'number' ? raw : this.#category(String(raw))
    const at = this.intervalMs > 0 ? Math.floor(ts / this.intervalMs) * this.intervalMs : ts
    const place = this.#placeOf(at)
    const there = this.#points[place - 1]
    if (there?.ts === at && this.intervalMs > 0) {
      const count = there.count + 1
      this.#points[place - 1] = {
        ts: at,
        value: there.value + (value - there.value) / count,
        min: Math.min(there.min, value),
        max: Math.max(there.max, value),
        count,
      }
      return
    }
    if (there?.ts === at && there.value === value) return
    this.#points.splice(place, 0, { ts: at, value, min: value, max: value, count: 1 })
    if (this.#points.length > POINTS_MAX) this.#points.shift()
  }

  /** Forgets what lies before. */
  trim(beforeTs: number): void {
    let gone = 0
    while (gone < this.#points.length && (this.#points[gone] as Point).ts < beforeTs) gone++
    if (gone > 0) this.#points.splice(0, gone)
  }

  /** The point nearest to a time. */
  nearest(ts: number): Point | undefined {
    const place = this.#placeOf(ts)
    const before = this.#points[place - 1]
    const after = this.#points[place]
    if (before === undefined || after === undefined) return before ?? after
    return ts - before.ts <= after.ts - ts ? before : after
  }

  columns(): Columns {
    const columns: Columns = [[], [], [], []]
    const gapMs = this.#gapMs()
    let lastTs = Number.POSITIVE_INFINITY
    for (const { ts, value, min, max } of this.#points) {
      if (ts - lastTs > gapMs) add(columns, lastTs + 1, null, null, null)
      if (this.isSummary) add(columns, ts, min, max, value)
      else add(columns, ts, null, null, value)
      lastTs = ts
    }
    return columns
  }

  #gapMs(): number {
    const pauses: number[] = []
    for (let i = 1; i < this.#points.length; i++) pauses.push((this.#points[i] as Point).ts - (this.#points[i - 1] as Point).ts)
    pauses.sort((a, b) => a - b)
    return GAP_FACTOR * Math.max(this.intervalMs, pauses[pauses.length >> 1] ?? Number.POSITIVE_INFINITY, 1)
  }

  /** Index after the last point at or before a time; the end is where live readings go. */
  #placeOf(ts: number): number {
    let low = 0
    let high = this.#points.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#points[middle] as Point).ts <= ts) low = middle + 1
      else high = middle
    }
    return low
  }

  #category(text: string): number {
    const known = this.categories.indexOf(text)
    if (known >= 0) return known
    if (this.categories.length >= CATEGORIES_MAX) return CATEGORIES_MAX - 1
    return this.categories.push(text) - 1
  }
}

function add(columns: Columns, ts: number, low: number | null, high: number | null, mean: number | null): void {
  columns[0].push(ts)
  columns[1].push(low)
  columns[2].push(high)
  columns[3].push(mean)
}
