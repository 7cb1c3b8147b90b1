import { authorise, type Action, type Principal } from '../../contracts/authorisation.ts'
import { AccessError, ConflictError, InvalidInputError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Secret } from '../../kernel/secret.ts'
import type { Clock } from '../../kernel/time.ts'
import type { WriteResult } from '../../storage/documents/documents.ts'
import type { WebhooksConfig } from './config.ts'
import type { NotifierKind } from '../notifiers/notifier.ts'
import type { Notifiers } from '../notifiers/notifiers.ts'
import { parseTemplate } from '../notifiers/template.ts'
import type { RoutingService } from '../routing/routing-service.ts'
import { testDelivery } from './delivery.ts'
import type { DeliveryQueue } from './delivery-dispatcher.ts'
import {
  DEFAULT_EVENTS,
  kindOf,
  WEBHOOK_EVENTS,
  type DeliveryDocument,
  type EndpointDocument,
  type StoredEndpoint,
  type WebhookEvent,
} from './webhook-documents.ts'
import { mapBounded } from '../../kernel/map-bounded.ts'
import { TokenBuckets } from '../../kernel/token-buckets.ts'
import { newWebhookSecret } from '../../kernel/webhook-signature.ts'
import type { WebhookStore } from './webhook-store.ts'
import { deliveryViewFor, deliveryViewOf, viewFor, viewOf, type DeliveryView, type EndpointView } from './webhook-views.ts'

const DESCRIPTION_LENGTH_MAX = 500
const TEMPLATE_LENGTH_MAX = 4_000
const PAGE_ITEMS_DEFAULT = 50
const REPLAY_PAGE_ITEMS = 500

export interface EndpointSettings {
  url?: string
  events?: readonly string[]
  description?: string
  enabled?: boolean
  kind?: NotifierKind
  /** The text people read; null: the plain one. */
  template?: string | null
  /** One at a time, in order. */
  ordered?: boolean
}

export interface Page {
  /** 1 to `pageItemsMax`; default 50. */
  limit?: number
  /** `next` of the last page. */
  cursor?: string
}

export interface WebhookServiceOptions {
  store: WebhookStore
  notifiers: Notifiers
  queue: Pick<DeliveryQueue, 'wake'>
  routing: Pick<RoutingService, 'placesOf'>
  clock: Clock
  config: WebhooksConfig
}

/**
 * Endpoints and their delivery log as people see and change them, within the principal's tenant. Errors: AccessError FORBIDDEN,
 * NotFoundError, InvalidInputError (with the field), TargetRefusedError, LimitError, and ConflictError for another version or state.
 */
export class WebhookService {
  readonly #store: WebhookStore
  readonly #notifiers: Notifiers
  readonly #queue: WebhookServiceOptions['queue']
  readonly #routing: WebhookServiceOptions['routing']
  readonly #tests: TokenBuckets
  readonly #clock: Clock
  readonly #config: WebhooksConfig

  constructor(options: WebhookServiceOptions) {
    this.#store = options.store
    this.#notifiers = options.notifiers
    this.#queue = options.queue
    this.#routing = options.routing
    const { testsPerMinute: burstMax, endpointsMax: keysMax } = options.config
    this.#tests = new TokenBuckets({ clock: options.clock, ratePerS: burstMax / 60, burstMax, keysMax })
    this.#clock = options.clock
    this.#config = options.config
  }

  /** The secret is answered here and never again. */
  async create(principal: Principal, settings: EndpointSettings & { url: string }): Promise<{ endpoint: EndpointView; secret: Secret }> {
    allow(principal, 'write')
    const { tenant } = principal
    const kind = settings.kind ?? 'standard-webhooks'
    const fields = this.#checked(kind, settings)
    if ((await this.#store.endpoints.count({ tenant })) >= this.#config.endpointsMax) {
      throw new LimitError(`webhooks.endpointsMax is reached (${this.#config.endpointsMax} endpoints)`, { retryable: false })
    }
    const nowMs = this.#clock.nowMs()
    const secret = newWebhookSecret()
    const enabled = settings.enabled ?? true
    const endpoint: EndpointDocument = {
      id: newId(nowMs),
      tenant,
      kind,
      url: settings.url,
      template: null,
      ordered: false,
      restsUntil: null,
      events: [...DEFAULT_EVENTS],
      description: '',
      ...fields,
      secrets: [{ value: secret.reveal(), expiresAt: null }],
      enabled,
      disabledReason: enabled ? null : 'operator',
      createdAt: nowMs,
      updatedAt: nowMs,
    }
    const result = await this.#store.endpoints.insert(endpoint.id, endpoint)
    if (result.status === 'conflict') throw new ConflictError('an endpoint of this id exists', { retryable: true })
    return { endpoint: viewOf(result.document), secret }
  }

  /** Items in one page at most. */
  get pageItemsMax(): number {
    return this.#config.pageItemsMax
  }

  /** Newest first. */
  async list(principal: Principal, page: Page = {}): Promise<{ items: EndpointView[]; next: string | null }> {
    allow(principal, 'read')
    const filter = { tenant: principal.tenant, ...(page.cursor === undefined ? {} : { id: { $lt: endpointCursor(page.cursor) } }) }
    const limit = this.#limitOf(page)
    const found = await this.#store.endpoints.find(filter, { sort: { id: -1 }, limit: limit + 1 })
    const items = found.slice(0, limit).map((endpoint) => viewFor(principal, endpoint))
    return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null }
  }

