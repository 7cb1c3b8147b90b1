import type { AlertChange, AlertChangeKind } from '../contracts/alert.ts'
import { ConflictError, InternalError, NotFoundError } from '../kernel/errors.ts'
import type { Service } from '../kernel/service.ts'
import type { Collection, Documents, Filter, FindOptions } from '../storage/documents/documents.ts'
import { ALERTS_COLLECTION, alertOf, bare, type AlertDocument, type OutboxEntry, type StoredAlert } from './alert-document.ts'

/** Alert documents with compare-and-set. */
export class AlertStore implements Service {
  readonly name = 'alert-store'
  readonly #documents: Documents
  readonly #casAttemptsMax: number
  #alerts: Collection<AlertDocument> | undefined

  constructor(options: { documents: Documents; config: { casAttemptsMax: number } }) {
    this.#documents = options.documents
    this.#casAttemptsMax = options.config.casAttemptsMax
  }

  async start(): Promise<void> {
    this.#alerts ??= await this.#documents.collection<AlertDocument>(ALERTS_COLLECTION)
  }

  /** The documents belong to whoever opened them; nothing to free here. */
  async stop(): Promise<void> {
    this.#alerts = undefined
  }

  get casAttemptsMax(): number {
    return this.#casAttemptsMax
  }

  get(id: string): Promise<StoredAlert | null> {
    return this.#collection().get(id)
  }

  find(filter: Filter, options: FindOptions): Promise<StoredAlert[]> {
    return this.#collection().find(filter, options)
  }

  count(filter: Filter): Promise<number> {
    return this.#collection().count(filter)
  }

  /** The latest alert of a fingerprint, resolved or not. */
  async newest(fingerprint: string): Promise<StoredAlert | null> {
    const found = await this.#collection().find({ fingerprint }, { sort: { generation: -1 }, limit: 1 })
    return found[0] ?? null
  }

  /** Makes it durable; false when another one of its fingerprint and generation was faster. */
  async insert(document: AlertDocument): Promise<boolean> {
    return (await this.#collection().insert(document.id, document)).status === 'written'
  }

  /** Makes it durable; false when the stored one changed since it was read. */
  async replace(read: StoredAlert, document: AlertDocument): Promise<boolean> {
    return (await this.#collection().replace(read._id, read.version, document)).status === 'written'
  }

  /**
   * Reads, steps and writes until nobody was faster. A step that answers its argument writes nothing.
   * NotFoundError without such an alert in the tenant; ConflictError when `expectedVersion` is not the stored one.
   */
  async change(
    of: { id: string; tenant: string; expectedVersion?: number | undefined },
    step: (alert: AlertDocument) => AlertDocument,
  ): Promise<StoredAlert> {
    for (let attempt = 1; attempt <= this.#casAttemptsMax; attempt++) {
      const read = await this.#collection().get(of.id)
      if (read === null || read.tenant !== of.tenant) throw new NotFoundError(`there is no alert ${of.id}`)
      if (of.expectedVersion !== undefined && of.expectedVersion !== read.version) {
        throw new ConflictError(`alert ${of.id} has version ${read.version}, not ${of.expectedVersion}`, {
          code: 'VERSION_MISMATCH',
          remedy: 'Read it again and repeat the change.',
        })
      }
      const before = bare(read)
      const after = step(before)
      if (after === before) return read
      const result = await this.#collection().replace(read._id, read.version, after)
      if (result.status === 'written') return result.document
    }
    throw tooManyRaces(of.id)
  }

  removeMany(filter: Filter): Promise<number> {
    return this.#collection().deleteMany(filter)
  }

  #collection(): Collection<AlertDocument> {
    if (this.#alerts === undefined) throw new InternalError('the alert store is not started')
    return this.#alerts
  }
}

export function tooManyRaces(what: string): ConflictError {
  return new ConflictError(`${what} was changed by others at every try`, { retryable: true, remedy: 'Try again.' })
}

/** Changes by a person or a timer: numbered, and kept in the document until their messages are in the log. */
export function withDirectChanges(alert: AlertDocument, changes: readonly AlertChangeKind[], nowMs: number): AlertDocument {
  if (changes.length === 0) return alert
  const entries = changes.map((change, i): OutboxEntry => ({ alertId: alert.id, sequence: alert.sequence + 1 + i, change, position: null }))
  const sequence = alert.sequence + changes.length
  return { ...alert, sequence, outbox: [...alert.outbox, ...entries], unpublishedSince: alert.unpublishedSince ?? nowMs }
}

/** What is told on topic `alerts`. */
export function changeOf(entry: OutboxEntry, document: AlertDocument | StoredAlert): AlertChange {
  const alert = alertOf('_id' in document ? bare(document) : document)
  return { id: `${entry.alertId}-${entry.sequence}`, sequence: entry.sequence, change: entry.change, alert }
}
