import { LAGS, LAG_ERRORS, RING } from './series-state.ts'

/** Shortest lag looked at: lag 1 is the last value, which is a forecaster of its own. */
const SHORTEST = 2
/** Lags are tried in four groups, one group a value: a quarter of the cost, and each lag is still tried often. */
const GROUPS = 4
/** The best lag is looked for every so many values, after every lag had two rounds to show itself. */
const SEARCH_EVERY = 32
const SEARCH_AFTER = 2 * LAGS
/** A new lag must beat the one in use by this factor: no flapping between a period and its multiples. */
const MUST_BEAT = 0.9
/** An error counts at most so many typical errors, so that one outlier does not choose the lag. */
const ERROR_MAX = 8

/** The value `lag` values ago, as kept in memory. */
export function valueAgo(memory: Float32Array, seen: number, lag: number): number {
  return memory[RING + ((seen - lag) & (LAGS - 1))]!
}

/** Learns how well each lag foretells (in units of `scale`) and keeps the value for later. Returns the lag in use from now on, 0 for none. */
export function learnLags(memory: Float32Array, seen: number, value: number, scale: number, rate: number, lagInUse: number): number {
  const lagsKnown = Math.min(LAGS, seen)
  for (let lag = SHORTEST + (seen & (GROUPS - 1)); lag < lagsKnown; lag += GROUPS) {
    const error = Math.min(ERROR_MAX, Math.abs(value - valueAgo(memory, seen, lag)) / scale)
    const place = LAG_ERRORS + lag
    const mean = memory[place]!
    memory[place] = mean + (error - mean) * Math.max(GROUPS / (seen - lag + GROUPS), GROUPS * rate)
  }
  memory[RING + (seen & (LAGS - 1))] = value
  return (seen & (SEARCH_EVERY - 1)) === 0 && seen > SEARCH_AFTER ? bestLag(memory, lagInUse) : lagInUse
}

function bestLag(memory: Float32Array, lagInUse: number): number {
  let best = SHORTEST
  for (let lag = SHORTEST + 1; lag < LAGS; lag++) if (memory[LAG_ERRORS + lag]! < memory[LAG_ERRORS + best]!) best = lag
  return lagInUse === 0 || memory[LAG_ERRORS + best]! < memory[LAG_ERRORS + lagInUse]! * MUST_BEAT ? best : lagInUse
}
