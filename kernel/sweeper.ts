import { describeError } from './errors.ts'
import type { Logger } from './log.ts'
import { every, type Clock, type Timer } from './time.ts'

/** Does a round of what time makes due, again and again. A round that fails is logged, and the next one tries again. */
export class Sweeper {
  readonly #options: { what: string; intervalMs: number; clock: Clock; log: Logger; sweep: () => Promise<void> }
  #timer: Timer | undefined
  #sweeping: Promise<void> = Promise.resolve()

  constructor(options: { what: string; intervalMs: number; clock: Clock; log: Logger; sweep: () => Promise<void> }) {
    this.#options = options
  }

  start(): void {
    const { what, intervalMs, clock, log, sweep } = this.#options
    this.#timer ??= every(
      clock,
      intervalMs,
      () => (this.#sweeping = sweep()),
      (error) => log.error({ error: describeError(error) }, `sweep of ${what} failed; the next one tries again`),
    )
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.idle()
  }

  /** Resolves when the round under way, if any, is done; one that failed was logged. */
  idle(): Promise<void> {
    return this.#sweeping.catch(() => undefined)
  }
}
