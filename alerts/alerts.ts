import type { DeviceFacts } from '../contracts/device-facts.ts'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Random } from '../kernel/random.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { AlertQuietAsk } from './alert-quiet-ask.ts'
import { AlertService } from './alert-service.ts'
import { AlertStore } from './alert-store.ts'
import { AlertTimers } from './alert-timers.ts'
import { AlertWorker } from './alert-worker.ts'
import { ChangePublisher } from './change-publisher.ts'
import type { AlertsConfig } from './config.ts'
import { IncidentDesk } from './incidents/incident-desk.ts'
import { IncidentService } from './incidents/incident-service.ts'
import { IncidentStore } from './incidents/incident-store.ts'
import { IncidentTimers } from './incidents/incident-timers.ts'
import { IncidentWorker } from './incidents/incident-worker.ts'
import { MaintenanceService } from './maintenance/maintenance-service.ts'
import { MaintenanceView } from './maintenance/maintenance-view.ts'
import { PlatformHealth, type PlatformHealthOptions, type PlatformHealthSource } from './platform-health.ts'
import { SurroundingsFinder } from './surroundings.ts'

export interface AlertsOptions {
  documents: Documents
  eventLog: EventLog
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: AlertsConfig
  facts: DeviceFacts
  /** Absent where nobody asks. */
  health?: PlatformHealthSource
  /** False where alerts are only looked at and acted on by people: anomalies and timers are another process's. */
  works?: boolean
}

/** Everything about alerts: topic `anomalies` in, documents and topic `alerts` out. The documents and the log must be started before it. */
export class Alerts implements Service {
  readonly name = 'alerts'
  readonly service: AlertService
  readonly maintenance: MaintenanceService
  /** Tells of troubles of the platform that somebody else sees, as alerts like those of this process. To be started after this. */
  readonly watching: (source: PlatformHealthSource, config: PlatformHealthOptions['config']) => PlatformHealth
  readonly incidents: IncidentService
  readonly #parts: Service[]
  readonly #timers: AlertTimers
  readonly #incidentTimers: IncidentTimers

  constructor(options: AlertsOptions) {
    const store = new AlertStore(options)
    const maintenance = new MaintenanceView(options)
    const surroundings = new SurroundingsFinder({ ...options, store, maintenance })
    const publisher = new ChangePublisher({ ...options, store })
    const quietAsk = new AlertQuietAsk({ ...options, store })
    const desk = new IncidentDesk(options)
    const incidentStore = new IncidentStore(options)
    const timers = new AlertTimers({ ...options, store, publisher, surroundings, quietAsk })
    this.#timers = timers
    const worker = new AlertWorker({ ...options, store, surroundings, incidents: desk, quietAsk })
    this.service = new AlertService({ ...options, store, publisher, quietAsk })
    this.incidents = new IncidentService({ ...options, store: incidentStore })
    const act = this.service.act.bind(this.service)
    const incidentTimers = new IncidentTimers({ ...options, store: incidentStore, alerts: store, act })
    const incidentWorker = new IncidentWorker({ ...options, store: incidentStore })
    this.#incidentTimers = incidentTimers
    this.maintenance = new MaintenanceService({ ...options, view: maintenance, quietAsk })
    this.#parts = [store, maintenance, incidentStore]
    this.watching = (source, config) => new PlatformHealth({ ...options, source, store, config })
    if (options.works === false) return
    this.#parts.push(desk, timers, incidentTimers, incidentWorker, worker)
    if (options.health !== undefined) this.#parts.push(new PlatformHealth({ ...options, source: options.health, store }))
  }

  async start(): Promise<void> {
    for (const part of this.#parts) await part.start()
  }

  async stop(): Promise<void> {
    for (const part of this.#parts.toReversed()) await part.stop()
  }

  /** Does now what is due; the timer would do it within `sweepIntervalMs`. */
  async sweep(): Promise<void> {
    await this.#timers.sweep()
    await this.#incidentTimers.sweep()
  }

  /** Resolves when the sweep under way is done: for tests that move time. */
  async sweeping(): Promise<void> {
    await this.#timers.sweeping()
    await this.#incidentTimers.sweeping()
  }
}
