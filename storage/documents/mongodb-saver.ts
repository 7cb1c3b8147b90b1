import { MongoBulkWriteError, MongoServerError, type AnyBulkWriteOperation, type Collection, type WriteError } from 'mongodb'
import type { Random } from '../../kernel/random.ts'
import { backoffDelayMs } from '../../kernel/retry.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Stored } from './documents.ts'
import { escapeText, restoreDocument, type ServerDocument } from './mongodb-codec.ts'
import type { MongodbConnection } from './mongodb-connection.ts'
import { CODES, toStoreError } from './mongodb-errors.ts'
import type { MongodbMetrics } from './mongodb-metrics.ts'
import type { PendingSave } from './mongodb-pending-save.ts'

/** Rounds of a batch that follow each other at once; then others get time to finish. */
const ROUNDS_WITHOUT_WAIT = 2
const RACE_BACKOFF = { initialMs: 1, maxMs: 50, factor: 2, jitter: 1 }

export interface SaverOptions {
  collection: Collection<ServerDocument>
  connection: MongodbConnection
  clock: Clock
  random: Random
  metrics: MongodbMetrics
}

/** What a batch came to: how many documents were stored, and the errors of single ones by their place in it. */
interface BulkOutcome {
  stored: number
  errors: ReadonlyMap<number, WriteError>
}

/**
 * Saves a batch of different documents: looks at what the writes need to know, lets each decide, and stores what they decided in one
 * request, each only in the place of the version that it has seen. A write that was not stored looks and decides again.
 */
export class MongodbSaver {
  readonly #options: SaverOptions

  constructor(options: SaverOptions) {
    this.#options = options
  }

  /** Answers every write; throws StoreError when MongoDB does not, then those left have no answer. */
  async save(batch: readonly PendingSave[]): Promise<void> {
    const { clock, random } = this.#options
    let open = batch
    for (let round = 0; open.length > 0; round++) {
      if (round > ROUNDS_WITHOUT_WAIT) await sleep(clock, backoffDelayMs(RACE_BACKOFF, round - ROUNDS_WITHOUT_WAIT, random))
      const found = await this.#look(open, round)
      const decided = open.filter((write) => write.decide(found.get(write.id)))
      open = decided.length === 0 ? [] : await this.#store(decided)
      this.#options.metrics.overtaken.inc(open.length)
    }
  }

  /** What the writes need to know of the stored documents; in the first round some need nothing. */
  async #look(open: readonly PendingSave[], round: number): Promise<Map<string, { stored: Stored; token: string }>> {
    const whole = open.filter((write) => write.needs === 'document').map((write) => escapeText(write.id))
    const parts = open
      .filter((write) => write.needs === 'version' || (write.needs === 'nothing' && round > 0))
      .map((write) => escapeText(write.id))
    const { collection, connection } = this.#options
    const ask = (ids: readonly string[], projection: Record<string, 1>): Promise<ServerDocument[]> =>
      ids.length === 0
        ? Promise.resolve([])
        : connection.request('look', () => collection.find({ _id: { $in: [...ids] } }, { projection, batchSize: ids.length }).toArray())
    const found = (await Promise.all([ask(whole, {}), ask(parts, { version: 1, _write: 1, _escaped: 1 })])).flat()
    return new Map(
      found.map((server) => {
        const stored = restoreDocument(server)
        return [stored._id, { stored, token: server._write }]
      }),
    )
  }

  /** Answers those that are stored; gives back those that are not, or perhaps not. */
  async #store(writes: readonly PendingSave[]): Promise<PendingSave[]> {
    const { connection, metrics } = this.#options
    const operations = writes.map(operationOf)
    let tries = 0
    const outcome = await connection.request('save', () => {
      tries++
      return this.#bulk(operations)
    })
    metrics.saved.inc(outcome.stored)
    if (outcome.errors.size === 0 && outcome.stored === writes.length) {
      for (const write of writes) write.written()
      return []
    }
    return writes.filter((write, i) => {
      const error = outcome.errors.get(i)
      if (error !== undefined && error.code !== CODES.duplicateKey) {
        write.fail(toStoreError(new MongoServerError({ message: error.errmsg ?? '', code: error.code }), connection.server))
        return false
      }
      write.notSeenStored({ duplicate: error !== undefined, answerLost: tries > 1 })
      return true
    })
  }

  async #bulk(operations: readonly AnyBulkWriteOperation<ServerDocument>[]): Promise<BulkOutcome> {
    try {
      // Unordered goes on after an error; the server still takes them one after the other.
      const { matchedCount, upsertedCount } = await this.#options.collection.bulkWrite(operations, { ordered: false })
      return { stored: matchedCount + upsertedCount, errors: new Map() }
    } catch (error) {
      if (!(error instanceof MongoBulkWriteError)) throw error
      const writeErrors = [error.writeErrors].flat()
      const concern = error.result.getWriteConcernError()
      if (concern !== undefined) throw new MongoServerError({ message: concern.errmsg ?? '', code: concern.code ?? 0 })
      if (writeErrors.length === 0) throw error
      return { stored: error.matchedCount + error.upsertedCount, errors: new Map(writeErrors.map((each) => [each.index, each])) }
    }
  }
}

/** Compare-and-set: in the place of the version that was seen, or where there was none. */
function operationOf(write: PendingSave): AnyBulkWriteOperation<ServerDocument> {
  const { base, server } = write.sent
  const filter = { _id: server._id, version: base }
  return { replaceOne: { filter, replacement: server, upsert: base === 0 } }
}
