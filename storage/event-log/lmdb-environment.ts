import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { open, type Database, type RootDatabase } from 'lmdb'
import { StoreError } from '../../kernel/errors.ts'
import { newer, toLogError } from './lmdb-errors.ts'
import { checkLmdbFile } from './lmdb-file-check.ts'

/** Version of everything this adapter keeps, raised when an older program could no longer read it. */
export const LOG_FORMAT_VERSION = 1

const BINARY = { encoding: 'binary', keyEncoding: 'binary', cache: false } as const
const DATABASES_MAX = 8
const FORMAT_KEY = Buffer.from('format')
const WRITER_KEY = Buffer.from('writer')
const PROBE_KEY = Buffer.from('probe')
/** Writers are numbered around this circle; only those alive at one time must differ. */
const WRITER_IDS = 2 ** 20
const VERSIONS_PER_WRITER = 2 ** 32

/** A commit's promise: fulfilled when visible to all readers; `flushed` when on the disk. */
export type Commit = Promise<boolean> & { flushed?: Promise<unknown> }

/**
 * The log's LMDB environment and its databases. Several threads of a process may hold one each over the same folder.
 * Reads see the state at their first read in a turn of the event loop; `refresh` moves it to the newest.
 */
export class LmdbEnvironment {
  readonly directory: string
  readonly root: RootDatabase<Buffer, Buffer>
  /** Format and writer numbers. */
  readonly meta: Database<Buffer, Buffer>
  /** Name with prefix → JSON. */
  readonly topics: Database<Buffer, Buffer>
  /** Partition → Head, versioned: an append is conditional on the version it built upon. */
  readonly heads: Database<Buffer, Buffer>
  /** Partition → Tail, versioned in the same way for retention. */
  readonly tails: Database<Buffer, Buffer>
  /** Partition and base offset → entry. */
  readonly entries: Database<Buffer, Buffer>
  /** Partition and group → committed offset. */
  readonly offsets: Database<Buffer, Buffer>
  #versionBase = 0
  #versionsUsed = VERSIONS_PER_WRITER

  private constructor(directory: string, root: RootDatabase<Buffer, Buffer>, meta: Database<Buffer, Buffer>) {
    this.directory = directory
    this.root = root
    this.meta = meta
    this.topics = root.openDB('topics', { ...BINARY })
    this.heads = root.openDB('heads', { ...BINARY, useVersions: true })
    this.tails = root.openDB('tails', { ...BINARY, useVersions: true })
    this.entries = root.openDB('entries', { ...BINARY })
    this.offsets = root.openDB('offsets', { ...BINARY })
  }

  /** Throws StoreError STORE_UNUSABLE, STORE_CORRUPT, STORE_NEWER or STORE_FULL; then nothing was changed. */
  static async open(directory: string, mapSizeBytes: number): Promise<LmdbEnvironment> {
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      const file = join(directory, 'data.mdb')
      if (existsSync(file)) checkLmdbFile(file)
      const root = openRoot(directory, mapSizeBytes)
      try {
        const meta = root.openDB<Buffer, Buffer>('meta', { ...BINARY })
        checkFormat(root, meta, directory)
        const environment = new LmdbEnvironment(directory, root, meta)
        environment.#becomeWriter()
        return environment
      } catch (error) {
        await root.close()
        throw error
      }
    } catch (error) {
      throw toLogError(error, directory)
    }
  }

  /** Moves reads to the newest committed state. */
  refresh(): void {
    this.root.resetReadTxn()
  }

  /** A number that no head or tail has had and none will have again. */
  nextVersion(): number {
    if (this.#versionsUsed === VERSIONS_PER_WRITER) this.#becomeWriter()
    return this.#versionBase + this.#versionsUsed++
  }

  /** Resolves when every commit that was visible before the call is on the disk, whichever thread or process made it. */
  async flushAll(): Promise<void> {
    const commit: Commit = this.meta.put(PROBE_KEY, Buffer.alloc(1))
    await commit
    await commit.flushed
  }

  async close(): Promise<void> {
    // After a commit that failed, LMDB's own close would wait for ever for that commit's flush; a commit without changes takes its place.
    await this.heads.ifVersion(PROBE_KEY, -1, () => {})
    await this.root.close()
  }

  /** Takes the next writer's number; its commit waits for the disk and so makes everything before it durable too. */
  #becomeWriter(): void {
    this.root.transactionSync(() => {
      const last = this.meta.get(WRITER_KEY)?.readUInt32LE() ?? 0
      const id = (last + 1) % WRITER_IDS
      const value = Buffer.alloc(4)
      value.writeUInt32LE(id)
      this.meta.putSync(WRITER_KEY, value)
      this.#versionBase = id * VERSIONS_PER_WRITER
      this.#versionsUsed = 1
    })
  }
}

function openRoot(directory: string, mapSizeBytes: number): RootDatabase<Buffer, Buffer> {
  return open<Buffer, Buffer>({
    ...BINARY,
    path: directory,
    // Otherwise a folder with a dot in its name is taken for a file.
    noSubdir: false,
    maxDbs: DATABASES_MAX,
    mapSize: mapSizeBytes,
    // Flushes one commit while the next is written; LMDB advises against it on Windows.
    overlappingSync: process.platform !== 'win32',
    separateFlushed: true,
    // Our own turns gather appends: a commit must not begin before all its writes are there, or it holds the lock while waiting.
    eventTurnBatching: false,
  })
}

/** Refuses a store of a newer format before anything else is written into it. */
function checkFormat(root: RootDatabase<Buffer, Buffer>, meta: Database<Buffer, Buffer>, directory: string): void {
  root.transactionSync(() => {
    const stored = meta.get(FORMAT_KEY)
    if (stored === undefined) meta.putSync(FORMAT_KEY, Buffer.from(JSON.stringify({ version: LOG_FORMAT_VERSION })))
    else if (formatVersion(stored, directory) > LOG_FORMAT_VERSION) throw newer(directory)
  })
}

function formatVersion(stored: Buffer, directory: string): number {
  try {
    const format: unknown = JSON.parse(stored.toString())
    if (typeof format === 'object' && format !== null && 'version' in format && Number.isInteger(format.version))
      return Number(format.version)
  } catch (cause) {
    throw unreadable(directory, cause)
  }
  throw unreadable(directory)
}

function unreadable(directory: string, cause?: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', `the event log in ${directory} does not say its format`, {
    remedy: 'Restore the data folder from a backup, or use another one; nothing was overwritten.',
    cause,
  })
}
