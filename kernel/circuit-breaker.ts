import type { Clock } from './time.ts'

export type BreakerState = 'closed' | 'half-open' | 'open'

export interface CircuitBreakerOptions {
  clock: Clock
  /** Failures in a row that open it, at least 1. */
  failuresMax: number
  /** Nothing passes for so long, in ms; then one probe does. */
  openMs: number
  onChange?: (state: BreakerState) => void
}

/** The right to one call. Exactly one of its ends is told; what comes later, or after the breaker changed meanwhile, says nothing. */
export interface Passage {
  succeeded(): void
  failed(): void
  /** The call said nothing about whether the other side works. */
  dropped(): void
}

/** Keeps callers from waiting for what does not work: closed, open after failures in a row, then one probe at a time. */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions
  #state: BreakerState = 'closed'
  #failures = 0
  #openedAtMs = 0
  #isProbing = false
  /** Grows with every change of state: a call that began before it has no say after it. */
  #era = 0

  constructor(options: CircuitBreakerOptions) {
    this.#options = options
  }

  get state(): BreakerState {
    return this.#state
  }

  /** How long until a call may pass, in ms; 0: now, unless a probe is under way. */
  get opensInMs(): number {
    const { clock, openMs } = this.#options
    return this.#state === 'open' ? Math.max(0, this.#openedAtMs + openMs - clock.monotonicMs()) : 0
  }

  /** The right to make a call, or null while none may be made. */
  enter(): Passage | null {
    if (this.#state === 'open' && this.opensInMs === 0) this.#become('half-open')
    if (this.#state === 'open' || (this.#state === 'half-open' && this.#isProbing)) return null
    this.#isProbing = this.#state === 'half-open'
    const era = this.#era
    let isOver = false
    const end = (say: () => void) => (): void => {
      if (isOver || era !== this.#era) return
      isOver = true
      this.#isProbing = false
      say()
    }
    return { succeeded: end(() => this.#succeeded()), failed: end(() => this.#failed()), dropped: end(() => {}) }
  }

  #succeeded(): void {
    this.#failures = 0
    if (this.#state !== 'closed') this.#become('closed')
  }

  #failed(): void {
    this.#failures++
    if (this.#state === 'closed' && this.#failures < this.#options.failuresMax) return
    this.#openedAtMs = this.#options.clock.monotonicMs()
    this.#become('open')
  }

  #become(state: BreakerState): void {
    this.#state = state
    this.#era++
    this.#isProbing = false
    this.#options.onChange?.(state)
  }
}
