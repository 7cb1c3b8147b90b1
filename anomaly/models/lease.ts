import type { Clock } from '../../kernel/time.ts'
import type { Collection } from '../../storage/documents/documents.ts'
import type { Lease } from './model-store.ts'

/** Something that one process may do at a time: whoever holds the lease, by compare-and-set, until it runs out. */
export class LeaseHolder {
  readonly #options: { leases: () => Collection<Lease>; id: string; holder: string; leaseMs: number; clock: Clock }
  #until = 0

  constructor(options: { leases: () => Collection<Lease>; id: string; holder: string; leaseMs: number; clock: Clock }) {
    this.#options = options
  }

  /** It is held, and was not run out when this was asked. */
  get isHeld(): boolean {
    return this.#options.clock.nowMs() < this.#until
  }

  /** Takes it when it is free or run out, renews it when it is held; answers whether it is held. */
  async hold(): Promise<boolean> {
    const { leases, id, holder, leaseMs, clock } = this.#options
    const nowMs = clock.nowMs()
    const document = { holder, until: nowMs + leaseMs }
    const stored = await leases().get(id)
    if (stored !== null && stored.holder !== holder && stored.until > nowMs) {
      this.#until = 0
      return false
    }
    const written = stored === null ? await leases().insert(id, document) : await leases().replace(id, stored.version, document)
    this.#until = written.status === 'written' ? document.until : 0
    return this.isHeld
  }

  /** Lets others have it at once. */
  async release(): Promise<void> {
    const { leases, id, holder } = this.#options
    const stored = await leases().get(id)
    if (stored?.holder === holder) await leases().replace(id, stored.version, { holder, until: 0 })
    this.#until = 0
  }
}
