import type { AlertChange } from '../contracts/alert.ts'
import { TOPICS } from '../contracts/topics.ts'
import { describeError, FleetpulseError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../kernel/metrics.ts'
import type { Random } from '../kernel/random.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { EventLog, LogMessage, LogRecord, Offsets, TopicMessages } from '../storage/event-log/event-log.ts'
import { fingerprintOf } from './alert-lifecycle.ts'
import type { AlertQuietAsk } from './alert-quiet-ask.ts'
import type { AlertStore } from './alert-store.ts'
import { AnomalyApplier, type PositionedAnomaly } from './anomaly-applier.ts'
import { decodeAnomaly } from './anomaly-message.ts'
import { BatchLoop } from '../storage/event-log/batch-loop.ts'
import { alertMessage } from './change-publisher.ts'
import type { AlertsConfig } from './config.ts'
import { deadLetter, deadLetterTopic } from '../storage/event-log/dead-letter.ts'
import type { IncidentDesk } from './incidents/incident-desk.ts'
import { mapBounded } from '../kernel/map-bounded.ts'
import type { SurroundingsFinder } from './surroundings.ts'

export interface AlertWorkerOptions {
  eventLog: EventLog
  store: AlertStore
  surroundings: SurroundingsFinder
  incidents: IncidentDesk
  quietAsk: AlertQuietAsk
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: AlertsConfig
}

interface Group {
  items: PositionedAnomaly[]
  records: LogRecord[]
}

/**
 * Consumes `anomalies` as group `alerts`: each batch becomes durable alert documents first, then one commit carries its offsets, the
 * messages of topic `alerts` and the dead letters. Anomalies that cannot be read, or that fail by themselves, go to `anomalies.dlq`.
 */
export class AlertWorker implements Service {
  readonly name = 'alert-worker'
  readonly #loop: BatchLoop
  readonly #applier: AnomalyApplier
  readonly #quietAsk: AlertQuietAsk
  readonly #clock: Clock
  readonly #log: Logger
  readonly #writesInFlightMax: number
  readonly #changes
  readonly #poison
  readonly #latency

  constructor(options: AlertWorkerOptions) {
    const { config, metrics } = options
    this.#applier = new AnomalyApplier(options)
    this.#quietAsk = options.quietAsk
    this.#clock = options.clock
    this.#log = options.log
    this.#writesInFlightMax = config.writesInFlightMax
    this.#changes = metrics.counter('alerts_changes_total', 'Changes of alerts by anomalies', ['change'] as const)
    this.#poison = metrics.counter('alerts_anomalies_poison_total', 'Anomalies set aside in the dead letters')
    this.#latency = metrics.histogram(
      'alerts_receipt_to_open_seconds',
      'From receipt of the reading to the durable alert',
      LATENCY_BUCKETS_S,
    )
    const { eventLog, clock, random, log } = options
    this.#loop = new BatchLoop({
      ...{ eventLog, clock, random, log },
      name: this.name,
      group: 'alerts',
      topic: TOPICS.anomalies,
      pace: config,
      handle: (records, committed) => this.#handle(records, committed),
    })
  }

  start(): Promise<void> {
    return this.#loop.start()
  }
  stop(): Promise<void> {
    return this.#loop.stop()
  }

  async #handle(records: readonly LogRecord[], committed: Offsets): Promise<TopicMessages[]> {
    const dead: LogMessage[] = []
    const groups = this.#group(records, dead)
    const changes = await mapBounded(groups, this.#writesInFlightMax, (group) => this.#apply(group, committed, dead))
    return [
      { topic: TOPICS.alerts, messages: changes.flat().map(alertMessage) },
      { topic: deadLetterTopic(TOPICS.anomalies), messages: dead },
    ]
  }

  /** Anomalies of one fingerprint are applied in order, different ones at the same time. */
  #group(records: readonly LogRecord[], dead: LogMessage[]): Group[] {
    const groups = new Map<string, Group>()
    for (const record of records) {
      const decoded = decodeAnomaly(record)
      if (decoded.status === 'poison') {
        this.#setAside(record, decoded.problem, dead)
        continue
      }
      const key = `${record.partition}/${fingerprintOf(decoded.anomaly)}`
      const group = groups.get(key) ?? { items: [], records: [] }
      group.items.push({ anomaly: decoded.anomaly, position: { partition: record.partition, offset: record.offset } })
      group.records.push(record)
      groups.set(key, group)
    }
    return [...groups.values()]
  }

  async #apply(group: Group, committed: Offsets, dead: LogMessage[]): Promise<AlertChange[]> {
    try {
      const changes = await this.#applier.apply(group.items, committed)
      for (const { alert, change } of changes) await this.#quietAsk.follow(alert, change)
      this.#measure(changes, group)
      return changes
    } catch (error) {
      if (mayPass(error)) throw error
      for (const record of group.records) this.#setAside(record, describeError(error), dead)
      return []
    }
  }

  #measure(changes: readonly AlertChange[], group: Group): void {
    for (const { change } of changes) {
      this.#changes.inc({ change })
      const receivedAt = group.items[0]?.anomaly.receivedAt
      if (change === 'opened' && receivedAt !== undefined) this.#latency.observe(Math.max(0, this.#clock.nowMs() - receivedAt) / 1_000)
    }
  }

  #setAside(record: LogRecord, cause: string, dead: LogMessage[]): void {
    this.#poison.inc()
    this.#log.warn({ partition: record.partition, offset: record.offset, cause }, 'anomaly set aside')
    dead.push(deadLetter(record, cause))
  }
}

/** Trouble of a store or the log, or a lost race: the same batch may succeed later. Anything else would fail for ever. */
function mayPass(error: unknown): boolean {
  return error instanceof FleetpulseError && (error.retryable || error.fault === 'environment')
}
