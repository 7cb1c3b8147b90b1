import type { Answer, RegistryChange, SourceReading, Sources, StoreProgress } from '../../agents/evidence/sources.ts'
import { tainted } from '../../agents/evidence/tainted.ts'
import type { AnomalyArchive } from '../../anomaly/anomaly-archive.ts'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { Trail } from '../../device-registry/audit/trail.ts'
import { NotFoundError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import { DocumentSources } from './document-sources.ts'
import { changeOf } from './registry-changes.ts'

export interface EvidenceSourcesOptions {
  documents: Documents
  series: SeriesStore
  auditTrail: Pick<Trail, 'list'>
  anomalyArchive: Pick<AnomalyArchive, 'get'>
}

/** What digests rest on, read from the real stores: whichever engines are behind the ports. */
export class EvidenceSources implements Service, Sources {
  readonly name = 'evidence-sources'
  readonly #options: EvidenceSourcesOptions
  readonly #documents: DocumentSources

  constructor(options: EvidenceSourcesOptions) {
    this.#options = options
    this.#documents = new DocumentSources(options.documents)
  }

  start(): Promise<void> {
    return this.#documents.start()
  }
  /** The stores belong to whoever opened them. */
  async stop(): Promise<void> {}

  async readings({ devices, limit, signal, ...ask }: Parameters<Sources['readings']>[0]): Promise<Answer<SourceReading>> {
    const [only] = devices
    const device = only !== undefined && devices.length === 1 ? only : devices
    const items: SourceReading[] = []
    for (let cursor: string | null | undefined; cursor !== null && items.length < limit;) {
      const rest = { limit: limit - items.length, ...(cursor === undefined ? {} : { cursor }) }
      const page = await this.#options.series.range({ ...ask, device, ...rest }, signal)
      for (const { device: from, ts, receivedAt, boot, values } of page.items)
        items.push({ device: from, ts, receivedAt, boot: boot === null ? null : tainted(boot), values })
      cursor = page.next
      if (cursor !== null && items.length >= limit) return { items, truncated: true }
    }
    return { items, truncated: false }
  }

  async anomaly(tenant: string, id: string): Promise<Anomaly | null> {
    try {
      return await this.#options.anomalyArchive.get(tenant, id)
    } catch (error) {
      if (error instanceof NotFoundError) return null
      throw error
    }
  }

  async changes(ask: Parameters<Sources['changes']>[0]): Promise<Answer<RegistryChange>> {
    const { tenant, device, type, fromMs, toMs, limit } = ask
    const list = (subject: string) => this.#options.auditTrail.list({ tenant, subject, from: fromMs, to: toMs, outcome: 'done', limit })
    const [ofDevice, ofType] = await Promise.all([list(`device/${device}`), list(`device-type/${type}`)])
    const entries = [...new Map([...ofDevice.items, ...ofType.items].map((entry) => [entry.seq, entry])).values()]
    const found = entries.toSorted((a, b) => b.seq - a.seq).flatMap((entry) => changeOf(entry, device) ?? [])
    return { items: found.slice(0, limit), truncated: found.length > limit || ofDevice.next !== null || ofType.next !== null }
  }

  async progress(): Promise<StoreProgress> {
    const positions = await this.#options.series.positions()
    return { stored: Array.from(positions, ([partition, nextOffset]) => ({ partition, nextOffset })) }
  }

  alerts(ask: Parameters<Sources['alerts']>[0]): ReturnType<Sources['alerts']> {
    return this.#documents.alerts(ask)
  }
  device(tenant: string, device: string): ReturnType<Sources['device']> {
    return this.#documents.device(tenant, device)
  }
  metric(tenant: string, type: string, metric: string): ReturnType<Sources['metric']> {
    return this.#documents.metric(tenant, type, metric)
  }
  peers(ask: Parameters<Sources['peers']>[0]): ReturnType<Sources['peers']> {
    return this.#documents.peers(ask)
  }
  findings(ask: Parameters<Sources['findings']>[0]): ReturnType<Sources['findings']> {
    return this.#documents.findings(ask)
  }
  maintenance(ask: Parameters<Sources['maintenance']>[0]): ReturnType<Sources['maintenance']> {
    return this.#documents.maintenance(ask)
  }
  ledger(ask: Parameters<Sources['ledger']>[0]): ReturnType<Sources['ledger']> {
    return this.#documents.ledger(ask)
  }
  past(ask: Parameters<Sources['past']>[0]): ReturnType<Sources['past']> {
    return this.#documents.past(ask)
  }
}
