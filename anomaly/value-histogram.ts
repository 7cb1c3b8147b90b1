import { HISTOGRAM_BINS, LONG_HISTOGRAM, RECENT_HISTOGRAM } from './series-state.ts'

/** Bins per unit of the asinh scale. */
const BINS_PER_UNIT = 2.5
const MIDDLE = (HISTOGRAM_BINS - 1) / 2
/** Share below which a bin says nothing. */
const SHARE_MIN = 1e-3

/** Bin of a signed deviation given on the asinh scale. */
export function histogramBin(deviation: number): number {
  const bin = MIDDLE + Math.round(deviation * BINS_PER_UNIT)
  return bin < 0 ? 0 : bin >= HISTOGRAM_BINS ? HISTOGRAM_BINS - 1 : bin
}

/** Relative entropy (nats, ≥ 0) of the recent distribution, this value included, to the long one: how much the kind of values changed. */
export function relativeEntropy(memory: Float32Array, bin: number, recentRate: number): number {
  let sum = 0
  for (let k = 0; k < HISTOGRAM_BINS; k++) {
    const share = memory[RECENT_HISTOGRAM + k]! * (1 - recentRate) + (k === bin ? recentRate : 0)
    if (share > SHARE_MIN) sum += share * Math.log(share / (memory[LONG_HISTOGRAM + k]! + SHARE_MIN))
  }
  return sum > 0 ? sum : 0
}

export function learnHistograms(memory: Float32Array, bin: number, recentRate: number, longRate: number): void {
  for (let k = 0; k < HISTOGRAM_BINS; k++) {
    memory[RECENT_HISTOGRAM + k]! *= 1 - recentRate
    memory[LONG_HISTOGRAM + k]! *= 1 - longRate
  }
  memory[RECENT_HISTOGRAM + bin]! += recentRate
  memory[LONG_HISTOGRAM + bin]! += longRate
}
