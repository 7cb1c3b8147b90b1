import { Type } from 'typebox'
import { ALERT, AlertSchema, type AlertChange } from '../../contracts/alert.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { EventLog, LogMessage, LogRecord, TopicMessages } from '../../storage/event-log/event-log.ts'
import { BatchLoop } from '../batch-loop.ts'
import { deadLetter, deadLetterTopic } from '../dead-letter.ts'
import { mapBounded } from '../map-bounded.ts'
import type { WebhooksConfig } from './config.ts'
import { claimUntilMs } from './delivery-attempt.ts'
import type { DeliveryQueue } from './delivery-dispatcher.ts'
import { alertBody, alertDelivery, eventOf, isSilenced, parked } from './delivery.ts'
import { WEBHOOK_EVENTS, type DeliveryDocument, type StoredEndpoint } from './webhook-documents.ts'
import type { WebhookStore } from './webhook-store.ts'

const checkChange = compileSchema(
  Type.Object({
    id: Type.String({ minLength: 1, maxLength: 200 }),
    sequence: Type.Integer({ minimum: 1 }),
    change: Type.Union(WEBHOOK_EVENTS.map((event) => Type.Literal(event.slice('alert.'.length)))),
    alert: AlertSchema,
  }),
)

/** How long a count of waiting deliveries is trusted, in ms: counting reads them. */
const BACKLOG_TRUST_MS = 5_000

interface Backlog {
  count: number
  countedAtMs: number
}

export interface WebhookIntakeOptions {
  eventLog: EventLog
  store: WebhookStore
  queue: DeliveryQueue
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: WebhooksConfig
}

/**
 * Consumes `alerts` as group `webhooks`: one durable delivery per change and endpoint that wants it, before the offset is committed.
 * A redelivered change finds its deliveries there already. What cannot be read goes to `alerts.dlq`.
 */
export class WebhookIntake implements Service {
  readonly name = 'webhook-intake'
  readonly #options: WebhookIntakeOptions
  readonly #loop: BatchLoop
  readonly #backlog = new Map<string, Backlog>()
  readonly #queued
  readonly #poison

  constructor(options: WebhookIntakeOptions) {
    this.#options = options
    const { eventLog, clock, random, log, config, metrics } = options
    this.#queued = metrics.counter('alerts_webhook_deliveries_queued_total', 'Deliveries written to the outbox', ['state'] as const)
    this.#poison = metrics.counter('alerts_webhook_changes_poison_total', 'Changes of alerts set aside in the dead letters')
    this.#loop = new BatchLoop({
      ...{ eventLog, clock, random, log },
      name: this.name,
      group: 'webhooks',
      topic: TOPICS.alerts,
      recordsMax: config.batchRecordsMax,
      pollWaitMs: config.pollWaitMs,
      retryInitialMs: config.loopRetryInitialMs,
      retryMaxMs: config.loopRetryMaxMs,
      handle: (records) => this.#handle(records),
    })
  }

  start(): Promise<void> {
    return this.#loop.start()
  }
  stop(): Promise<void> {
    return this.#loop.stop()
  }

  async #handle(records: readonly LogRecord[]): Promise<TopicMessages[]> {
    const dead: LogMessage[] = []
    const wanted = new Map<string, StoredEndpoint[]>()
    const deliveries: DeliveryDocument[] = []
    for (const record of records) {
      const change = this.#decode(record, dead)
      if (change === undefined || isSilenced(change)) continue
      const { tenant } = change.alert
      const endpoints = wanted.get(tenant) ?? (await this.#endpointsOf(tenant))
      wanted.set(tenant, endpoints)
      const fitting = endpoints.filter((endpoint) => endpoint.events.includes(eventOf(change)))
      const body = fitting.length === 0 ? '' : alertBody(change)
      for (const endpoint of fitting) deliveries.push(await this.#deliveryTo(endpoint, change, body))
    }
    await mapBounded(deliveries, this.#options.config.writesInFlightMax, (delivery) => this.#queue(delivery))
    return [{ topic: deadLetterTopic(TOPICS.alerts), messages: dead }]
  }

  #endpointsOf(tenant: string): Promise<StoredEndpoint[]> {
    return this.#options.store.endpoints.find({ tenant, enabled: true }, { sort: { id: 1 }, limit: this.#options.config.endpointsMax })
  }

  /** Waiting to be sent, or parked at once where too many wait already. */
  async #deliveryTo(endpoint: StoredEndpoint, change: AlertChange, body: string): Promise<DeliveryDocument> {
    const { config, clock } = this.#options
    const nowMs = clock.nowMs()
    const delivery = alertDelivery(endpoint, change, body, config.attemptsMax, nowMs)
    const backlog = await this.#backlogOf(endpoint.id)
    return backlog.count++ < config.pendingPerEndpointMax ? delivery : { ...delivery, ...parked('backlog-full', nowMs) }
  }

  /** A delivery that can go at once is written as claimed, which spares its first try a write. */
  async #queue(delivery: DeliveryDocument): Promise<void> {
    const { store, queue, clock, config } = this.#options
    const slot = delivery.state === 'pending' ? queue.reserve(delivery.endpointId) : null
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

  #decode(record: LogRecord, dead: LogMessage[]): AlertChange | undefined {
    try {
      if (record.schema !== ALERT) throw new Error(`schema is ${record.schema}, not ${ALERT}`)
      const value: unknown = JSON.parse(Buffer.from(record.value).toString('utf8'))
      const result = checkChange(value)
      if (result.status === 'valid') return value as AlertChange
      throw new Error(result.faults.map((fault) => `${fault.path} ${fault.problem}`).join('; '))
    } catch (error) {
      this.#poison.inc()
      const cause = describeError(error)
      this.#options.log.warn({ partition: record.partition, offset: record.offset, cause }, 'change of an alert set aside')
      dead.push(deadLetter(record, cause))
      return undefined
    }
  }
}
