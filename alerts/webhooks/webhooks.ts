import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { WebhooksConfig } from './config.ts'
import { DeliveryAttempts } from './delivery-attempt.ts'
import { DeliveryDispatcher } from './delivery-dispatcher.ts'
import { DeliveryRetention } from './delivery-retention.ts'
import { TargetGuard, type ResolveName } from '../../kernel/target-guard.ts'
import { WebhookIntake } from './webhook-intake.ts'
import { WebhookSender } from './webhook-sender.ts'
import { WebhookService } from './webhook-service.ts'
import { WebhookStore } from './webhook-store.ts'

export interface WebhooksOptions {
  documents: Documents
  eventLog: EventLog
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: WebhooksConfig
  /** False where webhooks are only looked at and edited: another process sends what is due. */
  works?: boolean
  /** Another way to resolve names than DNS. */
  resolve?: ResolveName
}

/** Everything about webhooks: topic `alerts` in, signed requests out. The documents and the log must be started before it. */
export class Webhooks implements Service {
  readonly name = 'webhooks'
  readonly service: WebhookService
  readonly #parts: Service[]
  /** For tests and tools that run the retention out of turn. */
  readonly retention: DeliveryRetention

  constructor(options: WebhooksOptions) {
    const { config } = options
    const guard = new TargetGuard({ rules: config, ...(options.resolve === undefined ? {} : { resolve: options.resolve }) })
    const store = new WebhookStore(options)
    const sender = new WebhookSender({ ...options, guard })
    const attempts = new DeliveryAttempts({ ...options, store, sender })
    const dispatcher = new DeliveryDispatcher({ ...options, store, attempts, sender })
    const intake = new WebhookIntake({ ...options, store, queue: dispatcher })
    this.retention = new DeliveryRetention({ ...options, store })
    this.service = new WebhookService({ ...options, store, guard, queue: dispatcher })
    this.#parts = options.works !== false ? [store, dispatcher, this.retention, intake] : [store]
  }

  async start(): Promise<void> {
    for (const part of this.#parts) await part.start()
  }

  async stop(): Promise<void> {
    for (const part of this.#parts.toReversed()) await part.stop()
  }
}
