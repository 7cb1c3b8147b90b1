/** Statistics of a few thousand values at most. The verifier has its own: never import this there. */

export interface Point {
  ts: number
  value: number
}

/** Middle value, or the mean of the two middle ones; NaN for none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return NaN
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[half] as number) : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Population standard deviation. */
export function deviation(values: readonly number[]): number {
  const centre = mean(values)
  return Math.sqrt(mean(values.map((value) => (value - centre) ** 2)))
}

/** A normal distribution's standard deviation in its median absolute deviations. */
const MAD_TO_DEVIATION = 1.4826
const DEVIATION_SHARE = 0.5
const FLOOR_SHARE = 1e-6

/**
 * How far values usually lie from their median: the median absolute deviation, scaled, but at least half the standard deviation (values that
 * mostly repeat have none of the former) and a millionth of their size (constant ones have neither).
 */
export function spreadOf(values: readonly number[]): number {
  const centre = median(values)
  const distance = median(values.map((value) => Math.abs(value - centre)))
  return Math.max(MAD_TO_DEVIATION * distance, DEVIATION_SHARE * deviation(values), FLOOR_SHARE * Math.max(1, Math.abs(centre)))
}

/** Absolute differences between neighbours. */
export function steps(values: readonly number[]): number[] {
  return values.slice(1).map((value, index) => Math.abs(value - (values[index] as number)))
}

/** Length of the longest run that satisfies `holds`. */
export function longestRun(count: number, holds: (index: number) => boolean): number {
  let longest = 0
  let run = 0
  for (let i = 0; i < count; i++) {
    run = holds(i) ? run + 1 : 0
    longest = Math.max(longest, run)
  }
  return longest
}

/** Correlation of values with their next ones, -1 to 1; 0 for constant ones. */
export function lagCorrelation(values: readonly number[]): number {
  const centre = mean(values)
  let own = 0
  let next = 0
  for (let i = 0; i < values.length; i++) {
    const here = (values[i] as number) - centre
    own += here * here
    if (i > 0) next += here * ((values[i - 1] as number) - centre)
  }
  return own === 0 ? 0 : next / own
}
