import { ALERT_SCHEMAS, AlertChangeSchema, type AlertChange } from '../../contracts/alert.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { FleetpulseError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { EventLog, LogRecord, TopicMessages } from '../../storage/event-log/event-log.ts'
import { BatchLoop } from '../../storage/event-log/batch-loop.ts'
import type { AlertsConfig } from '../config.ts'
import { mapBounded } from '../../kernel/map-bounded.ts'
import { openIncident, takeChanges } from './incident-lifecycle.ts'
import type { IncidentStore } from './incident-store.ts'

const checkChange = compileSchema(AlertChangeSchema)

export interface IncidentWorkerOptions {
  eventLog: EventLog
  store: IncidentStore
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: AlertsConfig
}

/**
 * Consumes `alerts` as group `incidents`: the first alert of an incident makes its document, later ones change it. Every step does the same
 * when it is repeated, so a batch that comes again changes nothing. What cannot be read is the webhooks' to set aside: they read it too.
 */
export class IncidentWorker implements Service {
  readonly name = 'incident-worker'
  readonly #options: IncidentWorkerOptions
  readonly #loop: BatchLoop
  readonly #opened

  constructor(options: IncidentWorkerOptions) {
    this.#options = options
    const { eventLog, clock, random, log, config, metrics } = options
    this.#opened = metrics.counter('alerts_incidents_opened_total', 'Incidents opened', ['level'] as const)
    this.#loop = new BatchLoop({
      ...{ eventLog, clock, random, log },
      name: this.name,
      group: 'incidents',
      topic: TOPICS.alerts,
      pace: config,
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
    const byIncident = new Map<string, AlertChange[]>()
    for (const record of records) {
      const change = decode(record)
      if (change?.alert.incident == null) continue
      const { id } = change.alert.incident
      byIncident.set(id, [...(byIncident.get(id) ?? []), change])
    }
    await mapBounded([...byIncident], this.#options.config.writesInFlightMax, ([id, changes]) => this.#take(id, changes))
    return []
  }

  async #take(id: string, changes: readonly AlertChange[]): Promise<void> {
    const { store, clock, config } = this.#options
    const nowMs = clock.nowMs()
    const { tenant, incident } = (changes[0] as AlertChange).alert
    if (incident !== null && (await store.collection.get(id)) === null) {
      // An incident whose retention is over does not come back with a late change of one of its alerts.
      if (!changes.some(({ change }) => change === 'opened')) return
      const result = await store.collection.insert(id, openIncident(id, incident.level, changes, nowMs))
      if (result.status === 'written') {
        this.#opened.inc({ level: incident.level })
        await store.publish(result.document)
        return
      }
    }
    await store
      .change({ id, tenant }, (document) => takeChanges(document, changes, nowMs, nowMs + config.incidentRecountMs))
      .catch(unlessGone)
  }
}

function decode(record: LogRecord): AlertChange | undefined {
  if (!ALERT_SCHEMAS.includes(record.schema)) return undefined
  try {
    const result = checkChange(JSON.parse(Buffer.from(record.value).toString('utf8')))
    return result.status === 'valid' ? result.value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Removed between the look and the change: its retention is over. */
function unlessGone(error: unknown): void {
  if (!(error instanceof FleetpulseError) || error.code !== 'NOT_FOUND') throw error
}
