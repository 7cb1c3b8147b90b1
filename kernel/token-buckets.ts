import type { Clock } from './time.ts'

interface Bucket {
  tokens: number
  atMs: number
}

export interface TokenBucketsOptions {
  clock: Clock
  /** Tokens a key gets per second in the long run. */
  ratePerS: number
  /** Tokens a key may take at once after a pause. */
  burstMax: number
  /** Keys remembered at once; those with a full bucket are forgotten first, so that a scan cannot grow the table. */
  keysMax: number
}

/** A token bucket per key, in bounded memory. */
export class TokenBuckets {
  readonly #options: TokenBucketsOptions
  readonly #buckets = new Map<string, Bucket>()

  constructor(options: TokenBucketsOptions) {
    this.#options = options
  }

  /** Takes one token and answers 0, or answers in how many ms there will be one. */
  take(key: string): number {
    const bucket = this.#refilled(key)
    if (bucket.tokens < 1) return ((1 - bucket.tokens) / this.#options.ratePerS) * 1_000
    bucket.tokens--
    return 0
  }

  #refilled(key: string): Bucket {
    const { clock, burstMax, keysMax } = this.#options
    const nowMs = clock.monotonicMs()
    let bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      if (this.#buckets.size >= keysMax) this.#forget(nowMs)
      bucket = { tokens: burstMax, atMs: nowMs }
      this.#buckets.set(key, bucket)
    }
    bucket.tokens = this.#tokensAt(bucket, nowMs)
    bucket.atMs = nowMs
    return bucket
  }

  #tokensAt(bucket: Bucket, nowMs: number): number {
    const { ratePerS, burstMax } = this.#options
    return Math.min(burstMax, bucket.tokens + ((nowMs - bucket.atMs) / 1_000) * ratePerS)
  }

  #forget(nowMs: number): void {
    for (const [key, bucket] of this.#buckets) if (this.#tokensAt(bucket, nowMs) >= this.#options.burstMax) this.#buckets.delete(key)
    // All in use: the longest known goes, for a Map keeps the order of insertion.
    for (const key of this.#buckets.keys()) {
      if (this.#buckets.size < this.#options.keysMax) return
      this.#buckets.delete(key)
    }
  }
}
