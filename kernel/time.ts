/** Handle of one pending timer. */
export interface Timer {
  cancel(): void
}

/**
 * The only source of time. Windows, timers, leases and tests all take a Clock, so that a virtual one can run them.
 * Wall time is for people and stored data; monotonic time is for measuring durations.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number
  /** Milliseconds from an arbitrary start, never going backwards. */
  monotonicMs(): number
  /** Calls `run` once after `delayMs`. Does not keep the process alive by itself. */
  after(delayMs: number, run: () => void): Timer
}

class SystemClock implements Clock {
  nowMs(): number {
    return Date.now()
  }
  monotonicMs(): number {
    return performance.now()
  }
  after(delayMs: number, run: () => void): Timer {
    const handle = setTimeout(run, delayMs)
    handle.unref()
    return { cancel: () => clearTimeout(handle) }
  }
}

export const systemClock: Clock = new SystemClock()

/** A clock that moves only when told to; timers fire in order of their due time while it is advanced. */
export class VirtualClock implements Clock {
  #nowMs: number
  readonly #startMs: number
  #sequence = 0
  #pending: { dueMs: number; order: number; run: () => void }[] = []

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs
    this.#startMs = startMs
  }
  /** Whole milliseconds, as of the system's clock, whatever parts of one somebody slept. */
  nowMs(): number {
    return Math.floor(this.#nowMs)
  }
  monotonicMs(): number {
    return this.#nowMs - this.#startMs
  }
  after(delayMs: number, run: () => void): Timer {
    const entry = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#sequence++, run }
    this.#pending.push(entry)
    return {
      cancel: () => {
        this.#pending = this.#pending.filter((other) => other !== entry)
      },
    }
  }
  /** Moves time forward, firing due timers in order and letting promises settle between them. */
  async advance(ms: number): Promise<void> {
    const targetMs = this.#nowMs + ms
    await nextTurn()
    for (;;) {
      this.#pending.sort((a, b) => a.dueMs - b.dueMs || a.order - b.order)
      const next = this.#pending[0]
      if (next === undefined || next.dueMs > targetMs) break
      this.#pending.shift()
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.run()
      await nextTurn()
    }
    this.#nowMs = targetMs
  }
}

/** Resolves when everything that waits already had its turn: others go on in the middle of long work. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Waits `delayMs` on the clock; ends early, without an error, when the signal aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(delayMs, done)
    signal?.addEventListener('abort', done, { once: true })
  })
}

/** Calls `run` every `intervalMs` until cancelled; a run that throws is given to `onError` and the next one still comes. */
export function every(clock: Clock, intervalMs: number, run: () => void | Promise<void>, onError: (error: unknown) => void): Timer {
  let cancelled = false
  let timer: Timer
  const arm = (): void => {
    timer = clock.after(intervalMs, () => {
      void Promise.resolve()
        .then(run)
        .catch(onError)
        .finally(() => {
          if (!cancelled) arm()
        })
    })
  }
  arm()
  return {
    cancel: () => {
      cancelled = true
      timer.cancel()
    },
  }
}
