import type { Clock } from '../kernel/time.ts'

/** Addresses remembered at once; the ones with a full bucket are forgotten first, so that a scan cannot grow the table. */
const ADDRESSES_MAX = 10_000

interface Bucket {
  tokens: number
  atMs: number
}

/** A token bucket per remote address. */
export class ConnectRate {
  readonly #clock: Clock
  readonly #ratePerS: number
  readonly #burstMax: number
  readonly #buckets = new Map<string, Bucket>()

  constructor(clock: Clock, ratePerS: number, burstMax: number) {
    this.#clock = clock
    this.#ratePerS = ratePerS
    this.#burstMax = burstMax
  }

  /** Takes one token; false when this address has none left. */
  admit(address: string): boolean {
    const bucket = this.#refilled(address)
    if (bucket.tokens < 1) return false
    bucket.tokens--
    return true
  }

  #refilled(address: string): Bucket {
    const nowMs = this.#clock.monotonicMs()
    let bucket = this.#buckets.get(address)
    if (bucket === undefined) {
      if (this.#buckets.size >= ADDRESSES_MAX) this.#forget(nowMs)
      bucket = { tokens: this.#burstMax, atMs: nowMs }
      this.#buckets.set(address, bucket)
    }
    bucket.tokens = Math.min(this.#burstMax, bucket.tokens + ((nowMs - bucket.atMs) / 1_000) * this.#ratePerS)
    bucket.atMs = nowMs
    return bucket
  }

  #forget(nowMs: number): void {
    for (const [address, bucket] of this.#buckets) {
      if (bucket.tokens + ((nowMs - bucket.atMs) / 1_000) * this.#ratePerS >= this.#burstMax) this.#buckets.delete(address)
    }
    // All in use: the longest known goes, for a Map keeps the order of insertion.
    for (const address of this.#buckets.keys()) {
      if (this.#buckets.size < ADDRESSES_MAX) return
      this.#buckets.delete(address)
    }
  }
}
