import { ConflictError, InternalError, InvalidInputError, NotFoundError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents } from '../../storage/documents/documents.ts'
import type { Summary } from './summary.ts'

export interface Rating {
  /** 1 to 5. */
  stars: number
  verdict: 'right' | 'partly' | 'wrong'
  note: string
  by: string
  /** Epoch ms. */
  at: number
}

/** A published digest; a later revision supersedes it and begins without a rating. */
export interface SummaryDocument {
  tenant: string
  incident: string
  /** From 1 without gaps. */
  revision: number
  status: 'published' | 'superseded'
  /** Wall times, epoch ms: when the incident opened, and when this was published. */
  openedAt: number
  publishedAt: number
  summary: Summary
  rating: Rating | null
  /** A model was asked to word it and brought nothing to publish: it is not asked again for the same evidence. */
  isWordingSettled?: boolean
  /** That the model's provider said it used for the words; null: it did not say; absent: no model was asked for them. */
  tokens?: number | null
}
export const SUMMARIES_COLLECTION: CollectionSpec = {
  name: 'summaries',
  indexes: [
    { name: 'by-incident', paths: ['tenant', 'incident', 'revision'], unique: true },
    { name: 'by-opening', paths: ['tenant', 'status', 'openedAt'] },
  ],
}

export const RATING_NOTE_LENGTH_MAX = 2_000

/** Digests that passed the gate. Ids are `TENANT/INCIDENT/REVISION`. */
export class SummaryStore implements Service {
  readonly name = 'summary-store'
  readonly #documents: Documents
  readonly #clock: Clock
  #summaries: Collection<SummaryDocument> | undefined

  constructor(options: { documents: Documents; clock: Clock }) {
    this.#documents = options.documents
    this.#clock = options.clock
  }

  async start(): Promise<void> {
    this.#summaries ??= await this.#documents.collection<SummaryDocument>(SUMMARIES_COLLECTION)
  }

  async stop(): Promise<void> {
    this.#summaries = undefined
  }

  /**
   * Publishes as this revision; the one before is superseded. Answers `exists` when that revision is there, whatever it says: whoever
   * repeats a publication after a crash changes nothing. `tokens`: of a model's words. Throws ConflictError when the revision before is missing.
   */
  async publish(summary: Summary, revision: number, openedAt: number, tokens?: number | null): Promise<'published' | 'exists'> {
    const { tenant, incident } = summary
    const before = revision > 1 ? await this.get(tenant, incident, revision - 1) : null
    if (revision > 1 && before === null) throw new ConflictError(`incident ${incident} has no revision ${revision - 1}`)
    const publishedAt = this.#clock.nowMs()
    const document: SummaryDocument = {
      ...{ tenant, incident, revision, status: 'published', openedAt, publishedAt, summary, rating: null },
      ...(tokens === undefined ? {} : { tokens }),
    }
    const result = await this.#opened().insert(idOf(tenant, incident, revision), document)
    // Repeated as well: a crash may have come between the two.
    if (before !== null) await this.#opened().update(idOf(tenant, incident, revision - 1), { $set: { status: 'superseded' } })
    return result.status === 'written' ? 'published' : 'exists'
  }

  async get(tenant: string, incident: string, revision: number): Promise<SummaryDocument | null> {
    return this.#opened().get(idOf(tenant, incident, revision))
  }

  /** The newest revision; null before the first. */
  async newest(tenant: string, incident: string): Promise<SummaryDocument | null> {
    const [found] = await this.#opened().find({ tenant, incident }, { sort: { revision: -1 }, limit: 1 })
    return found ?? null
  }

  /** Rates one revision; the same again replaces. Throws NotFoundError, InvalidInputError. */
  async rate(tenant: string, incident: string, revision: number, rating: Omit<Rating, 'at'>): Promise<SummaryDocument> {
    if (!Number.isInteger(rating.stars) || rating.stars < 1 || rating.stars > 5)
      throw new InvalidInputError('stars: a whole number from 1 to 5')
    if (rating.note.length > RATING_NOTE_LENGTH_MAX) throw new InvalidInputError(`note: at most ${RATING_NOTE_LENGTH_MAX} characters`)
    const result = await this.#opened().update(idOf(tenant, incident, revision), {
      $set: { rating: { ...rating, at: this.#clock.nowMs() } },
    })
    if (result.status !== 'written') throw new NotFoundError(`there is no revision ${revision} of the digest of incident ${incident}`)
    return result.document
  }

  /** No model is asked to word this revision any more. */
  async settleWording(tenant: string, incident: string, revision: number): Promise<void> {
    await this.#opened().update(idOf(tenant, incident, revision), { $set: { isWordingSettled: true } })
  }

  /** Removes all revisions of an incident's digest. */
  async forget(tenant: string, incident: string): Promise<number> {
    return this.#opened().deleteMany({ tenant, incident })
  }

  #opened(): Collection<SummaryDocument> {
    if (this.#summaries === undefined) throw new InternalError('the summary store is used before its start or after its stop')
    return this.#summaries
  }
}

function idOf(tenant: string, incident: string, revision: number): string {
  return `${tenant}/${incident}/${revision}`
}
