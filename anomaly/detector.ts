import type { Explanation } from '../contracts/anomaly.ts'

/** What a detector says of one value; the operator adds nothing but the metric's name. */
export type Finding = Omit<Explanation, 'text'> & {
  /** Says the same as the numbers, after the metric's name: `48.2 is 6.3 spreads above …`. */
  sentence: string
}

/**
 * An online detector of one series. The detector is one object for all series; what it knows of a series is the state `S`.
 * Strictly causal: a score depends on earlier values and on the value scored, never on later ones, nor on a file's extremes or length.
 * Nothing here throws on any value of type `V`; scores are finite, in [0, 1], and the same for the same values in the same order.
 */
export interface Detector<S, V> {
  readonly name: string
  /** Grows with every change that can change a score. */
  readonly version: number
  /** Values to be learnt before scores are worth an alert; until then they are damped towards 0. */
  readonly warmUpReadings: number
  create(): S
  /** How unlike the past this value is, [0, 1]. Changes nothing in the state. */
  novelty(state: S, value: V, tsMs: number): number
  /** `novelty`, with the repeats of one event kept low, [0, 1]: it is high when something begins. Changes nothing in the state. */
  score(state: S, value: V, tsMs: number): number
  /** Takes the value into the past. Cheapest right after `novelty` or `score` of the same value. */
  learn(state: S, value: V, tsMs: number): void
  /** Why `novelty` is what it is, to be asked before `learn`; its contributions add up to the novelty. */
  explain(state: S, value: V, tsMs: number): Finding
  /** Values learnt so far. */
  seen(state: S): number
  /** The state as bytes, perhaps in the state's own memory: to be copied before it changes. A restored state scores bit-equally. */
  snapshot(state: S): Uint8Array
  /** Throws InvalidInputError when the bytes are not a snapshot of this detector. */
  restore(bytes: Uint8Array): S
}
