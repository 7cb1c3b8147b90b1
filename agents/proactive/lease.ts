import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'

export interface LeaseDocument {
  holder: string
  until: number
}

/** Of several processes the one that looks. By compare-and-set; whoever stops renewing it loses it. */
export class Lease {
  readonly #options: { documents: Documents; clock: Clock; id: string; holder: string; leaseMs: number }
  #leases: Collection<LeaseDocument> | undefined

  constructor(options: { documents: Documents; clock: Clock; id: string; holder: string; leaseMs: number }) {
    this.#options = options
  }

  /** True: it is ours for `leaseMs` from now. */
  async hold(): Promise<boolean> {
    const { documents, clock, id, holder, leaseMs } = this.#options
    this.#leases ??= await documents.collection<LeaseDocument>({ name: 'agent-leases', indexes: [] })
    const stored = await this.#leases.get(id)
    const nowMs = clock.nowMs()
    if (stored !== null && stored.holder !== holder && stored.until > nowMs) return false
    const next = { holder, until: nowMs + leaseMs }
    const written = await (stored === null ? this.#leases.insert(id, next) : this.#leases.replace(id, stored.version, next))
    return written.status === 'written'
  }

  /** Gives it to whoever comes next. */
  async release(): Promise<void> {
    const { id, holder } = this.#options
    const stored = await this.#leases?.get(id)
    if (stored?.holder === holder) await this.#leases?.delete(id, stored.version)
  }
}
