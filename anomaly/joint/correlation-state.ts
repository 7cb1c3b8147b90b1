import { InvalidInputError } from '../../kernel/errors.ts'

/** Metrics of one device that are looked at together, at most: their pairs are what it costs. */
export const TOGETHER_MAX = 8
const PAIRS = (TOGETHER_MAX * (TOGETHER_MAX + 1)) / 2

/** Places in a state. Per metric: mean; per pair: covariance; per metric again: what its partner leaves unexplained. */
export const SEEN = 0
export const MEANS = 1
export const COVARIANCES = MEANS + TOGETHER_MAX
/** The metric that foretells this one best, plus 1; 0 = none does. */
export const PARTNERS = COVARIANCES + PAIRS
/** Usual size of the error, its short mean on a logarithmic scale, and the mean and variance of that. */
export const ERRORS = PARTNERS + TOGETHER_MAX
export const RECENT = ERRORS + TOGETHER_MAX
export const USUAL = RECENT + TOGETHER_MAX
export const VARIANCES = USUAL + TOGETHER_MAX
/** Readings since the partner was chosen. */
export const SINCE = VARIANCES + TOGETHER_MAX
const LENGTH = SINCE + TOGETHER_MAX
const BYTES = LENGTH * 8

/** What is known of how the metrics of one device go together: 108 doubles. */
export type CorrelationState = Float64Array

export function createCorrelationState(): CorrelationState {
  return new Float64Array(LENGTH)
}

/** Where the covariance of two metrics is. */
export function pairAt(i: number, j: number): number {
  return i >= j ? COVARIANCES + (i * (i + 1)) / 2 + j : COVARIANCES + (j * (j + 1)) / 2 + i
}

/** The state's own memory. */
export function snapshotCorrelationState(state: CorrelationState): Uint8Array {
  return new Uint8Array(state.buffer, state.byteOffset, BYTES)
}

/** Throws InvalidInputError when the length is not that of such a state. */
export function restoreCorrelationState(bytes: Uint8Array): CorrelationState {
  if (bytes.byteLength !== BYTES) {
    throw new InvalidInputError(`the state of metrics together has ${BYTES} bytes, this one has ${bytes.byteLength}`, {
      remedy: 'Let the metrics be learnt anew: drop this snapshot.',
    })
  }
  const state = createCorrelationState()
  new Uint8Array(state.buffer).set(bytes)
  return state
}
