import type { DigestReader } from '../../contracts/digest.ts'
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
import { DeliveryOutbox } from './delivery-outbox.ts'
import { DeliveryRetention } from './delivery-retention.ts'
import { DigestIntake } from './digest-intake.ts'
import { TargetGuard, type ResolveName } from '../../kernel/target-guard.ts'
import { EmailNotifier } from '../notifiers/email-notifier.ts'
import { httpNotifiers } from '../notifiers/http-notifiers.ts'
import { Notifiers } from '../notifiers/notifiers.ts'
import { RoutingService } from '../routing/routing-service.ts'
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
  /** What agents publish; absent: nobody is told of it. */
  digests?: DigestReader
  /** False where webhooks are only looked at and edited: another process sends what is due. */
  works?: boolean
  /** Another way to resolve names than DNS. */
  resolve?: ResolveName
}

/** Everything about webhooks: topics `alerts` and `digests` in, signed requests out. The documents and the log must be started before it. */
export class Webhooks implements Service {
  readonly name = 'webhooks'
  readonly service: WebhookService
  readonly routing: RoutingService
  readonly #parts: Service[]
  /** For tests and tools that run the retention out of turn. */
  readonly retention: DeliveryRetention

  constructor(options: WebhooksOptions) {
    const { config } = options
    const guard = new TargetGuard({ rules: config, ...(options.resolve === undefined ? {} : { resolve: options.resolve }) })
    const store = new WebhookStore(options)
    const sender = new WebhookSender({ ...options, guard })
    const notifiers = new Notifiers({
      notifiers: [...httpNotifiers({ guard, sender }), new EmailNotifier(options)],
      log: options.log,
      config,
    })
    const attempts = new DeliveryAttempts({ ...options, store, notifiers })
    const dispatcher = new DeliveryDispatcher({ ...options, store, attempts, notifiers })
    this.routing = new RoutingService({ ...options, isEndpoint: (tenant, ids) => store.knownEndpoints(tenant, ids) })
    const outbox = new DeliveryOutbox({ ...options, store, queue: dispatcher, notifiers })
    const intake = new WebhookIntake({ ...options, store, outbox, routing: this.routing })
    const { digests } = options
    const intakes = [intake, ...(digests === undefined ? [] : [new DigestIntake({ ...options, digests, outbox })])]
    this.retention = new DeliveryRetention({ ...options, store })
    this.service = new WebhookService({ ...options, store, notifiers, queue: dispatcher, routing: this.routing })
    this.#parts = options.works !== false ? [store, this.routing, dispatcher, this.retention, ...intakes] : [store, this.routing]
  }

  async start(): Promise<void> {
    for (const part of this.#parts) await part.start()
  }

  async stop(): Promise<void> {
    for (const part of this.#parts.toReversed()) await part.stop()
  }
}
