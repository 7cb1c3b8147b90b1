/** The verifier's own arithmetic, on purpose not that of `agents/evidence`: the same definitions, written again in another way. */

/** Value at a share of the way through the sorted values, between neighbours linearly. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort()
  if (sorted.length === 0) return NaN
  const place = share * (sorted.length - 1)
  const low = Math.floor(place)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low]! + (place - low) * (sorted[high]! - sorted[low]!)
}

export const middle = (values: readonly number[]): number => quantile(values, 0.5)

/** Mean and population variance in one pass (Welford). */
export function moments(values: Iterable<number>): { count: number; mean: number; deviation: number } {
  let count = 0
  let mean = 0
  let squares = 0
  for (const value of values) {
    count++
    const before = value - mean
    mean += before / count
    squares += before * (value - mean)
  }
  return { count, mean, deviation: count === 0 ? NaN : Math.sqrt(squares / count) }
}

/** How far values usually lie from their middle; see `spreadOf`. */
export function usualDistance(values: readonly number[]): number {
  const centre = middle(values)
  const byMiddle = 1.4826 * middle(values.map((value) => Math.abs(centre - value)))
  const byDeviation = moments(values).deviation / 2
  return Math.max(byMiddle, byDeviation, 1e-6, 1e-6 * Math.abs(centre))
}

/** Lengths of the longest stretch of equal neighbours, and of values that satisfy a condition. */
export function stretches(values: readonly number[], holds: (value: number) => boolean): { same: number; holding: number; all: number } {
  let [same, sameNow, holding, holdingNow, all] = [0, 0, 0, 0, 0]
  let before: number | undefined
  for (const value of values) {
    sameNow = value === before ? sameNow + 1 : 1
    same = Math.max(same, sameNow)
    holdingNow = holds(value) ? holdingNow + 1 : 0
    if (holdingNow > 0) all++
    holding = Math.max(holding, holdingNow)
    before = value
  }
  return { same, holding, all }
}

/** Sizes of the changes from each value to the next. */
export function* changes(values: readonly number[]): Generator<number> {
  for (let i = 1; i < values.length; i++) yield Math.abs(values[i]! - values[i - 1]!)
}

/** Figures that are the same but for rounding. */
export function isSameFigure(a: number, b: number): boolean {
  if (Object.is(a, b)) return true
  return Math.abs(a - b) <= 1e-9 + 1e-6 * Math.max(Math.abs(a), Math.abs(b))
}
