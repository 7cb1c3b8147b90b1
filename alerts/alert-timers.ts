import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Service } from '../kernel/service.ts'
import { every, type Clock, type Timer } from '../kernel/time.ts'
import { resolveAlert } from './alert-lifecycle.ts'
import { withDirectChange, type AlertStore } from './alert-store.ts'
import type { ChangePublisher } from './change-publisher.ts'
import type { AlertsConfig } from './config.ts'
import { mapBounded } from './map-bounded.ts'

/** Documents one sweep takes of a kind; the next sweep takes the rest. */
const SWEEP_ITEMS_MAX = 500
/** How often resolved alerts past their retention are removed. */
const RETENTION_INTERVAL_MS = 3_600_000

/** What happens to alerts by time alone. All dates are in the documents, so that they survive restarts. */
export class AlertTimers implements Service {
  readonly name = 'alert-timers'
  readonly #store: AlertStore
  readonly #publisher: ChangePublisher
  readonly #clock: Clock
  readonly #log: Logger
  readonly #config: AlertsConfig
  #timer: Timer | undefined
  #sweeping: Promise<void> = Promise.resolve()
  #retainedAtMs = -Infinity

  constructor(options: { store: AlertStore; publisher: ChangePublisher; clock: Clock; log: Logger; config: AlertsConfig }) {
    this.#store = options.store
    this.#publisher = options.publisher
    this.#clock = options.clock
    this.#log = options.log
    this.#config = options.config
  }

  async start(): Promise<void> {
    this.#timer ??= every(
      this.#clock,
      this.#config.sweepIntervalMs,
      () => (this.#sweeping = this.sweep()),
      (error) => this.#log.error({ error: describeError(error) }, 'sweep of alerts failed; the next one tries again'),
    )
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#sweeping.catch(() => undefined)
  }

  /** One round: resolves what stayed quiet, appends what a crash left unpublished, removes what is past its retention. */
  async sweep(): Promise<void> {
    const nowMs = this.#clock.nowMs()
    await this.#resolveQuiet(nowMs)
    await this.#republish(nowMs)
    if (nowMs - this.#retainedAtMs < RETENTION_INTERVAL_MS) return
    this.#retainedAtMs = nowMs
    await this.#store.removeMany({ state: 'resolved', resolvedAt: { $lt: nowMs - this.#config.resolvedRetentionMs } })
  }

  async #resolveQuiet(nowMs: number): Promise<void> {
    const due = await this.#store.find({ resolveDueAt: { $lte: nowMs } }, { limit: SWEEP_ITEMS_MAX })
    await mapBounded(due, this.#config.writesInFlightMax, async ({ _id, tenant }) => {
      const stored = await this.#store.change({ id: _id, tenant }, (alert) => {
        // The cause may have come back, or a person was faster.
        if (alert.state === 'resolved' || alert.resolveDueAt === null || alert.resolveDueAt > nowMs) return alert
        const resolved = resolveAlert(alert, { by: 'system', note: 'the cause stayed away for the quiet time' }, nowMs, this.#config)
        return withDirectChange(resolved, 'resolved', nowMs)
      })
      await this.#publisher.publish(stored)
    })
  }

  async #republish(nowMs: number): Promise<void> {
    const waiting = { unpublishedSince: { $lte: nowMs - this.#config.republishAfterMs } }
    const found = await this.#store.find(waiting, { limit: SWEEP_ITEMS_MAX })
    await mapBounded(found, this.#config.writesInFlightMax, (stored) => this.#publisher.publish(stored))
  }
}
