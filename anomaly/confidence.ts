/**
 * How often an anomaly of this novelty is a true one: a logistic curve over log₂ of what is left of the novelty to 1, fitted to synthetic
 * series of all behaviours, half of them with one fault an hour (`confidence.test.ts` tries it on others). Where faults are rarer, fewer are
 * true.
 */
const OFFSET = -3.98
const SLOPE = 2.35
const LEFT_MIN = 1e-6

/** [0, 1]; of anomalies of numbers that began with this novelty, about this share is true. */
export function confidenceOf(novelty: number): number {
  return 1 / (1 + Math.exp(-(OFFSET - SLOPE * Math.log2(Math.max(LEFT_MIN, 1 - novelty)))))
}
