import { TimeoutError } from '../../kernel/errors.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import type { BenchPlatform, LedgerSums } from './bench-platform.ts'

const POLL_MS = 20
/** No progress for so long and it will never come. */
const STALLED_MS = 30_000

/** Waits until the ledger has an answer for every reading sent; answers it and the wall time of that moment, epoch ms. */
export async function drained(platform: BenchPlatform, sent: number): Promise<{ sums: LedgerSums; atMs: number }> {
  let settled = -1
  let progressMs = systemClock.monotonicMs()
  for (;;) {
    const sums = await platform.ledger()
    const now = sums.stored + sums.rejected + sums.duplicate
    if (now >= sent) return { sums, atMs: systemClock.nowMs() }
    if (now > settled) progressMs = systemClock.monotonicMs()
    settled = now
    if (systemClock.monotonicMs() - progressMs > STALLED_MS) {
      throw new TimeoutError(`the store stands still at ${JSON.stringify(sums)}, ${sent} readings were acknowledged`)
    }
    await sleep(systemClock, POLL_MS)
  }
}
