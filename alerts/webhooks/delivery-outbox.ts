import { mapBounded } from '../../kernel/map-bounded.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Notice } from '../notifiers/notice.ts'
import type { Notifiers } from '../notifiers/notifiers.ts'
import type { WebhooksConfig } from './config.ts'
import { noticeDelivery, parked } from './delivery.ts'
import { claimUntilMs } from './delivery-attempt.ts'
import type { DeliveryQueue } from './delivery-dispatcher.ts'
import type { DeliveryDocument, StoredEndpoint } from './webhook-documents.ts'
import type { WebhookStore } from './webhook-store.ts'

/** How long a count of waiting deliveries is trusted, in ms: counting reads them. */
const BACKLOG_TRUST_MS = 5_000

/** A delivery before it is written. */
export interface Held {
  delivery: DeliveryDocument
  ordered: boolean
}

interface Backlog {
  count: number
  countedAtMs: number
}

export interface DeliveryOutboxOptions {
  store: WebhookStore
  queue: DeliveryQueue
  notifiers: Notifiers
  clock: Clock
  metrics: Metrics
  config: WebhooksConfig
}

/** Writes down what endpoints are to be told, once for each notice and endpoint, however often a notice comes. */
export class DeliveryOutbox {
  readonly #options: DeliveryOutboxOptions
  readonly #backlog = new Map<string, Backlog>()
  readonly #queued
  readonly #templateFailures

  constructor(options: DeliveryOutboxOptions) {
    this.#options = options
    this.#queued = options.metrics.counter('alerts_webhook_deliveries_queued_total', 'Deliveries written to the outbox', ['state'] as const)
    this.#templateFailures = options.metrics.counter(
      'alerts_template_failures_total',
      'Notices whose template erred and that went out as plain text',
    )
  }

  /** Those that are told of anything at all. */
  endpointsOf(tenant: string): Promise<StoredEndpoint[]> {
    return this.#options.store.endpoints.find({ tenant, enabled: true }, { sort: { id: 1 }, limit: this.#options.config.endpointsMax })
  }

  async hold(endpoint: StoredEndpoint, notice: Notice): Promise<Held> {
    return { delivery: await this.#deliveryTo(endpoint, notice), ordered: endpoint.ordered === true }
  }

  /** At the same time, but those of one endpoint that wants order one after the other: the dispatcher sends the oldest that it sees. */
  async queueAll(held: readonly Held[]): Promise<void> {
    const lines = new Map<string, Held[]>()
    for (const each of held) {
      const key = each.ordered ? each.delivery.endpointId : each.delivery.id
      const line = lines.get(key)
      if (line === undefined) lines.set(key, [each])
      else line.push(each)
    }
    await mapBounded([...lines.values()], this.#options.config.writesInFlightMax, async (line) => {
      for (const { delivery, ordered } of line) await this.#queue(delivery, ordered)
    })
  }

  /** Waiting to be sent, or parked at once where too many wait already. */
  async #deliveryTo(endpoint: StoredEndpoint, notice: Notice): Promise<DeliveryDocument> {
    const { config, clock, notifiers } = this.#options
    const nowMs = clock.nowMs()
    const written = notifiers.write(endpoint, notice)
    if (written.templateError !== null) this.#templateFailures.inc()
    const delivery = noticeDelivery(endpoint, { notice, ...written, attemptsMax: config.attemptsMax, nowMs })
    const backlog = await this.#backlogOf(endpoint.id)
    return backlog.count++ < config.pendingPerEndpointMax ? delivery : { ...delivery, ...parked('backlog-full', nowMs) }
  }

  /** A delivery that can go at once is written as claimed, which spares its first try a write. */
  async #queue(delivery: DeliveryDocument, ordered: boolean): Promise<void> {
    const { store, queue, clock, config } = this.#options
    const slot = delivery.state === 'pending' && !ordered ? queue.reserve(delivery.endpointId) : null
    const document = slot === null ? delivery : { ...delivery, nextAttemptAt: claimUntilMs(clock.nowMs(), config) }
    const result = await store.deliveries.insert(document.id, document).catch((error: unknown) => {
      slot?.release()
      throw error
    })
    if (result.status === 'conflict') {
      slot?.release()
      return
    }
    this.#queued.inc({ state: delivery.state })
    if (slot !== null) slot.send(result.document)
    else if (delivery.nextAttemptAt !== null) queue.wake(delivery.endpointId, delivery.nextAttemptAt)
  }

  /** Deliveries waiting for an endpoint: counted now and then, and what was added since. */
  async #backlogOf(endpointId: string): Promise<Backlog> {
    const nowMs = this.#options.clock.monotonicMs()
    const known = this.#backlog.get(endpointId)
    if (known !== undefined && nowMs - known.countedAtMs < BACKLOG_TRUST_MS) return known
    if (this.#backlog.size >= this.#options.config.endpointsMax) this.#backlog.clear()
    const counted = { count: await this.#options.store.pendingCount(endpointId), countedAtMs: nowMs }
    this.#backlog.set(endpointId, counted)
    return counted
  }
}
