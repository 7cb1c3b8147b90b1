import type { Clock } from '../../kernel/time.ts'
import type { Collection, Stored } from '../../storage/documents/documents.ts'
import type { EdgeDocument, Positions } from './edge-documents.ts'

interface Seen {
  /** When this version was seen first, and last. */
  firstMs: number
  lastMs: number
  document: EdgeDocument & Stored
}

/** What is known of a lease: held, declared over (with the positions it ended at), or that there is no such lease any more. */
export type LeaseState = { status: 'live' } | { status: 'over'; positions: Positions } | { status: 'gone' }

/** The leases of all edges, as this one sees them. */
export class EdgePeers {
  readonly #edges: () => Collection<EdgeDocument>
  readonly #clock: Clock
  #seen = new Map<string, Seen>()

  constructor(edges: () => Collection<EdgeDocument>, clock: Clock) {
    this.#edges = edges
    this.#clock = clock
  }

  /** Leases other than `own` that are over, or can be declared so, as of the last look. */
  overdue(own: string): string[] {
    return [...this.#seen].filter(([id, seen]) => id !== own && isOverdue(seen)).map(([id]) => id)
  }

  /** Looks at every lease. */
  async look(): Promise<void> {
    const documents = await this.#edges().find({})
    const seen = new Map<string, Seen>()
    for (const document of documents) seen.set(document._id, this.#note(document))
    this.#seen = seen
  }

  /** Looks at a lease, and declares it over when it has not been renewed for its time; `by` is the lease of whoever declares it. */
  async end(id: string, by: string): Promise<LeaseState> {
    const document = await this.#edges().get(id)
    if (document === null) return { status: 'gone' }
    if (document.endedBy !== undefined) return { status: 'over', positions: document.positions }
    const seen = this.#note(document)
    this.#seen.set(id, seen)
    if (!isOverdue(seen)) return { status: 'live' }
    const result = await this.#edges().update(id, { $set: { endedBy: by } }, document.version)
    if (result.status === 'missing') return { status: 'gone' }
    return result.status === 'written' ? { status: 'over', positions: result.document.positions } : { status: 'live' }
  }

  /** Asks anew whether there is such a lease that was not declared over. */
  async isLive(id: string): Promise<boolean> {
    const document = await this.#edges().get(id)
    return document !== null && document.endedBy === undefined
  }

  /** Removes a lease of which nothing is left to take over. */
  async remove(id: string): Promise<void> {
    await this.#edges().delete(id)
    this.#seen.delete(id)
  }

  #note(document: EdgeDocument & Stored): Seen {
    const nowMs = this.#clock.monotonicMs()
    const before = this.#seen.get(document._id)
    const firstMs = before?.document.version === document.version ? before.firstMs : nowMs
    return { firstMs, lastMs: nowMs, document }
  }
}

function isOverdue({ document, firstMs, lastMs }: Seen): boolean {
  return document.endedBy !== undefined || document.stopped === true || lastMs - firstMs >= document.leaseMs
}
