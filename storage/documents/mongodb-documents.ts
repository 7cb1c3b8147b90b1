import { StoreError, describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import { withTimeout } from '../../kernel/retry.ts'
import type { Clock } from '../../kernel/time.ts'
import type { DocumentsConfig } from './config.ts'
import type { Collection, CollectionSpec, Documents } from './documents.ts'
import { checkCollectionSpec } from './index-entries.ts'
import type { ServerDocument } from './mongodb-codec.ts'
import { MongodbCollection, type OpenedCollection } from './mongodb-collection.ts'
import type { MongodbConfig } from './mongodb-config.ts'
import { MongodbConnection } from './mongodb-connection.ts'
import { declareIndexes } from './mongodb-indexes.ts'
import { mongodbMetrics, type MongodbMetrics } from './mongodb-metrics.ts'
import { MongodbWriter } from './mongodb-writer.ts'

export interface MongodbDocumentsOptions {
  config: MongodbConfig
  /** Bounds of documents, the same on every engine. */
  documents: Pick<DocumentsConfig, 'documentBytesMax' | 'deleteSliceDocuments'>
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
}

interface Opened {
  connection: MongodbConnection
  writers: Map<string, MongodbWriter>
}

/**
 * The documents port on MongoDB 6 or newer, standalone or replica set, for any number of processes at once. Nothing in it needs a replica
 * set. After `stop` it may be started again; collections opened before go on working then.
 */
export class MongodbDocuments implements Documents {
  readonly name = 'documents'
  readonly #options: MongodbDocumentsOptions
  readonly #metrics: MongodbMetrics
  #opening: Promise<Opened> | undefined
  #opened: Opened | undefined

  constructor(options: MongodbDocumentsOptions) {
    this.#options = options
    this.#metrics = mongodbMetrics(options.metrics)
    options.metrics.gaugeOf('documents_waiting_writes', 'Writes that wait for their turn on MongoDB', () =>
      [...(this.#opened?.writers.values() ?? [])].reduce((sum, writer) => sum + writer.waiting, 0),
    )
  }

  /** Why documents cannot be read or written at present, in one sentence; null when they can. */
  get failing(): string | null {
    return this.#opened?.connection.failing ?? null
  }

  /** Throws StoreError STORE_UNUSABLE (not there, wrong credentials or rights, too old) or STORE_NEWER. */
  async start(): Promise<void> {
    this.#opening ??= this.#open()
    try {
      this.#opened = await this.#opening
    } catch (error) {
      this.#opening = undefined
      throw error
    }
  }

  /** Lets writes under way end, within `drainTimeoutMs`; those that are left are rejected. */
  async stop(): Promise<void> {
    const opening = this.#opening
    if (opening === undefined) return
    this.#opening = undefined
    this.#opened = undefined
    const { connection, writers } = await opening
    const { clock, config, log } = this.#options
    const idle = Promise.all([...writers.values()].map((writer) => writer.idle()))
    try {
      await withTimeout(clock, config.drainTimeoutMs, 'the last writes to MongoDB', idle)
    } catch (error) {
      log.warn({ error: describeError(error) }, 'documents stop with writes under way')
    }
    await connection.close()
  }

  /** Throws ConflictError when documents that are there already break a new unique index. */
  async collection<T extends object>(spec: CollectionSpec): Promise<Collection<T>> {
    checkCollectionSpec(spec)
    const { connection } = this.#running()
    await connection.request('declare', () =>
      declareIndexes(connection.db.collection(spec.name), spec, this.#options.config.indexTimeoutMs),
    )
    return new MongodbCollection<T>(spec.name, this.#options.documents.deleteSliceDocuments, () => this.#use(spec.name))
  }

  #use(name: string): OpenedCollection {
    const { connection, writers } = this.#running()
    const collection = connection.db.collection<ServerDocument>(name)
    let writer = writers.get(name)
    if (writer === undefined) {
      const { config, clock, random, documents } = this.#options
      const { documentBytesMax } = documents
      writer = new MongodbWriter({ collection, connection, config, documentBytesMax, clock, random, metrics: this.#metrics })
      writers.set(name, writer)
    }
    return { collection, connection, writer }
  }

  #running(): Opened {
    if (this.#opened !== undefined) return this.#opened
    throw new StoreError('STORE_UNUSABLE', 'the documents store is not running', { remedy: 'Use it between its start and its stop.' })
  }

  async #open(): Promise<Opened> {
    const { config, clock, random, log } = this.#options
    const connection = new MongodbConnection({ config, clock, random, log, metrics: this.#metrics })
    await connection.open()
    log.debug({ address: connection.server.address, database: connection.server.database }, 'documents store opened')
    return { connection, writers: new Map() }
  }
}
