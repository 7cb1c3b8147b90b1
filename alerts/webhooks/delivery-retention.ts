import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { WebhooksConfig } from './config.ts'
import type { WebhookStore } from './webhook-store.ts'

const INTERVAL_MS = 600_000
const PAGE_ITEMS = 200
const FINISHED = { $in: ['delivered', 'dead'] }

/** Keeps the delivery log within its bounds of age and number. */
export class DeliveryRetention implements Service {
  readonly name = 'webhook-retention'
  readonly #store: WebhookStore
  readonly #clock: Clock
  readonly #log: Logger
  readonly #config: WebhooksConfig
  #timer: Timer | undefined
  #running: Promise<number> = Promise.resolve(0)

  constructor(options: { store: WebhookStore; clock: Clock; log: Logger; config: WebhooksConfig }) {
    this.#store = options.store
    this.#clock = options.clock
    this.#log = options.log
    this.#config = options.config
  }

  async start(): Promise<void> {
    this.#timer ??= every(
      this.#clock,
      INTERVAL_MS,
      async () => {
        this.#running = this.retain()
        await this.#running
      },
      (error) => this.#log.error({ error: describeError(error) }, 'retention of webhook deliveries failed; it is tried again later'),
    )
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#running.catch(() => 0)
  }

  /** Removes what is too old, then what is too much; resolves with how many went. */
  async retain(): Promise<number> {
    const { deliveries } = this.#store
    let removed = await deliveries.deleteMany({ state: FINISHED, updatedAt: { $lt: this.#clock.nowMs() - this.#config.retentionMs } })
    for await (const { id: endpointId } of this.#store.allEndpoints(PAGE_ITEMS)) {
      const newestFirst = { sort: { createdAt: -1, id: -1 }, skip: this.#config.deliveriesKeptPerEndpointMax, limit: 1 } as const
      const [surplus] = await deliveries.find({ endpointId, state: FINISHED }, newestFirst)
      if (surplus === undefined) continue
      removed += await deliveries.deleteMany({ endpointId, state: FINISHED, createdAt: { $lte: surplus.createdAt } })
    }
    return removed
  }
}
