import { nextTurn, sleep, type Clock } from '../../../kernel/time.ts'

export interface PaceOptions {
  clock: Clock
  /** Of the time, above 0 and at most 1. */
  share: number
  /** So long is worked before a rest. */
  workMs: number
  /** Ends the work at its next rest. */
  signal?: AbortSignal
}

/** Takes a share of the time for long work: who calls `rest` often enough rests in proportion to how long the work before took. */
export class Pace {
  readonly #options: PaceOptions
  #sinceMs: number

  constructor(options: PaceOptions) {
    this.#options = options
    this.#sinceMs = options.clock.monotonicMs()
  }

  /** Returns at once while the work is short. Throws the signal's reason when it is aborted. */
  async rest(): Promise<void> {
    const { clock, share, workMs, signal } = this.#options
    signal?.throwIfAborted()
    const workedMs = clock.monotonicMs() - this.#sinceMs
    if (workedMs < workMs) return
    const restMs = workedMs * (1 / share - 1)
    if (restMs > 0) await sleep(clock, restMs, signal)
    else await nextTurn()
    this.#sinceMs = clock.monotonicMs()
  }
}
