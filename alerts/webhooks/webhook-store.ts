import { InternalError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import {
  DELIVERIES_COLLECTION,
  ENDPOINTS_COLLECTION,
  type DeliveryDocument,
  type EndpointDocument,
  type StoredDelivery,
  type StoredEndpoint,
  type WebhookEvent,
} from './webhook-documents.ts'

/** Endpoints and deliveries as documents. */
export class WebhookStore implements Service {
  readonly name = 'webhook-store'
  readonly #documents: Documents
  #endpoints: Collection<EndpointDocument> | undefined
  #deliveries: Collection<DeliveryDocument> | undefined

  constructor(options: { documents: Documents }) {
    this.#documents = options.documents
  }

  async start(): Promise<void> {
    this.#endpoints ??= await this.#documents.collection<EndpointDocument>(ENDPOINTS_COLLECTION)
    this.#deliveries ??= await this.#documents.collection<DeliveryDocument>(DELIVERIES_COLLECTION)
  }

  /** The documents belong to whoever opened them; nothing to free here. */
  async stop(): Promise<void> {
    this.#endpoints = undefined
    this.#deliveries = undefined
  }

  get endpoints(): Collection<EndpointDocument> {
    return opened(this.#endpoints)
  }
  get deliveries(): Collection<DeliveryDocument> {
    return opened(this.#deliveries)
  }

  /** Those of these ids that are the tenant's. */
  async knownEndpoints(tenant: string, ids: readonly string[]): Promise<Set<string>> {
    const found = await this.endpoints.find({ tenant, id: { $in: [...ids] } }, { limit: ids.length + 1 })
    return new Set(found.map(({ id }) => id))
  }

  /** Who was told of these events of an incident, and of which: as long as the delivery log keeps it. */
  async toldOf(
    incidentId: string,
    events: readonly WebhookEvent[],
    limit: number,
  ): Promise<Pick<DeliveryDocument, 'endpointId' | 'type'>[]> {
    return this.deliveries.find({ incidentId, type: { $in: [...events] } }, { limit })
  }

  /** Deliveries of an endpoint that may be tried now, the longest due first. */
  due(endpointId: string, nowMs: number, limit: number): Promise<StoredDelivery[]> {
    return this.deliveries.find({ endpointId, state: 'pending', nextAttemptAt: { $lte: nowMs } }, { sort: { nextAttemptAt: 1 }, limit })
  }

  /** When the next delivery of an endpoint is due; null without any pending. */
  async nextDueAt(endpointId: string): Promise<number | null> {
    const found = await this.deliveries.find({ endpointId, state: 'pending' }, { sort: { nextAttemptAt: 1 }, limit: 1 })
    return found[0]?.nextAttemptAt ?? null
  }

  async oldestPending(endpointId: string): Promise<StoredDelivery | null> {
    const found = await this.deliveries.find({ endpointId, state: 'pending' }, { sort: { order: 1 }, limit: 1 })
    return found[0] ?? null
  }

  pendingCount(endpointId: string): Promise<number> {
    return this.deliveries.count({ endpointId, state: 'pending' })
  }

  /** Makes a change against the version that was read; null when the delivery changed or went meanwhile. */
  async updateDelivery(read: StoredDelivery, changes: Partial<DeliveryDocument>): Promise<StoredDelivery | null> {
    const result = await this.deliveries.update(read._id, { $set: changes }, read.version)
    return result.status === 'written' ? result.document : null
  }

  /** All endpoints of all tenants, in pages, so that memory holds one page at a time. */
  async *allEndpoints(pageItems: number): AsyncGenerator<StoredEndpoint> {
    for (let after = ''; ;) {
      const page = await this.endpoints.find({ _id: { $gt: after } }, { sort: { _id: 1 }, limit: pageItems })
      yield* page
      if (page.length < pageItems) return
      after = (page.at(-1) as StoredEndpoint)._id
    }
  }
}

function opened<T>(collection: T | undefined): T {
  if (collection === undefined) throw new InternalError('the webhook store is not started')
  return collection
}
