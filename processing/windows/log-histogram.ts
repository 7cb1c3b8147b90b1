/** Largest relative error of a quantile (DDSketch, Masson et al., VLDB 2019: bins whose bounds grow by a constant factor). */
export const RELATIVE_ERROR = 0.01

const GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
const LOG_GAMMA = Math.log(GAMMA)
/** Smaller magnitudes count as zero. */
const MAGNITUDE_MIN = 1e-300
/** Moves every magnitude's bin number above zero: ln(1e-300) / ln(gamma) is about -34 540. */
const KEY_SHIFT = 40_000
/** Bins kept: at 1 % they span 17 powers of ten in use at once. When full, the lowest quarter becomes one bin; high quantiles keep their error. */
const BINS_MAX = 2_048

/**
 * Counts of values in logarithmic bins: mergeable without loss, any quantile within 1 % of the exact nearest-rank value.
 * A bin's key orders as its values do: negative magnitudes below 0, zero at 0, positive above.
 */
export class LogHistogram {
  readonly #bins = new Map<number, number>()

  get size(): number {
    return this.#bins.size
  }

  add(value: number): void {
    this.addToBin(keyOf(value), 1)
  }

  addToBin(key: number, count: number): void {
    this.#bins.set(key, (this.#bins.get(key) ?? 0) + count)
    if (this.#bins.size > BINS_MAX) this.#collapse()
  }

  merge(other: LogHistogram): void {
    for (const [key, count] of other.#bins) this.addToBin(key, count)
  }

  clear(): void {
    this.#bins.clear()
  }

  /** The value at `rank` (1 = smallest) within the relative error; ranks above the count answer the largest bin. */
  valueAtRank(rank: number): number {
    let seen = 0
    let key = 0
    for (key of this.sortedKeys()) {
      seen += this.#bins.get(key) ?? 0
      if (seen >= rank) break
    }
    return valueOf(key)
  }

  sortedKeys(): Int32Array {
    return Int32Array.from(this.#bins.keys()).sort()
  }

  countOf(key: number): number {
    return this.#bins.get(key) ?? 0
  }

  #collapse(): void {
    const keys = this.sortedKeys()
    const into = keys[BINS_MAX >> 2] ?? 0
    for (const key of keys.subarray(0, BINS_MAX >> 2)) {
      this.#bins.set(into, this.countOf(into) + this.countOf(key))
      this.#bins.delete(key)
    }
  }
}

function keyOf(value: number): number {
  const magnitude = Math.abs(value)
  if (magnitude < MAGNITUDE_MIN) return 0
  const key = Math.ceil(Math.log(magnitude) / LOG_GAMMA) + KEY_SHIFT
  return value > 0 ? key : -key
}

/** The point of a bin that is equally far, in relative terms, from both its bounds. */
function valueOf(key: number): number {
  if (key === 0) return 0
  const magnitude = Math.min(Number.MAX_VALUE, (2 / (GAMMA + 1)) * Math.exp((Math.abs(key) - KEY_SHIFT) * LOG_GAMMA))
  return key > 0 ? magnitude : -magnitude
}
