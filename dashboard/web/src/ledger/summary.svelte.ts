import { messageOf } from '../api/client.ts'
import { ledger } from '../api/endpoints.ts'
import type { LedgerCounts } from '../api/types.ts'

const EVERY_MS = 2_000
/** Points of the rate's history: two minutes. */
const RATES_MAX = 60

/** The fleet's sums, asked for again and again while somebody looks, and the rate that follows from them. */
export class LedgerWatch {
  counts = $state.raw<LedgerCounts | undefined>(undefined)
  error = $state('')
  /** Readings per second, oldest first. */
  rates = $state.raw<number[]>([])
  #before: { at: number; received: number } | undefined

  /** Begins; returns the way to stop. */
  watch(): () => void {
    void this.load()
    const timer = setInterval(() => {
      if (!document.hidden) void this.load()
    }, EVERY_MS)
    return () => clearInterval(timer)
  }

  async load(): Promise<void> {
    try {
      const counts = await ledger.summary()
      const at = performance.now()
      if (this.#before !== undefined && at > this.#before.at) {
        const rate = Math.max(0, ((counts.received - this.#before.received) * 1_000) / (at - this.#before.at))
        this.rates = [...this.rates, rate].slice(-RATES_MAX)
      }
      this.#before = { at, received: counts.received }
      this.counts = counts
      this.error = ''
    } catch (error) {
      this.error = messageOf(error)
    }
  }
}
