import type { Clock, Timer } from '../../kernel/time.ts'

/** Something that has at most one deadline at a time. */
export interface DeadlineOwner {
  onDeadline(): void
}

/** Coarseness of deadlines, in ms: late by at most this, never early. Keep alives are whole seconds. */
export const DEADLINE_TICK_MS = 250

/**
 * Deadlines of all connections on one clock timer: arming, moving and dropping one is a set operation, a packet costs none at all
 * (its owner just notes `nowMs` and arms again when it is called too early). Sleeps while nothing is armed.
 */
export class DeadlineWheel {
  readonly #clock: Clock
  readonly #tickMs: number
  readonly #slotOf = new Map<DeadlineOwner, number>()
  readonly #slots = new Map<number, Set<DeadlineOwner>>()
  #nowMs = 0
  #slot = 0
  #timer: Timer | undefined
  #stopped = false

  constructor(clock: Clock, options: { tickMs?: number } = {}) {
    this.#clock = clock
    this.#tickMs = options.tickMs ?? DEADLINE_TICK_MS
  }

  /** Monotonic time, in ms, as of the last tick: up to one tick in the past. */
  get nowMs(): number {
    return this.#nowMs
  }

  get tickMs(): number {
    return this.#tickMs
  }

  /** Owners with a deadline. */
  get size(): number {
    return this.#slotOf.size
  }

  /** Calls `owner.onDeadline()` once, `delayMs` from now or up to one tick later; replaces the owner's earlier deadline. */
  arm(owner: DeadlineOwner, delayMs: number): void {
    if (this.#stopped) return
    this.disarm(owner)
    const nowMs = this.#clock.monotonicMs()
    if (this.#timer === undefined) {
      this.#nowMs = nowMs
      this.#slot = Math.floor(nowMs / this.#tickMs)
      this.#schedule()
    }
    const slot = Math.max(this.#slot + 1, Math.ceil((nowMs + delayMs) / this.#tickMs))
    this.#slotOf.set(owner, slot)
    const owners = this.#slots.get(slot)
    if (owners === undefined) this.#slots.set(slot, new Set([owner]))
    else owners.add(owner)
  }

  disarm(owner: DeadlineOwner): void {
    const slot = this.#slotOf.get(owner)
    if (slot === undefined) return
    this.#slotOf.delete(owner)
    const owners = this.#slots.get(slot)
    owners?.delete(owner)
    if (owners?.size === 0) this.#slots.delete(slot)
  }

  /** Drops every deadline and takes no more; idempotent. */
  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.#timer = undefined
    this.#slotOf.clear()
    this.#slots.clear()
  }

  #schedule(): void {
    this.#timer = this.#clock.after(this.#tickMs, () => this.#tick())
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs()
    // After a stall of the process the devices' packets wait unread in the sockets: read them (next tick) before judging anyone.
    const stalled = nowMs - this.#nowMs > 4 * this.#tickMs
    this.#nowMs = nowMs
    this.#schedule()
    if (!stalled) this.#fire(Math.floor(nowMs / this.#tickMs))
    if (this.#slotOf.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #fire(slotNow: number): void {
    while (this.#slot < slotNow) {
      const slot = ++this.#slot
      const owners = this.#slots.get(slot)
      if (owners === undefined) continue
      this.#slots.delete(slot)
      for (const owner of owners) {
        if (this.#slotOf.get(owner) !== slot) continue
        this.#slotOf.delete(owner)
        owner.onDeadline()
      }
    }
  }
}
