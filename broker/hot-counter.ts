import type { Counter } from 'prom-client'
import type { Clock, Timer } from '../kernel/time.ts'

/** How long counts may be behind, in ms: scrapes are seconds apart. */
const FLUSH_AFTER_MS = 100

/** Counters of the hot path: an increment is an addition, the metric itself is told a few times a second. */
export class HotCounters<Name extends string> {
  readonly #clock: Clock
  readonly #counters: Readonly<Record<Name, Counter>>
  readonly #pending: Record<Name, number>
  #timer: Timer | undefined

  constructor(clock: Clock, counters: Readonly<Record<Name, Counter>>) {
    this.#clock = clock
    this.#counters = counters
    this.#pending = Object.fromEntries(Object.keys(counters).map((name) => [name, 0])) as Record<Name, number>
  }

  add(name: Name, amount: number): void {
    this.#pending[name] += amount
    if (this.#timer === undefined) this.#timer = this.#clock.after(FLUSH_AFTER_MS, () => this.flush())
  }

  /** Tells the metrics now. */
  flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    for (const name of Object.keys(this.#pending) as Name[]) {
      if (this.#pending[name] > 0) this.#counters[name].inc(this.#pending[name])
      this.#pending[name] = 0
    }
  }
}
