import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { open, type Database, type RootDatabase, type Transaction } from 'lmdb'
import { StoreError } from '../../kernel/errors.ts'
import type { DiskReserve } from '../disk-reserve.ts'
import { commitCause } from '../lmdb-commit-cause.ts'
import { corrupt, full, newer, toStoreError } from './lmdb-errors.ts'
import { checkLmdbHeader } from './lmdb-header.ts'

/** Version of everything this adapter keeps; raised when an older program could no longer read it. 2: documents may hold bytes. */
export const STORE_FORMAT_VERSION = 2

const BINARY = { encoding: 'binary', keyEncoding: 'binary', cache: false } as const
const DATABASES_MAX = 4
/**
 * Of a new file; one that is there keeps its own. Most documents fit into a page, which any free page takes, and states of devices into one
 * to a few: rows of many pages, of different lengths, leave gaps, and LMDB goes through all of those at each commit (decision 0040).
 */
const PAGE_BYTES = 16_384
const FORMAT_KEY = 'format'

/**
 * The LMDB environment: three databases, opened by any number of threads of one process over the same folder.
 * A commit is flushed before it becomes visible (no overlapping sync): nobody acts on a document that a power cut could take back.
 */
export class LmdbStore {
  readonly directory: string
  /** `format`, `next-number` and one record per collection. */
  readonly meta: Database<unknown, string>
  /** Collection number and id → document. */
  readonly documents: Database<Buffer, Buffer>
  /** Index number, values and id → id. */
  readonly indexes: Database<string, Buffer>
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #diskReserve: DiskReserve | undefined
  #active = 0
  #closing = false
  #onIdle: (() => void) | undefined

  private constructor(directory: string, diskReserve: DiskReserve | undefined) {
    this.directory = directory
    this.#diskReserve = diskReserve
    this.#root = open<Buffer, Buffer>({
      ...BINARY,
      path: directory,
      // Otherwise a folder with a dot in its name is taken for a file.
      noSubdir: false,
      maxDbs: DATABASES_MAX,
      pageSize: PAGE_BYTES,
      overlappingSync: false,
      // Its own batches have a promise that nobody holds, and a failed commit would end the process with an unhandled rejection.
      eventTurnBatching: false,
    })
    this.meta = this.#root.openDB('meta', { encoding: 'json', cache: false })
    this.documents = this.#root.openDB('documents', { ...BINARY })
    this.indexes = this.#root.openDB('indexes', { encoding: 'string', keyEncoding: 'binary', cache: false })
  }

  /** Throws StoreError STORE_UNUSABLE, STORE_CORRUPT, STORE_NEWER or STORE_FULL; then nothing was changed. With a reserve, writes keep it. */
  static async open(directory: string, diskReserve?: DiskReserve): Promise<LmdbStore> {
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      checkLmdbHeader(join(directory, 'data.mdb'))
      const store = new LmdbStore(directory, diskReserve)
      diskReserve?.start()
      try {
        await store.write(() => store.#checkFormat())
      } catch (error) {
        await store.close()
        throw error
      }
      return store
    } catch (error) {
      throw toStoreError(error, directory)
    }
  }

  /**
   * Runs `step` inside the one write transaction that LMDB allows in all threads and processes; resolves with its answer when that is durable.
   * When it throws, nothing of it is kept. Steps of one turn of the event loop share a commit. Only what `frees` is done on a disk that is nearly full.
   */
  async write<T>(step: () => T, frees = false): Promise<T> {
    this.#begin()
    try {
      if (!frees && this.#diskReserve?.isShort === true) throw full(this.directory)
      return await this.#root.childTransaction(step)
    } catch (error) {
      throw toStoreError(await commitCause(error), this.directory)
    } finally {
      this.#end()
    }
  }

  /** Runs `look` on one unchanging state of the store: the newest that was committed by any thread before the call. */
  async read<T>(look: (transaction: Transaction) => T | Promise<T>): Promise<T> {
    this.#begin()
    try {
      // Without it a thread would see the state of its first read in this turn of the event loop.
      this.#root.resetReadTxn()
      const transaction = this.#root.useReadTransaction()
      try {
        return await look(transaction)
      } finally {
        transaction.done()
      }
    } catch (error) {
      throw toStoreError(error, this.directory)
    } finally {
      this.#end()
    }
  }

  /** Lets what is under way finish, then closes. */
  async close(): Promise<void> {
    this.#closing = true
    this.#diskReserve?.stop()
    if (this.#active > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
    await this.#root.close()
  }

  #begin(): void {
    if (this.#closing) throw new StoreError('STORE_UNUSABLE', `the documents store in ${this.directory} is closed`)
    this.#active++
  }

  #end(): void {
    this.#active--
    if (this.#active === 0) this.#onIdle?.()
  }

  #checkFormat(): void {
    const format = this.meta.get(FORMAT_KEY)
    if (format === undefined) {
      this.meta.putSync(FORMAT_KEY, { version: STORE_FORMAT_VERSION })
      return
    }
    const version = typeof format === 'object' && format !== null && 'version' in format ? format.version : undefined
    if (!Number.isInteger(version)) throw corrupt(`the documents store in ${this.directory} does not say its format`)
    if (Number(version) > STORE_FORMAT_VERSION) throw newer(this.directory)
    if (Number(version) < STORE_FORMAT_VERSION) this.meta.putSync(FORMAT_KEY, { version: STORE_FORMAT_VERSION })
  }
}