  async get(principal: Principal, id: string): Promise<EndpointView> {
    allow(principal, 'read', id)
    return viewFor(principal, await this.#endpoint(principal, id))
  }

  /** Enabling forgets why it was disabled; what was parked meanwhile stays parked and can be replayed. */
  async update(principal: Principal, id: string, settings: EndpointSettings, expectedVersion?: number): Promise<EndpointView> {
    allow(principal, 'write', id)
    const endpoint = await this.#endpoint(principal, id)
    if (settings.kind !== undefined && settings.kind !== kindOf(endpoint)) {
      throw new InvalidInputError('an endpoint stays of its kind: add another one', { details: { field: 'kind' } })
    }
    const fields = this.#checked(kindOf(endpoint), settings)
    const switched =
      settings.enabled === undefined
        ? {}
        : { enabled: settings.enabled, disabledReason: settings.enabled ? null : 'operator', restsUntil: null }
    const changes = { $set: { ...fields, ...switched, updatedAt: this.#clock.nowMs() } }
    return viewOf(written(await this.#store.endpoints.update(id, changes, expectedVersion ?? endpoint.version), id, expectedVersion))
  }

  /** A new secret signs at once; the ones before it go on signing beside it for `keepOldMs` (0 to 7 days). */
  async rotateSecret(principal: Principal, id: string, keepOldMs: number): Promise<{ endpoint: EndpointView; secret: Secret }> {
    allow(principal, 'write', id)
    if (!Number.isInteger(keepOldMs) || keepOldMs < 0 || keepOldMs > 7 * 86_400_000) {
      throw new InvalidInputError('keepOldMs must be from 0 to 604800000', { details: { field: 'keepOldMs' } })
    }
    const endpoint = await this.#endpoint(principal, id)
    const nowMs = this.#clock.nowMs()
    const secret = newWebhookSecret()
    const kept = endpoint.secrets
      .map((old) => ({ ...old, expiresAt: Math.min(old.expiresAt ?? Infinity, nowMs + keepOldMs) }))
      .filter((old) => old.expiresAt > nowMs)
    const changes = { $set: { secrets: [{ value: secret.reveal(), expiresAt: null }, ...kept.slice(0, 1)], updatedAt: nowMs } }
    const result = await this.#store.endpoints.update(id, changes, endpoint.version)
    return { endpoint: viewOf(written(result, id)), secret }
  }

  /** Removes the endpoint and its delivery log; what was waiting is not sent. ConflictError while the routing names it: its notices would be lost. */
  async delete(principal: Principal, id: string, expectedVersion?: number): Promise<void> {
    allow(principal, 'write', id)
    const endpoint = await this.#endpoint(principal, id)
    const [place] = await this.#routing.placesOf(principal.tenant, id)
    if (place !== undefined) {
      throw new ConflictError(`the routing sends to endpoint ${id} (${place})`, { remedy: 'Take it out of the routing first.' })
    }
    // Disabled first: a crash before the end leaves an endpoint that gets nothing and can be removed, and no deliveries of none.
    const off = { $set: { enabled: false, disabledReason: 'operator', updatedAt: this.#clock.nowMs() } }
    written(await this.#store.endpoints.update(id, off, expectedVersion ?? endpoint.version), id, expectedVersion)
    await this.#store.deliveries.deleteMany({ endpointId: id })
    await this.#store.endpoints.delete(id)
  }

  /** Newest first; `state` picks pending, delivered or dead ones. */
  async listDeliveries(
    principal: Principal,
    endpointId: string,
    query: Page & { state?: DeliveryDocument['state'] } = {},
  ): Promise<{ items: DeliveryView[]; next: string | null }> {
    allow(principal, 'read', endpointId)
    const endpoint = await this.#endpoint(principal, endpointId)
    const limit = this.#limitOf(query)
    const filter = {
      endpointId,
      ...(query.state === undefined ? {} : { state: query.state }),
      ...(query.cursor === undefined ? {} : afterDelivery(query.cursor)),
    }
    const found = await this.#store.deliveries.find(filter, { sort: { createdAt: -1, id: -1 }, limit: limit + 1 })
    const items = found.slice(0, limit).map((delivery) => deliveryViewFor(principal, endpoint, delivery))
    const last = items.at(-1)
    return { items, next: found.length > limit && last !== undefined ? `${last.createdAt}.${last.id}` : null }
  }

  /** Notices about an incident or some alerts, queued since then, of every endpoint; each endpoint's newest. */
  async about(principal: Principal, of: { incident: string; alerts: readonly string[]; sinceMs: number }, limit: number): Promise<DeliveryView[]> {
    allow(principal, 'read')
    const endpoints = await this.#store.endpoints.find({ tenant: principal.tenant }, { limit: this.#config.endpointsMax })
    const either = { $or: [{ incidentId: of.incident }, { alertId: { $in: [...of.alerts] } }] }
    const found: DeliveryView[] = []
    for (const { id } of endpoints) {
      const filter = { endpointId: id, createdAt: { $gte: of.sinceMs }, ...either }
      found.push(...(await this.#store.deliveries.find(filter, { sort: { createdAt: -1, id: -1 }, limit })).map(deliveryViewOf))
    }
    return found.slice(0, limit)
  }

  /** Sends a finished delivery again, under its own id and with all its tries anew. */
  async replayDelivery(principal: Principal, endpointId: string, deliveryId: string): Promise<DeliveryView> {
    allow(principal, 'write', endpointId)
    const endpoint = await this.#endpoint(principal, endpointId)
    const delivery = await this.#store.deliveries.get(deliveryId)
    if (delivery === null || delivery.endpointId !== endpointId) throw new NotFoundError(`there is no delivery ${deliveryId}`)
    if (!endpoint.enabled) throw new ConflictError(`endpoint ${endpointId} is disabled`, { remedy: 'Enable the endpoint first.' })
    if (delivery.state === 'pending') throw new ConflictError(`delivery ${deliveryId} is on its way already`)
    const nowMs = this.#clock.nowMs()
    const changes = { state: 'pending', parkReason: null, attemptsMade: 0, nextAttemptAt: nowMs, updatedAt: nowMs } as const
    const updated = await this.#store.updateDelivery(delivery, changes)
    if (updated === null) throw versionConflict(deliveryId)
    this.#queue.wake(endpointId, nowMs)
    return deliveryViewOf(updated)
  }

  /** Takes up all parked deliveries again, oldest first, up to `replayItemsMax`; answers how many. */
  async replayAll(principal: Principal, endpointId: string): Promise<number> {
    allow(principal, 'write', endpointId)
    const endpoint = await this.#endpoint(principal, endpointId)
    if (!endpoint.enabled) throw new ConflictError(`endpoint ${endpointId} is disabled`, { remedy: 'Enable the endpoint first.' })
    const nowMs = this.#clock.nowMs()
    const { replayItemsMax, writesInFlightMax } = this.#config
    const seen = new Set<string>()
    let [replayed, from]: [number, number | undefined] = [0, undefined]
    while (replayed < replayItemsMax) {
      const limit = Math.min(REPLAY_PAGE_ITEMS, replayItemsMax - replayed)
      const filter = { endpointId, state: 'dead', ...(from === undefined ? {} : { order: { $gte: from } }) }
      const found = await this.#store.deliveries.find(filter, { sort: { order: 1 }, limit })
      // One that was parked again meanwhile had its turn.
      const page = found.filter(({ id }) => !seen.has(id))
      page.forEach(({ id }) => seen.add(id))
      const changes = { state: 'pending', parkReason: null, attemptsMade: 0, nextAttemptAt: nowMs, updatedAt: nowMs } as const
      const done = await mapBounded(
        page,
        writesInFlightMax,
        async (delivery) => (await this.#store.updateDelivery(delivery, changes)) !== null,
      )
      replayed += done.filter(Boolean).length
      this.#queue.wake(endpointId, nowMs)
      from = found.at(-1)?.order
      if (found.length < limit || page.length === 0) break
    }
    return replayed
  }

  /** The same, for whoever knows the delivery alone. */
  async replay(principal: Principal, deliveryId: string): Promise<DeliveryView> {
    const delivery = await this.#store.deliveries.get(deliveryId)
    if (delivery === null || delivery.tenant !== principal.tenant) throw new NotFoundError(`there is no delivery ${deliveryId}`)
    return this.replayDelivery(principal, delivery.endpointId, deliveryId)
  }

  /** Queues a test message, tried once; its outcome shows in the delivery log. LimitError beyond `testsPerMinute`. */
  async ping(principal: Principal, endpointId: string): Promise<DeliveryView> {
    allow(principal, 'write', endpointId)
    const endpoint = await this.#endpoint(principal, endpointId)
    if (!endpoint.enabled) throw new ConflictError(`endpoint ${endpointId} is disabled`, { remedy: 'Enable the endpoint first.' })
    if (this.#tests.take(endpointId) > 0) {
      throw new LimitError(`webhooks.testsPerMinute is reached (${this.#config.testsPerMinute} tests of one endpoint in a minute)`)
    }
    const nowMs = this.#clock.nowMs()
    const delivery = testDelivery(endpoint, newId(nowMs), this.#notifiers.of(kindOf(endpoint)).testBody(endpoint.id, nowMs), nowMs)
    const result = await this.#store.deliveries.insert(delivery.id, delivery)
    if (result.status === 'conflict') throw versionConflict(delivery.id)
    this.#queue.wake(endpointId, nowMs)
    return deliveryViewOf(result.document)
  }

  async #endpoint(principal: Principal, id: string): Promise<StoredEndpoint> {
    const endpoint = await this.#store.endpoints.get(id)
    if (endpoint === null || endpoint.tenant !== principal.tenant) throw new NotFoundError(`there is no webhook endpoint ${id}`)
    return endpoint
  }

  #checked(
    kind: NotifierKind,
    settings: EndpointSettings,
  ): Partial<Pick<EndpointDocument, 'url' | 'events' | 'description' | 'template' | 'ordered'>> {
    const { url, events, description, template, ordered } = settings
    if (description !== undefined && description.length > DESCRIPTION_LENGTH_MAX) {
      throw new InvalidInputError(`description is longer than ${DESCRIPTION_LENGTH_MAX} characters`, { details: { field: 'description' } })
    }
    return {
      ...(url === undefined ? {} : { url: this.#notifiers.of(kind).checkTarget(url) }),
      ...(events === undefined ? {} : { events: checkedEvents(events) }),
      ...(description === undefined ? {} : { description }),
      ...(template === undefined ? {} : { template: checkedTemplate(template) }),
      ...(ordered === undefined ? {} : { ordered }),
    }
  }

  #limitOf(page: Page): number {
    const limit = page.limit ?? PAGE_ITEMS_DEFAULT
    if (Number.isInteger(limit) && limit >= 1 && limit <= this.#config.pageItemsMax) return limit
    throw new InvalidInputError(`limit must be an integer from 1 to ${this.#config.pageItemsMax}`, { details: { field: 'limit' } })
  }
}

/** A template must be one; whether a notice has what it names shows only then, and the plain text goes out where it has not. */
function checkedTemplate(template: string | null): string | null {
  if (template === null || template.trim() === '') return null
  if (template.length > TEMPLATE_LENGTH_MAX) {
    throw new InvalidInputError(`template is longer than ${TEMPLATE_LENGTH_MAX} characters`, { details: { field: 'template' } })
  }
  parseTemplate(template)
  return template
}

function checkedEvents(events: readonly string[]): WebhookEvent[] {
  const known = new Set<string>(WEBHOOK_EVENTS)
  if (events.every((event): event is WebhookEvent => known.has(event))) return [...new Set(events)]
  throw new InvalidInputError(`events must name some of ${WEBHOOK_EVENTS.join(', ')}`, { details: { field: 'events' } })
}

function allow(principal: Principal, action: Action, id?: string): void {
  const resource = { tenant: principal.tenant, kind: 'webhooks', ...(id === undefined ? {} : { id }) }
  if (!authorise(principal, action, resource))
    throw new AccessError('FORBIDDEN', `${principal.kind} ${principal.id} may not ${action} webhooks`)
}

function written<T>(result: WriteResult<T>, id: string, expectedVersion?: number): StoredEndpoint & T {
  if (result.status === 'written') return result.document as StoredEndpoint & T
  if (result.status === 'missing') throw new NotFoundError(`there is no webhook endpoint ${id}`)
  throw versionConflict(id, expectedVersion)
}

/** VERSION_MISMATCH only for who named a version; who did not has lost a race. */
function versionConflict(id: string, expectedVersion?: number): ConflictError {
  return new ConflictError(`${id} was changed by others`, {
    ...(expectedVersion === undefined ? {} : { code: 'VERSION_MISMATCH' }),
    remedy: 'Read it again and repeat the change.',
  })
}

function endpointCursor(cursor: string): string {
  if (/^[0-9a-z]{26}$/.test(cursor)) return cursor
  throw badCursor()
}

function afterDelivery(cursor: string): Record<string, unknown> {
  const match = /^(\d{1,15})\.([\w-]{1,300})$/.exec(cursor)
  if (match === null) throw badCursor()
  const createdAt = Number(match[1])
  return { $or: [{ createdAt: { $lt: createdAt } }, { createdAt, id: { $lt: match[2] } }] }
}

function badCursor(): InvalidInputError {
  return new InvalidInputError('cursor is not one that a page answered', { details: { field: 'cursor' } })
}
