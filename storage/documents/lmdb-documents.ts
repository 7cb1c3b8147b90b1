import type { Counter } from 'prom-client'
import { StoreError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import { DiskReserve } from '../disk-reserve.ts'
import type { DocumentsConfig } from './config.ts'
import type { Collection, CollectionSpec, Documents } from './documents.ts'
import { checkCollectionSpec } from './index-entries.ts'
import { declareCollection, namesOfCollections } from './lmdb-catalogue.ts'
import { LmdbCollection, type OpenedStore } from './lmdb-collection.ts'
import { LmdbFinder } from './lmdb-finder.ts'
import { LmdbStore } from './lmdb-store.ts'
import { LmdbWriter } from './lmdb-writer.ts'

export interface LmdbDocumentsOptions {
  /** Folder of the store; made when it is not there. */
  directory: string
  config: DocumentsConfig
  log: Logger
  metrics: Metrics
}

/**
 * The documents port on LMDB, with mingo for MongoDB's filters and updates. One folder may be opened by several threads of one process,
 * each with a LmdbDocuments of its own. After `stop` it may be started again; collections opened before go on working then.
 */
export class LmdbDocuments implements Documents {
  readonly name = 'documents'
  readonly #options: LmdbDocumentsOptions
  readonly #examined: Counter<'collection'>
  #opening: Promise<OpenedStore> | undefined
  #opened: OpenedStore | undefined

  constructor(options: LmdbDocumentsOptions) {
    this.#options = options
    this.#examined = options.metrics.counter(
      'documents_examined_documents_total',
      'Documents read while searching; far more than are found means that an index is missing.',
      ['collection'],
    )
  }

  /** Throws StoreError STORE_UNUSABLE, STORE_CORRUPT, STORE_NEWER or STORE_FULL. */
  async start(): Promise<void> {
    this.#opening ??= this.#open()
    try {
      this.#opened = await this.#opening
    } catch (error) {
      this.#opening = undefined
      throw error
    }
  }

  async stop(): Promise<void> {
    const opening = this.#opening
    if (opening === undefined) return
    this.#opening = undefined
    this.#opened = undefined
    const { store } = await opening
    await store.close()
  }

  async collection<T extends object>(spec: CollectionSpec): Promise<Collection<T>> {
    checkCollectionSpec(spec)
    const { store } = this.#running()
    await store.write(() => declareCollection(store, spec, this.#options.config.indexEntriesMax))
    return new LmdbCollection<T>(spec.name, this.#options.config, () => this.#running())
  }

  /** Names of every collection that was ever declared here, in order. */
  collectionNames(): string[] {
    return namesOfCollections(this.#running().store)
  }

  #running(): OpenedStore {
    if (this.#opened !== undefined) return this.#opened
    throw new StoreError('STORE_UNUSABLE', 'the documents store is not running', { remedy: 'Use it between its start and its stop.' })
  }

  async #open(): Promise<OpenedStore> {
    const { directory, config, log } = this.#options
    const { diskReserveBytes: reserveBytes, diskCheckMs: checkMs } = config
    const store = await LmdbStore.open(directory, new DiskReserve({ directory, reserveBytes, checkMs, log }))
    log.debug({ directory }, 'documents store opened')
    return { store, writer: new LmdbWriter(store, config), finder: new LmdbFinder({ store, config, examined: this.#examined }) }
  }
}
