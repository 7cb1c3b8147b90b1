import type { KeyObject } from 'node:crypto'
import type { Logger } from '../../kernel/log.ts'
import type { Collection, CollectionSpec, Documents } from './documents.ts'
import { SealedCollection } from './sealed-collection.ts'
import { Sealer } from './sealer.ts'

export interface SealedDocumentsOptions {
  documents: Documents
  /** What seals (first) and opens; empty: nothing is sealed. */
  keys: () => Promise<readonly KeyObject[]>
  /** Collection with the id of every key that ever sealed here. */
  record: string
  log: Logger
}

/** Documents whose confidential properties (`CollectionSpec.sealed`) lie sealed in the engine. What lies there unsealed is read as it is. */
export class SealedDocuments implements Documents {
  readonly name: string
  readonly #options: SealedDocumentsOptions
  #sealer: Sealer | null = null

  constructor(options: SealedDocumentsOptions) {
    this.#options = options
    this.name = options.documents.name
  }

  /** Throws ConfigError for what is no key, and what the engine throws. A key that is missing is told, and stops nothing else. */
  async start(): Promise<void> {
    await this.#options.documents.start()
    const keys = await this.#options.keys()
    this.#sealer = keys.length === 0 ? null : new Sealer(keys)
    await this.#compare()
  }

  async stop(): Promise<void> {
    await this.#options.documents.stop()
  }

  async collection<T extends object>(spec: CollectionSpec): Promise<Collection<T>> {
    const collection = await this.#options.documents.collection<T>(spec)
    const { sealed = [], name } = spec
    if (sealed.length === 0) return collection
    return new SealedCollection<T>({ collection, name, fields: sealed, sealer: () => this.#sealer, log: this.#options.log })
  }

  /** A process that lacks a key of the others would leave out what they wrote: better told at its start than found missing. */
  async #compare(): Promise<void> {
    const { documents, record, log } = this.#options
    const sealer = this.#sealer
    const used = await documents.collection<{ v: 1 }>({ name: record, indexes: [] })
    const missing = (await used.find({})).map(({ _id }) => _id).filter((keyId) => sealer?.opens(keyId) !== true)
    if (missing.length > 0) {
      const remedy = 'Add them to documents.sealKeys, documents.sealKeysFile or the file seal-keys of the data folder, behind the first.'
      log.error({ code: 'STORE_SEALED', keyIds: missing, remedy }, 'documents are sealed with keys that this process does not have')
    }
    if (sealer !== null && (await used.get(sealer.keyId)) === null) await used.insert(sealer.keyId, { v: 1 })
  }
}
