import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Random } from '../kernel/random.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { AlertService } from './alert-service.ts'
import { AlertStore } from './alert-store.ts'
import { AlertTimers } from './alert-timers.ts'
import { AlertWorker } from './alert-worker.ts'
import { ChangePublisher } from './change-publisher.ts'
import type { AlertsConfig } from './config.ts'

export interface AlertsOptions {
  documents: Documents
  eventLog: EventLog
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: AlertsConfig
  /** False where alerts are only looked at and acted on by people: anomalies and timers are another process's. */
  works?: boolean
}

/** Everything about alerts: topic `anomalies` in, documents and topic `alerts` out. The documents and the log must be started before it. */
export class Alerts implements Service {
  readonly name = 'alerts'
  readonly service: AlertService
  readonly #parts: Service[]

  constructor(options: AlertsOptions) {
    const store = new AlertStore(options)
    const publisher = new ChangePublisher({ ...options, store })
    const timers = new AlertTimers({ ...options, store, publisher })
    const worker = new AlertWorker({ ...options, store })
    this.service = new AlertService({ ...options, store, publisher })
    this.#parts = options.works !== false ? [store, timers, worker] : [store]
  }

  async start(): Promise<void> {
    for (const part of this.#parts) await part.start()
  }

  async stop(): Promise<void> {
    for (const part of this.#parts.toReversed()) await part.stop()
  }
}
