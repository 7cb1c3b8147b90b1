import { ConflictError, InternalError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents } from '../../storage/documents/documents.ts'
import { evidenceId, type Evidence } from './evidence.ts'

/** Evidence of one tenant, for as long as digests cite it. */
export interface EvidenceDocument extends Evidence {
  tenant: string
  incident: string
  /** Epoch ms. */
  storedAt: number
}
export const EVIDENCE_COLLECTION: CollectionSpec = {
  name: 'evidence',
  indexes: [
    { name: 'by-incident', paths: ['tenant', 'incident', 'storedAt'] },
  ],
}

/** Immutable evidence: an id is the hash of what it holds, so what is there already is the same. */
export class EvidenceStore implements Service {
  readonly name = 'evidence-store'
  readonly #documents: Documents
  readonly #clock: Clock
  #evidence: Collection<EvidenceDocument> | undefined

  constructor(options: { documents: Documents; clock: Clock }) {
    this.#documents = options.documents
    this.#clock = options.clock
  }

  async start(): Promise<void> {
    this.#evidence ??= await this.#documents.collection<EvidenceDocument>(EVIDENCE_COLLECTION)
  }

  async stop(): Promise<void> {
    this.#evidence = undefined
  }

  /** Resolves when all of it is durable. Throws ConflictError for evidence whose id is not its hash. */
  async keep(tenant: string, incident: string, evidence: readonly Evidence[]): Promise<void> {
    for (const one of evidence) if (one.id !== evidenceId(one)) throw new ConflictError(`evidence ${one.id} is not what its id says`)
    const storedAt = this.#clock.nowMs()
    const saves = evidence.map((one) => ({ id: documentId(tenant, one.id), version: 0, document: { ...one, tenant, incident, storedAt } }))
    // A conflict says that it is kept already.
    if (saves.length > 0) await this.#opened().saveMany(saves)
  }

  /** Null also for another tenant's. */
  async get(tenant: string, id: string): Promise<Evidence | null> {
    const found = await this.#opened().get(documentId(tenant, id))
    return found === null ? null : evidenceOf(found)
  }

  /** Newest first. */
  async ofIncident(tenant: string, incident: string, limit: number): Promise<Evidence[]> {
    return (await this.#opened().find({ tenant, incident }, { sort: { storedAt: -1 }, limit })).map(evidenceOf)
  }

  /** For which incident it was found first; null also for another tenant's. */
  async incidentOf(tenant: string, id: string): Promise<string | null> {
    return (await this.#opened().get(documentId(tenant, id)))?.incident ?? null
  }

  /** Does anything that was found about this incident rest on this reading? */
  async restsOn(tenant: string, incident: string, { device, ts }: { device: string; ts: number }): Promise<boolean> {
    return (await this.#opened().find({ tenant, incident, refs: { $elemMatch: { device, ts } } }, { limit: 1 })).length > 0
  }

  /** Removes what was found about an incident. */
  async forget(tenant: string, incident: string): Promise<number> {
    return this.#opened().deleteMany({ tenant, incident })
  }

  #opened(): Collection<EvidenceDocument> {
    if (this.#evidence === undefined) throw new InternalError('the evidence store is used before its start or after its stop')
    return this.#evidence
  }
}

function documentId(tenant: string, id: string): string {
  return `${tenant}/${id}`
}

function evidenceOf({ id, kind, status, asOf, query, result, refs, truncated }: EvidenceDocument): Evidence {
  return { id, kind, status, asOf, query, result, refs, truncated }
}
