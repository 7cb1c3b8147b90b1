import type { TrendPoint } from './domain-facts.ts'

/** A straight line through points that outliers do not turn. */
export interface Trend {
  perMs: number
  /** Of the line at the last point. */
  level: number
  /** How sure it is that it goes anywhere, in standard deviations of chance (Mann and Kendall). */
  sureness: number
  /** What lies around the line: median of the distances. */
  scatter: number
}

/** Fewer points say nothing of a trend. */
export const POINTS_MIN = 24

/** By Theil and Sen: the median of all slopes between two points. Null for too few points. */
export function trendOf(points: readonly TrendPoint[]): Trend | null {
  const last = points.at(-1)
  if (last === undefined || points.length < POINTS_MIN) return null
  const slopes: number[] = []
  let signs = 0
  for (const [i, a] of points.entries()) {
    for (const b of points.slice(i + 1)) {
      if (b.ts === a.ts) continue
      slopes.push((b.value - a.value) / (b.ts - a.ts))
      signs += Math.sign(b.value - a.value)
    }
  }
  const perMs = medianOf(slopes)
  const level = medianOf(points.map(({ ts, value }) => value + perMs * (last.ts - ts)))
  const scatter = medianOf(points.map(({ ts, value }) => Math.abs(value - (level - perMs * (last.ts - ts)))))
  const n = points.length
  const sureness = Math.abs(signs) / Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18)
  return { perMs, level, sureness, scatter }
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const high = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2
}
