/** A connection that waits until it may read on. */
export interface BudgetWaiter {
  onBudget(): void
}

/** What a publish costs beside its payload while it waits: packet, closures and list entry, measured on Node 20. */
export const PUBLISH_OVERHEAD_BYTES = 1_024

/**
 * Bytes that the broker has read from devices and not made durable yet, all connections together. Above the bound sockets that bring more
 * are read no further, until it has fallen to half: the network holds the rest, and devices feel it.
 */
export class IntakeBudget {
  readonly #bytesMax: number
  readonly #waiters = new Set<BudgetWaiter>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }
  get isFull(): boolean {
    return this.#bytes > this.#bytesMax
  }
  /** Connections that are not read because of it. */
  get waiting(): number {
    return this.#waiters.size
  }

  change(bytes: number): void {
    this.#bytes += bytes
    if (bytes < 0 && this.#waiters.size > 0 && this.#bytes <= this.#bytesMax / 2) this.#letGo()
  }

  wait(waiter: BudgetWaiter): void {
    this.#waiters.add(waiter)
  }

  forget(waiter: BudgetWaiter): void {
    this.#waiters.delete(waiter)
  }

  /** Those that were let go may fill it again at once: then the others go on waiting. */
  #letGo(): void {
    for (const waiter of [...this.#waiters]) {
      if (this.isFull) return
      this.#waiters.delete(waiter)
      waiter.onBudget()
    }
  }
}
