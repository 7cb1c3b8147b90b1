import type { MetricKind } from '../contracts/device.ts'
import type { Collection, Documents } from '../storage/documents/documents.ts'

interface MetricDocument {
  tenant: string
  type: string
  metric: string
  kind: MetricKind
}

/**
 * The kind of every metric ever accepted, per tenant and type. A metric keeps its kind for good, because it is a column;
 * the first door to see a new one claims it durably, the others learn that claim.
 */
export class MetricCatalogue {
  readonly #documents: Documents
  #collection: Collection<MetricDocument> | undefined
  readonly #known = new Map<string, Map<string, MetricKind>>()
  readonly #claims = new Map<string, Promise<void>>()

  constructor(documents: Documents) {
    this.#documents = documents
  }

  async start(): Promise<void> {
    this.#collection = await this.#documents.collection<MetricDocument>({ name: 'metric-catalogue', indexes: [] })
    for (const entry of await this.#collection.find({})) this.of(entry.tenant, entry.type).set(entry.metric, entry.kind)
  }

  /** Metrics known now; the same map object for the life of the process. */
  of(tenant: string, type: string): Map<string, MetricKind> {
    const key = `${tenant}/${type}`
    let metrics = this.#known.get(key)
    if (metrics === undefined) {
      metrics = new Map()
      this.#known.set(key, metrics)
    }
    return metrics
  }

  /** Claims new metrics; afterwards `of` knows them, with the kind of whoever came first. */
  async declare(tenant: string, type: string, metrics: ReadonlyMap<string, MetricKind>): Promise<void> {
    for (const [metric, kind] of metrics) {
      if (this.of(tenant, type).has(metric)) continue
      const id = `${tenant}/${type}/${metric}`
      // A whole fleet may show a new metric in the same moment: one claim serves all who wait.
      let claim = this.#claims.get(id)
      if (claim === undefined) {
        claim = this.#claim(id, { tenant, type, metric, kind }).finally(() => this.#claims.delete(id))
        this.#claims.set(id, claim)
      }
      await claim
    }
  }

  async #claim(id: string, document: MetricDocument): Promise<void> {
    const collection = this.#collection
    if (collection === undefined) throw new TypeError('MetricCatalogue.start was not called')
    const claimed = await collection.insert(id, document)
    const winner = claimed.status === 'written' ? claimed.document : await collection.get(id)
    if (winner !== null) this.of(document.tenant, document.type).set(document.metric, winner.kind)
  }
}
