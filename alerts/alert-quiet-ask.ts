import type { AlertChangeKind } from '../contracts/alert.ts'
import { GATEWAY_LABEL } from '../contracts/device-facts.ts'
import type { Clock } from '../kernel/time.ts'
import type { Filter } from '../storage/documents/documents.ts'
import { withTimes, type AlertDocument } from './alert-document.ts'
import type { AlertStore } from './alert-store.ts'
import type { AlertsConfig } from './config.ts'
import { mapBounded } from '../kernel/map-bounded.ts'

const PAGE_ITEMS = 500

/** Has the sweep look anew at whether alerts are to be quiet, because what kept them quiet began, changed or ended. */
export class AlertQuietAsk {
  readonly #store: AlertStore
  readonly #clock: Clock
  readonly #config: AlertsConfig

  constructor(options: { store: AlertStore; clock: Clock; config: AlertsConfig }) {
    this.#store = options.store
    this.#clock = options.clock
    this.#config = options.config
  }

  /**
   * After a gateway's silence began or ended: its devices' alerts. A crash before this is made good when those alerts ask by themselves
   * (`dependencyRecheckMs`). After the end devices get a while to be heard again.
   */
  async follow(alert: Pick<AlertDocument, 'id' | 'tenant' | 'device' | 'cause'>, change: AlertChangeKind): Promise<void> {
    if (alert.cause !== 'silence') return
    const { id, tenant, device } = alert
    if (change === 'opened' || change === 'reopened') {
      const behind = { tenant, [`labels.${GATEWAY_LABEL}`]: device, state: { $in: ['open', 'acknowledged'] } }
      await this.askAgain(behind)
    } else if (change === 'resolved') await this.askAgain({ 'quiet.ref': id }, this.#config.dependencyGraceMs)
  }

  /** Page by page, so that memory holds one page. */
  async askAgain(which: Filter, afterMs = 0): Promise<void> {
    const askAt = this.#clock.nowMs() + afterMs
    for (let after = ''; ;) {
      const page = await this.#store.find({ ...which, id: { $gt: after } }, { sort: { id: 1 }, limit: PAGE_ITEMS })
      await mapBounded(page, this.#config.writesInFlightMax, ({ _id, tenant }) =>
        this.#store.change({ id: _id, tenant }, (alert) => (alert.state === 'resolved' ? alert : withTimes(alert, { quiet: askAt }))),
      )
      const last = page.at(-1)
      if (last === undefined || page.length < PAGE_ITEMS) return
      after = last.id
    }
  }
}
