import { FleetpulseError, TimeoutError } from './errors.ts'
import type { Random } from './random.ts'
import { sleep, type Clock } from './time.ts'

export interface BackoffOptions {
  /** First delay, in ms. */
  initialMs: number
  /** No delay is longer than this, in ms. */
  maxMs: number
  /** Each delay is the last one times this. */
  factor: number
  /** Part of each delay that is random, 0 to 1. */
  jitter: number
}

/** The delay before attempt `attempt` (1 = the first retry), in ms. */
export function backoffDelayMs(options: BackoffOptions, attempt: number, random: Random): number {
  const full = Math.min(options.maxMs, options.initialMs * options.factor ** (attempt - 1))
  return full * (1 - options.jitter + options.jitter * random.next())
}

export interface RetryOptions extends BackoffOptions {
  clock: Clock
  random: Random
  /** Tries in all; Infinity retries until the signal aborts. */
  attemptsMax: number
  signal?: AbortSignal
  onRetry?: (error: unknown, attempt: number, delayMs: number) => void
}

/** Repeats `run` while it throws an error marked retryable. Throws the last error, or TimeoutError when aborted. */
export async function retry<T>(options: RetryOptions, run: (attempt: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    if (options.signal?.aborted) throw new TimeoutError('stopped while retrying')
    try {
      return await run(attempt)
    } catch (error) {
      const mayRetry = error instanceof FleetpulseError && error.retryable
      if (!mayRetry || attempt >= options.attemptsMax) throw error
      const delayMs = backoffDelayMs(options, attempt, options.random)
      options.onRetry?.(error, attempt, delayMs)
      await sleep(options.clock, delayMs, options.signal)
    }
  }
}

/** Bounds a wait; the error names what was waited for. */
export async function withTimeout<T>(clock: Clock, timeoutMs: number, what: string, promise: Promise<T>): Promise<T> {
  let cancel = (): void => {}
  const timeout = new Promise<never>((_, reject) => {
    const timer = clock.after(timeoutMs, () => reject(new TimeoutError(`${what} took longer than ${timeoutMs} ms`)))
    cancel = () => timer.cancel()
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    cancel()
  }
}

