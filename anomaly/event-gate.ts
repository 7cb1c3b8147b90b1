import { EVENT_LEFT, EVENT_PEAK } from './series-state.ts'

/** Novelty at which an event begins. */
const EVENT_AT = 0.5
/** During an event only a value that closes this share of the distance from its peak to 1 counts as something new. */
const STEP = 0.5
/** What is left of the score of a repeat. */
const REPEAT_SHARE = 0.3
const REPEAT_MAX = 0.3

/** The score of a novelty: itself, or little when it only repeats the event that is under way. */
export function gated(core: Float64Array, novelty: number): number {
  if (core[EVENT_LEFT]! <= 0 || novelty > core[EVENT_PEAK]! + STEP * (1 - core[EVENT_PEAK]!)) return novelty
  return Math.min(REPEAT_MAX, novelty * REPEAT_SHARE)
}

/** Begins an event, or makes it last `eventReadings` more when it grows; otherwise it runs out value by value. */
export function learnEvent(core: Float64Array, novelty: number, eventReadings: number): void {
  const left = core[EVENT_LEFT]!
  if (novelty >= EVENT_AT && (left <= 0 || novelty > core[EVENT_PEAK]!)) {
    core[EVENT_PEAK] = novelty
    core[EVENT_LEFT] = eventReadings
  } else if (left > 0) {
    core[EVENT_LEFT] = left - 1
  }
}
