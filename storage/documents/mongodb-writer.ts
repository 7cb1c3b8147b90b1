import type { Collection as ServerCollection } from 'mongodb'
import { newId } from '../../kernel/ids.ts'
import type { Random } from '../../kernel/random.ts'
import type { Clock } from '../../kernel/time.ts'
import type { ServerDocument } from './mongodb-codec.ts'
import type { MongodbConfig } from './mongodb-config.ts'
import type { MongodbConnection } from './mongodb-connection.ts'
import type { MongodbMetrics } from './mongodb-metrics.ts'
import { PendingDelete, type DeleteResult } from './mongodb-pending-delete.ts'
import { PendingSave, type SaveRule } from './mongodb-pending-save.ts'
import { MongodbSaver } from './mongodb-saver.ts'
import { WriteQueue } from './mongodb-write-queue.ts'

export interface WriterOptions {
  collection: ServerCollection<ServerDocument>
  connection: MongodbConnection
  config: MongodbConfig
  documentBytesMax: number
  clock: Clock
  random: Random
  metrics: MongodbMetrics
}

/** All writes of one collection that this process makes. */
export class MongodbWriter {
  readonly #options: WriterOptions
  readonly #saver: MongodbSaver
  readonly #queue: WriteQueue<PendingSave | PendingDelete>
  readonly #tokens: string
  #lastToken = 0

  constructor(options: WriterOptions) {
    this.#options = options
    this.#saver = new MongodbSaver(options)
    this.#tokens = newId(options.clock.nowMs())
    this.#queue = new WriteQueue({
      perform: (batch) => this.#perform(batch),
      batchMax: options.config.batchDocumentsMax,
      waitingMax: options.config.waitingWritesMax,
      collection: options.collection.collectionName,
    })
  }

  get waiting(): number {
    return this.#queue.waiting
  }

  save<R>(id: string, rule: SaveRule<R>): Promise<R> {
    const { documentBytesMax, config } = this.#options
    const token = `${this.#tokens}-${(++this.#lastToken).toString(36)}`
    const write = new PendingSave({ id, token, rule, documentBytesMax, racesMax: config.racesMax })
    this.#queue.add(write)
    return write.answer as Promise<R>
  }

  delete(id: string, version: number | undefined): Promise<DeleteResult> {
    const write = new PendingDelete(id, version)
    this.#queue.add(write)
    return write.answer
  }

  /** Resolves when every write has its answer. */
  idle(): Promise<void> {
    return this.#queue.idle()
  }

  async #perform(batch: readonly (PendingSave | PendingDelete)[]): Promise<void> {
    const { collection, connection } = this.#options
    const saves = batch.filter((write) => write instanceof PendingSave)
    const deletes = batch.filter((write) => write instanceof PendingDelete)
    await Promise.all([this.#saver.save(saves), ...deletes.map((write) => write.perform(collection, connection))])
  }
}
