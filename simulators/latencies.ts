/** Samples kept: percentiles of a longer run are those of its latest part. */
const SAMPLES_MAX = 200_000

export interface Percentiles {
  count: number
  p50: number | null
  p90: number | null
  p99: number | null
  max: number | null
}

/** Latencies in ms, in a fixed amount of memory. */
export class Latencies {
  readonly #samples = new Float64Array(SAMPLES_MAX)
  #count = 0

  add(ms: number): void {
    this.#samples[this.#count++ % SAMPLES_MAX] = ms
  }

  percentiles(): Percentiles {
    const sorted = this.#samples.slice(0, Math.min(this.#count, SAMPLES_MAX)).sort()
    const at = (part: number): number | null => (sorted.length === 0 ? null : Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] as number) * 100) / 100)
    return { count: this.#count, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) }
  }
}
