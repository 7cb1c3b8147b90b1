import type { Logger } from '../kernel/log.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { AlertChangeKind } from '../contracts/alert.ts'
import { bare, type StoredAlert } from './alert-document.ts'
import { elapse } from './alert-elapse.ts'
import type { AlertQuietAsk } from './alert-quiet-ask.ts'
import { withDirectChanges, type AlertStore } from './alert-store.ts'
import type { ChangePublisher } from './change-publisher.ts'
import type { AlertsConfig } from './config.ts'
import { mapBounded } from '../kernel/map-bounded.ts'
import { Sweeper } from '../kernel/sweeper.ts'
import type { SurroundingsFinder } from './surroundings.ts'

/** Documents in memory at a time. */
const PAGE_ITEMS = 500
/** How often resolved alerts past their retention are removed. */
const RETENTION_INTERVAL_MS = 3_600_000

export interface AlertTimersOptions {
  store: AlertStore
  publisher: ChangePublisher
  surroundings: SurroundingsFinder
  quietAsk: AlertQuietAsk
  clock: Clock
  log: Logger
  config: AlertsConfig
}

/** What happens to alerts by time alone. All dates are in the documents, so that they survive restarts. */
export class AlertTimers implements Service {
  readonly name = 'alert-timers'
  readonly #options: AlertTimersOptions
  readonly #sweeper: Sweeper
  #retainedAtMs = -Infinity
  #isCurrent = false

  constructor(options: AlertTimersOptions) {
    this.#options = options
    const { clock, log, config } = options
    this.#sweeper = new Sweeper({ what: 'alerts', intervalMs: config.sweepIntervalMs, clock, log, sweep: () => this.sweep() })
  }

  async start(): Promise<void> {
    this.#sweeper.start()
  }

  stop(): Promise<void> {
    return this.#sweeper.stop()
  }

  /** Resolves when the sweep under way, if any, is done. */
  sweeping(): Promise<void> {
    return this.#sweeper.idle()
  }

  /** One round: does what is due, appends what a crash left unpublished, removes what is past its retention. */
  async sweep(): Promise<void> {
    const { store, clock, config } = this.#options
    const nowMs = clock.nowMs()
    if (!this.#isCurrent) await this.#bringUpToDate()
    await this.#elapse(nowMs)
    await this.#republish(nowMs)
    if (nowMs - this.#retainedAtMs < RETENTION_INTERVAL_MS) return
    this.#retainedAtMs = nowMs
    await store.removeMany({ state: 'resolved', resolvedAt: { $lt: nowMs - config.resolvedRetentionMs } })
  }

  /** Each alert taken is due no more afterwards, so the loop ends. */
  async #elapse(nowMs: number): Promise<void> {
    const { store, config } = this.#options
    for (;;) {
      const due = await store.find({ dueAt: { $lte: nowMs } }, { limit: PAGE_ITEMS })
      await mapBounded(due, config.writesInFlightMax, (stored) => this.#elapseOne(stored, nowMs))
      if (due.length < PAGE_ITEMS) return
    }
  }

  async #elapseOne(due: StoredAlert, nowMs: number): Promise<void> {
    const { store, publisher, surroundings, quietAsk, config } = this.#options
    const around = await surroundings.of(due, bare(due).labels)
    let changes: AlertChangeKind[] = []
    const stored = await store.change({ id: due._id, tenant: due.tenant }, (alert) => {
      const elapsed = elapse(alert, around, nowMs, config)
      changes = elapsed.changes
      return withDirectChanges(elapsed.alert, changes, nowMs)
    })
    for (const change of changes) await quietAsk.follow(stored, change)
    if (changes.length > 0) await publisher.publish(stored)
  }

  async #republish(nowMs: number): Promise<void> {
    const { store, publisher, config } = this.#options
    const waiting = { unpublishedSince: { $lte: nowMs - config.republishAfterMs } }
    const found = await store.find(waiting, { limit: PAGE_ITEMS })
    await mapBounded(found, config.writesInFlightMax, (stored) => publisher.publish(stored))
  }

  /** Alerts written by versions without `times` have no date that the sweep would find. */
  async #bringUpToDate(): Promise<void> {
    const { store, config } = this.#options
    for (;;) {
      const former = await store.find({ state: { $ne: 'resolved' }, times: { $exists: false } }, { limit: PAGE_ITEMS })
      await mapBounded(former, config.writesInFlightMax, ({ _id, tenant }) => store.change({ id: _id, tenant }, (alert) => ({ ...alert })))
      if (former.length < PAGE_ITEMS) break
    }
    this.#isCurrent = true
  }
}
