import type { AlertFact, DeviceOf, DomainFacts, ExpiryFact, LimitFact, TrendPoint } from '../../agents/proactive/domain-facts.ts'
import { ALERTS_COLLECTION, type AlertDocument } from '../../alerts/alert-document.ts'
import type { Principal } from '../../contracts/authorisation.ts'
import { InvalidInputError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Service } from '../../kernel/service.ts'
import { openRegistryCollections, type DeviceDocument } from '../../device-registry/collections.ts'
import type { RulesService } from '../../processing/rules/rules-service.ts'
import type { ExpiryForecast } from '../../provisioning/rotation/expiry-forecast.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'

/** Characters of an id that are its time. */
const ID_TIME_LENGTH = 10
const TENANTS_MAX = 1_000

export interface StoredDomainFactsOptions {
  documents: Documents
  series: Pick<SeriesStore, 'downsample'>
  rules: { service: Pick<RulesService, 'list'> }
  expiryForecast: Pick<ExpiryForecast, 'of'>
}

/** The fleet as patterns look at it, read from the real stores: whichever engines are behind the ports. */
export class StoredDomainFacts implements Service, DomainFacts {
  readonly name = 'domain-facts'
  readonly #options: StoredDomainFactsOptions
  #alerts: Collection<AlertDocument> | undefined
  #devices: Collection<DeviceDocument> | undefined

  constructor(options: StoredDomainFactsOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#alerts ??= await this.#options.documents.collection<AlertDocument>(ALERTS_COLLECTION)
    this.#devices ??= (await openRegistryCollections(this.#options.documents)).devices
  }
  async stop(): Promise<void> {
    this.#alerts = undefined
    this.#devices = undefined
  }

  /** Those that have devices. */
  async tenants(): Promise<string[]> {
    const found: string[] = []
    while (found.length < TENANTS_MAX) {
      const [next] = await opened(this.#devices).find({ tenant: { $gt: found.at(-1) ?? '' } }, { sort: { tenant: 1, id: 1 }, limit: 1 })
      if (next === undefined) break
      found.push(next.tenant)
    }
    return found
  }

  async alerts(tenant: string, fromMs: number, limit: number): Promise<{ items: AlertFact[]; fromMs: number }> {
    // Ids begin with the time at which they were made.
    const from = newId(Math.max(0, fromMs)).slice(0, ID_TIME_LENGTH)
    const found = await opened(this.#alerts).find({ tenant, id: { $gte: from }, cause: { $ne: 'platform' } }, { sort: { id: -1 }, limit })
    const items = found.map(({ id, device, type, cause, metric, labels, openedAt }) => ({
      id,
      device,
      type,
      cause,
      metric,
      labels,
      openedAt,
    }))
    const isCut = found.length === limit
    return { items, fromMs: isCut ? Math.max(fromMs, items.at(-1)?.openedAt ?? fromMs) : fromMs }
  }

  async expiries(tenant: string, limit: number): Promise<ExpiryFact[]> {
    const { soonest } = await this.#options.expiryForecast.of(tenant, limit)
    return soonest.map(({ device, serial, notAfter, renewAt }) => ({ device, serial, notAfter, renewAt }))
  }

  async devices(tenant: string, after: string, limit: number): Promise<DeviceOf[]> {
    const filter = { tenant, state: 'active', id: { $gt: after } }
    const found = await opened(this.#devices).find(filter, { sort: { id: 1 }, limit })
    return found.map(({ id, type, labels }) => ({ device: id, type, labels }))
  }

  async limits(tenant: string): Promise<LimitFact[]> {
    const system: Principal = { kind: 'system', id: 'agents', tenant, roles: [] }
    const rules = await this.#options.rules.service.list(system)
    return rules.flatMap(({ id, enabled, metric, is, raise, matchers }) =>
      enabled && (is === 'above' || is === 'below') && typeof raise === 'number' ? [{ metric, is, raise, matchers, rule: id }] : [],
    )
  }

  async means({ fromMs: fromTs, toMs: toTs, ...ask }: Parameters<DomainFacts['means']>[0]): Promise<TrendPoint[]> {
    try {
      const buckets = await this.#options.series.downsample({ ...ask, fromTs, toTs })
      return buckets.map(({ ts, mean }) => ({ ts, value: mean }))
    } catch (error) {
      // A metric that holds no numbers has no trend.
      if (error instanceof InvalidInputError) return []
      throw error
    }
  }
}

function opened<T>(collection: T | undefined): T {
  if (collection === undefined) throw new TypeError('StoredDomainFacts.start was not called')
  return collection
}
