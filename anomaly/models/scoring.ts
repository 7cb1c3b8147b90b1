import type { NetworkShape } from './network.ts'

/** Of the fourth powers the largest error decides, and two that go together count more than one. */
const POWER = 4
/** Score of a window whose error equals the threshold: where an anomaly is raised by default. */
export const SCORE_AT_THRESHOLD = 0.65
const HALVINGS_AT_THRESHOLD = -Math.log2(1 - SCORE_AT_THRESHOLD)

/**
 * Error of each metric of one window: the root mean square of what the network told wrong, in units of what it tells wrong of normal ones.
 * `at` is the window's place in both.
 */
export function metricErrors(
  windows: Float32Array,
  told: Float32Array,
  at: number,
  shape: NetworkShape,
  usual: ArrayLike<number>,
  into: Float64Array,
): void {
  const { metrics, rows } = shape
  const begin = at * metrics * rows
  for (let k = 0; k < metrics; k++) {
    let sum = 0
    for (let row = 0; row < rows; row++) {
      const place = begin + row * metrics + k
      const wrong = (windows[place] ?? 0) - (told[place] ?? 0)
      sum += wrong * wrong
    }
    into[k] = Math.sqrt(sum / rows) / (usual[k] ?? 1)
  }
}

/** The errors of the metrics as one. */
export function jointError(errors: Float64Array): number {
  let sum = 0
  for (const error of errors) sum += error ** POWER
  return Math.pow(sum / errors.length, 1 / POWER)
}

/** [0, 1]: `SCORE_AT_THRESHOLD` at the threshold, and quickly less below it. */
export function scoreOf(error: number, threshold: number): number {
  const ratio = error / threshold
  return 1 - Math.pow(2, -HALVINGS_AT_THRESHOLD * ratio * ratio)
}

/** The error of a score below 1, in thresholds. */
export function ratioOf(score: number): number {
  return Math.sqrt(-Math.log2(1 - score) / HALVINGS_AT_THRESHOLD)
}
