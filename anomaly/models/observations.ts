import type { ModelManifest } from './model-file.ts'
import { quantileOf } from './scaling.ts'

export const DECILE_BINS = 10

/** What was seen of a model's rows within a while: how they and their scores were spread, and how many alarms they raised. */
export interface Observed {
  rows: number
  alarms: number
  /** Rows in each tenth of the scores of the readings held out, and of each metric's training values. */
  scores: number[]
  inputs: number[][]
}

export function nothingObserved(metrics: number): Observed {
  return { rows: 0, alarms: 0, scores: zeros(), inputs: Array.from({ length: metrics }, zeros) }
}

function zeros(): number[] {
  return new Array<number>(DECILE_BINS).fill(0)
}

/** Counts one row: the last one of its window. Hot path: allocates nothing. */
export function observe(into: Observed, manifest: ModelManifest, windows: Float32Array, end: number, score: number): void {
  const { metrics, scoreDeciles } = manifest
  into.rows++
  into.scores[binOf(scoreDeciles, score)]!++
  const begin = end - metrics.length
  for (let k = 0; k < metrics.length; k++) into.inputs[k]![binOf(metrics[k]!.deciles, windows[begin + k]!)]!++
}

/** Adds the counts of another process, or of another while. */
export function addObserved(into: Observed, other: Observed): void {
  into.rows += other.rows
  into.alarms += other.alarms
  other.scores.forEach((count, bin) => (into.scores[bin]! += count))
  other.inputs.forEach((bins, k) => bins.forEach((count, bin) => (into.inputs[k]![bin]! += count)))
}

function binOf(deciles: readonly number[], value: number): number {
  let bin = 0
  while (bin < deciles.length && value >= deciles[bin]!) bin++
  return bin
}

/** Values that coincide stand so far apart, so that what is at them is told from what is beyond. */
const APART = 1e-6

/** Nine values between which a tenth of these lie each. */
export function decilesOf(values: Float64Array): number[] {
  const sorted = values.toSorted()
  const deciles: number[] = []
  for (let k = 0; k < DECILE_BINS - 1; k++) {
    const decile = quantileOf(sorted, (k + 1) / DECILE_BINS)
    const last = deciles.at(-1) ?? Number.NEGATIVE_INFINITY
    deciles.push(decile > last ? decile : Math.max(last, decile + APART))
  }
  return deciles
}

/** No share is taken for smaller: one row more or less in an empty bin is no drift. */
const SHARE_MIN = 1e-3

/** Shares of these values in the bins that the deciles make: a tenth each, but where many values are the same. */
export function sharesOf(deciles: readonly number[], values: Float64Array): number[] {
  const shares = zeros()
  for (const value of values) shares[binOf(deciles, value)]! += 1 / values.length
  return shares
}

/** Population stability index of counts in bins, against the shares that they had: below 0.1 nothing changed, from 0.25 on much did. */
export function stabilityIndex(counts: readonly number[], shares: readonly number[]): number {
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (total === 0) return 0
  return shares.reduce((sum, share, bin) => {
    const was = Math.max(SHARE_MIN, share)
    const is = Math.max(SHARE_MIN, counts[bin]! / total)
    return sum + (is - was) * Math.log(is / was)
  }, 0)
}
