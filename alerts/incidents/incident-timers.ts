import type { Principal } from '../../contracts/authorisation.ts'
import { FleetpulseError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { AlertStore } from '../alert-store.ts'
import type { AlertsConfig } from '../config.ts'
import { mapBounded } from '../../kernel/map-bounded.ts'
import { Sweeper } from '../../kernel/sweeper.ts'
import type { Spread, StoredIncident } from './incident-document.ts'
import { recounted } from './incident-lifecycle.ts'
import type { IncidentStore } from './incident-store.ts'

/** Documents in memory at a time. */
const PAGE_ITEMS = 500
const RETENTION_INTERVAL_MS = 3_600_000

export interface IncidentTimersOptions {
  store: IncidentStore
  alerts: AlertStore
  /** Does to one alert what was done to its incident. */
  act: (principal: Principal, action: Spread['action'], command: { id: string; note: string }) => Promise<unknown>
  clock: Clock
  log: Logger
  config: AlertsConfig
}

/** What happens to incidents by time: their alerts are counted, and follow what was done to the incident. The dates are in the documents. */
export class IncidentTimers implements Service {
  readonly name = 'incident-timers'
  readonly #options: IncidentTimersOptions
  readonly #sweeper: Sweeper
  #retainedAtMs = -Infinity

  constructor(options: IncidentTimersOptions) {
    this.#options = options
    const { clock, log, config } = options
    this.#sweeper = new Sweeper({ what: 'incidents', intervalMs: config.sweepIntervalMs, clock, log, sweep: () => this.sweep() })
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

  async sweep(): Promise<void> {
    const { store, clock, config } = this.#options
    const nowMs = clock.nowMs()
    const due = await store.collection.find({ dueAt: { $lte: nowMs } }, { limit: PAGE_ITEMS })
    for (const incident of due) await this.#settle(incident, nowMs)
    const unpublished = await store.collection.find({ unpublishedSince: { $lte: nowMs - config.republishAfterMs } }, { limit: PAGE_ITEMS })
    for (const incident of unpublished) await store.publish(incident)
    if (nowMs - this.#retainedAtMs < RETENTION_INTERVAL_MS) return
    this.#retainedAtMs = nowMs
    await store.collection.deleteMany({ state: 'resolved', resolvedAt: { $lt: nowMs - config.resolvedRetentionMs } })
  }

  /** First the alerts follow, then they are counted; a crash in between repeats it, because the date stays until the count is written. */
  async #settle(incident: StoredIncident, nowMs: number): Promise<void> {
    const { store, alerts } = this.#options
    const { id, tenant } = incident
    const spread = incident.spread ?? followUp(incident)
    if (spread !== null) await this.#spread(id, tenant, spread)
    const ofIt = { 'incident.id': id }
    const [all, open, acknowledged] = await Promise.all([
      alerts.count(ofIt),
      alerts.count({ ...ofIt, state: 'open' }),
      alerts.count({ ...ofIt, state: 'acknowledged' }),
    ])
    const counts = { all, open, acknowledged }
    await store.change({ id, tenant }, (document) =>
      // What came meanwhile is counted next time.
      document.sequence === incident.sequence && document.taken === incident.taken
        ? recounted(document, counts, nowMs)
        : { ...recounted(document, counts, nowMs), dueAt: nowMs, spread: document.spread },
    )
  }

  async #spread(incidentId: string, tenant: string, { action, by, note }: Spread): Promise<void> {
    const { alerts, act, config } = this.#options
    const principal: Principal = { kind: 'system', id: by, tenant, roles: [] }
    const states = action === 'acknowledge' ? ['open'] : ['open', 'acknowledged']
    for (let after = ''; ;) {
      const filter = { 'incident.id': incidentId, state: { $in: states }, id: { $gt: after } }
      const page = await alerts.find(filter, { sort: { id: 1 }, limit: PAGE_ITEMS })
      await mapBounded(page, config.writesInFlightMax, ({ id }) => act(principal, action, { id, note }).catch(unlessOvertaken))
      const last = page.at(-1)
      if (last === undefined || page.length < PAGE_ITEMS) return
      after = last.id
    }
  }
}

/** Alerts that joined after somebody acknowledged the whole are acknowledged with it. */
function followUp({ id, acknowledgedBy, state }: StoredIncident): Spread | null {
  if (acknowledgedBy === null || state === 'resolved') return null
  return { action: 'acknowledge', by: acknowledgedBy, note: `with incident ${id}, by ${acknowledgedBy}` }
}

/** Somebody or something was faster: the alert is where it should be, or further. */
function unlessOvertaken(error: unknown): void {
  if (!(error instanceof FleetpulseError) || error.fault !== 'caller') throw error
}
