/** A pattern that chance makes less often than this per look is none of chance: a look asks of thousands of devices. */
export const CHANCE_MAX = 1e-6

/** The probability of `atLeast` or more events where `expected` are usual (Poisson). */
export function chanceOf(atLeast: number, expected: number): number {
  if (atLeast <= 0) return 1
  if (expected <= 0) return 0
  let term = -expected
  let below = 0
  for (let i = 0; i < atLeast; i++) {
    below += Math.exp(term)
    term += Math.log(expected / (i + 1))
  }
  return Math.max(0, 1 - below)
}

/** What is usual in a time of `withinMs` after so many in `baselineMs`. Half an event more than were seen: never seen is not impossible. */
export function usual(seen: number, withinMs: number, baselineMs: number): number {
  return ((seen + 0.5) * withinMs) / Math.max(baselineMs, withinMs)
}
