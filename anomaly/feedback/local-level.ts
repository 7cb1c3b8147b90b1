import { BY_LAST } from '../forecasters.ts'
import { latestAgo, type EnsembleState } from '../ensemble/ensemble-state.ts'
import { ERRORS, SEEN } from '../series-state.ts'

/**
 * The local level of a reading is the mean of those from `LATEST` to `OLDEST` before it: near enough to follow a season, far enough not to
 * be the event itself.
 */
const LATEST = 3
const OLDEST = 8
/** Nearer to the local level than so many usual steps is usual. */
const USUAL_STEPS = 3

/** What counts as usual now, in units of the series: kept while an event is under way, which widens it. */
export function usualReach({ fast }: EnsembleState): number {
  return USUAL_STEPS * fast.core[ERRORS + BY_LAST]!
}

/** What a value lies beyond its local level, in units of the series; 0 within `reach`. It was learnt `ago` readings ago; 0: it is not learnt yet. */
export function beyond(state: EnsembleState, value: number, ago: number, reach: number): number {
  let sum = 0
  let count = 0
  for (let k = ago + LATEST; k <= ago + OLDEST && k <= state.fast.core[SEEN]!; k++) {
    sum += latestAgo(state, k)
    count++
  }
  const away = count === 0 ? 0 : value - sum / count
  // Squares of these are still numbers, and so are sums of some.
  return Math.abs(away) <= reach ? 0 : Math.max(-1e150, Math.min(1e150, away))
}
