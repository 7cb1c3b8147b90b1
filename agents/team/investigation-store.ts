import { InternalError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Collection, CollectionSpec, Documents } from '../../storage/documents/documents.ts'
import type { Investigation } from '../summary/investigation.ts'

interface InvestigationDocument {
  tenant: string
  incident: string
  /** Epoch ms. */
  at: number
  investigation: Investigation
}
const INVESTIGATIONS_COLLECTION: CollectionSpec = {
  name: 'investigations',
  indexes: [{ name: 'by-incident', paths: ['tenant', 'incident'] }],
}

/** The latest investigation of each incident: the agent that writes may be in another process than the one that looked. */
export class InvestigationStore implements Service {
  readonly name = 'investigation-store'
  readonly #documents: Documents
  #investigations: Collection<InvestigationDocument> | undefined

  constructor(options: { documents: Documents }) {
    this.#documents = options.documents
  }

  async start(): Promise<void> {
    this.#investigations ??= await this.#documents.collection<InvestigationDocument>(INVESTIGATIONS_COLLECTION)
  }
  async stop(): Promise<void> {
    this.#investigations = undefined
  }

  async put(investigation: Investigation): Promise<void> {
    const { id: incident, tenant } = investigation.incident
    await this.#opened().put(`${tenant}/${incident}`, { tenant, incident, at: investigation.asOf, investigation })
  }

  async get(tenant: string, incident: string): Promise<Investigation | null> {
    return (await this.#opened().get(`${tenant}/${incident}`))?.investigation ?? null
  }

  async forget(tenant: string, incident: string): Promise<number> {
    return this.#opened().deleteMany({ tenant, incident })
  }

  #opened(): Collection<InvestigationDocument> {
    if (this.#investigations === undefined) throw new InternalError('the investigation store is not started')
    return this.#investigations
  }
}
