import { ALERT_SCHEMAS, AlertChangeSchema, isNoticed } from '../../contracts/alert.ts'
import { INCIDENT, IncidentChangeSchema, isIncidentNoticed } from '../../contracts/incident.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import { compileSchema, type CheckResult } from '../../kernel/schema.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { EventLog, LogMessage, LogRecord, TopicMessages } from '../../storage/event-log/event-log.ts'
import { BatchLoop } from '../../storage/event-log/batch-loop.ts'
import { deadLetter, deadLetterTopic } from '../../storage/event-log/dead-letter.ts'
import type { WebhooksConfig } from './config.ts'
import type { DeliveryOutbox, Held } from './delivery-outbox.ts'
import { noticeOfAlert, noticeOfIncident, type Notice } from '../notifiers/notice.ts'
import type { RoutingService } from '../routing/routing-service.ts'
import { WEBHOOK_EVENTS, type DeliveryDocument, type StoredEndpoint, type WebhookEvent } from './webhook-documents.ts'
import type { WebhookStore } from './webhook-store.ts'

const checkChange = compileSchema(AlertChangeSchema)
const checkIncident = compileSchema(IncidentChangeSchema)

/** Deliveries in memory until they are written: a batch of changes for every one of many endpoints would be more than memory holds. */
const HELD_MAX = 1_000

/** Told to whoever was told of the incident before, wherever its labels and the hour lead by then. */
const FOLLOWED = new Set<WebhookEvent>(['incident.acknowledged', 'incident.severity-changed', 'incident.resolved'])
const OF_INCIDENTS = WEBHOOK_EVENTS.filter((event) => event.startsWith('incident.'))
/** Notices of one incident that are looked through for who was told. */
const TOLD_MAX = 5_000

export interface WebhookIntakeOptions {
  eventLog: EventLog
  store: WebhookStore
  outbox: DeliveryOutbox
  routing: Pick<RoutingService, 'endpointsFor'>
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
  readonly #poison

  constructor(options: WebhookIntakeOptions) {
    this.#options = options
    const { eventLog, clock, random, log, config, metrics } = options
    this.#poison = metrics.counter('alerts_webhook_changes_poison_total', 'Changes of alerts set aside in the dead letters')
    this.#loop = new BatchLoop({
      ...{ eventLog, clock, random, log },
      name: this.name,
      group: 'webhooks',
      topic: TOPICS.alerts,
      pace: { ...config, retryInitialMs: config.loopRetryInitialMs, retryMaxMs: config.loopRetryMaxMs },
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
    const { outbox } = this.#options
    const dead: LogMessage[] = []
    const known = new Map<string, StoredEndpoint[]>()
    const held: Held[] = []
    for (const record of records) {
      const notice = this.#decode(record, dead)
      if (notice === undefined || notice === null) continue
      const endpoints = known.get(notice.tenant) ?? (await outbox.endpointsOf(notice.tenant))
      known.set(notice.tenant, endpoints)
      for (const endpoint of await this.#receiversOf(notice, endpoints, held)) {
        held.push(await outbox.hold(endpoint, notice))
      }
      if (held.length >= HELD_MAX) await outbox.queueAll(held.splice(0))
    }
    await outbox.queueAll(held)
    return [{ topic: deadLetterTopic(TOPICS.alerts), messages: dead }]
  }

  /** Those that subscribed to the event, and those that the routing sends an incident to, or sent it to before. */
  async #receiversOf(notice: Notice, endpoints: readonly StoredEndpoint[], held: readonly Held[]): Promise<StoredEndpoint[]> {
    const { routing, clock } = this.#options
    const routed = new Set(notice.incident === null ? [] : routing.endpointsFor(notice.tenant, notice.labels, clock.nowMs()))
    const told = FOLLOWED.has(notice.event) ? await this.#toldOf(notice, held) : []
    return endpoints.filter(({ id, events }) => {
      if (events.includes(notice.event) || routed.has(id)) return true
      // What an endpoint subscribed to says nothing of what else it wants.
      return told.some(({ endpointId, type }) => endpointId === id && !events.includes(type as WebhookEvent))
    })
  }

  async #toldOf({ incident }: Notice, held: readonly Held[]): Promise<Pick<DeliveryDocument, 'endpointId' | 'type'>[]> {
    const id = incident?.id ?? ''
    const unwritten = held.map(({ delivery }) => delivery).filter((delivery) => delivery.incidentId === id && delivery.alertId === null)
    return [...unwritten, ...(await this.#options.store.toldOf(id, OF_INCIDENTS, TOLD_MAX))]
  }

  /** Null: nobody is to be told; undefined: it was set aside. */
  #decode(record: LogRecord, dead: LogMessage[]): Notice | null | undefined {
    try {
      if (record.schema === INCIDENT) {
        const change = valid(checkIncident(parsed(record)))
        return isIncidentNoticed(change) ? noticeOfIncident(change) : null
      }
      if (!ALERT_SCHEMAS.includes(record.schema))
        throw new Error(`schema is ${record.schema}, not one of ${[...ALERT_SCHEMAS, INCIDENT].join(', ')}`)
      const change = valid(checkChange(parsed(record)))
      return isNoticed(change) ? noticeOfAlert(change) : null
    } catch (error) {
      this.#poison.inc()
      const cause = describeError(error)
      this.#options.log.warn({ partition: record.partition, offset: record.offset, cause }, 'change of an alert set aside')
      dead.push(deadLetter(record, cause))
      return undefined
    }
  }
}

function parsed(record: LogRecord): unknown {
  return JSON.parse(Buffer.from(record.value).toString('utf8'))
}

function valid<T>(result: CheckResult<T>): T {
  if (result.status === 'valid') return result.value
  throw new Error(result.faults.map((fault) => `${fault.path} ${fault.problem}`).join('; '))
}
