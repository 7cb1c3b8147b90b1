import duckdb, { type Config, type Connection, type Database } from '@duckdb/node-bindings'
import { DuckDBConnection } from '@duckdb/node-api'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { StoreError } from '../../kernel/errors.ts'
import type { SeriesConfig } from './config.ts'
import { lockedError, toStoreError } from './duckdb-errors.ts'

/** Version of what the file holds: its tables and their meaning. A change comes with a migration from each earlier one. */
export const FORMAT_VERSION = 1
const FILE_NAME = 'series.duckdb'

/** The oldest DuckDB that can read our files; its newer layout compresses better and makes smaller log entries. */
const STORAGE_VERSION = 'v1.5.0'

const CREATE_TABLES = `
  CREATE TABLE series_format (version INTEGER NOT NULL);
  CREATE TABLE series_types (number INTEGER NOT NULL, type VARCHAR NOT NULL, table_name VARCHAR NOT NULL);
  CREATE TABLE series_metrics (type VARCHAR NOT NULL, number INTEGER NOT NULL, metric_json VARCHAR NOT NULL,
                               column_name VARCHAR NOT NULL, kind VARCHAR NOT NULL);
  CREATE TABLE series_positions (next_offsets_json VARCHAR NOT NULL);
  INSERT INTO series_format VALUES (${FORMAT_VERSION});
  INSERT INTO series_positions VALUES ('{}');`

/** A connection, both as node-api sees it and as the bindings do (the appender wants the latter). */
export interface FileConnection {
  readonly sql: DuckDBConnection
  readonly raw: Connection
}

/** Files open in this process: DuckDB's lock holds only between processes, and closing a second handle would drop it. */
const openPaths = new Set<string>()

/** The database file, open for writing by this process alone. */
export class DuckdbFile {
  readonly path: string
  readonly #config: SeriesConfig
  readonly #database: Database
  readonly #connections: FileConnection[] = []

  private constructor(path: string, config: SeriesConfig, database: Database) {
    this.path = path
    this.#config = config
    this.#database = database
  }

  /**
   * Opens `<directory>/series.duckdb`, creating it (and the folder) when there is none.
   * STORE_NEWER, STORE_CORRUPT, STORE_LOCKED, STORE_UNWRITABLE, STORE_FULL; nothing that exists is overwritten.
   */
  static async open(directory: string, config: SeriesConfig): Promise<DuckdbFile> {
    const path = resolve(join(directory, FILE_NAME))
    if (openPaths.has(path)) throw lockedError(path, new Error(`already open in this process (PID ${process.pid})`))
    openPaths.add(path)
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      if (!existsSync(path)) await createFile(path, config)
      const file = new DuckdbFile(path, config, await duckdb.open(path, engineConfig(config)))
      try {
        await file.#checkFormat()
      } catch (error) {
        file.#closeHandles()
        throw error
      }
      return file
    } catch (error) {
      openPaths.delete(path)
      throw toStoreError(error, 'open', path)
    }
  }

  async connect(): Promise<FileConnection> {
    const raw = await duckdb.connect(this.#database)
    const connection: FileConnection = { raw, sql: new DuckDBConnection(raw) }
    this.#connections.push(connection)
    await connection.sql.run(`SET late_materialization_max_rows = ${this.#config.rangeLimitMax}`)
    return connection
  }

  /** Frees everything and lets go of the lock. No statement may be running. Committed rows not yet folded in stay in the write-ahead log. */
  close(): void {
    this.#closeHandles()
    openPaths.delete(this.path)
  }

  #closeHandles(): void {
    for (const connection of this.#connections.splice(0)) connection.sql.disconnectSync()
    duckdb.close_sync(this.#database)
  }

  async #checkFormat(): Promise<void> {
    const { sql } = await this.connect()
    const known = await (await sql.run(`SELECT 1 FROM duckdb_tables() WHERE table_name = 'series_format'`)).getRows()
    if (known.length === 0) {
      throw new StoreError('STORE_UNUSABLE', `${this.path} is a DuckDB file that Fleetpulse did not make`, {
        remedy: 'Move it away, or set another data folder (FLEETPULSE_DATA); nothing was changed.',
        details: { path: this.path },
      })
    }
    const rows = await (await sql.run('SELECT max(version)::INTEGER FROM series_format')).getRows()
    const version = Number(rows[0]?.[0])
    if (version > FORMAT_VERSION) {
      throw new StoreError(
        'STORE_NEWER',
        `the series store has format ${version}, this Fleetpulse knows up to ${FORMAT_VERSION} (${this.path})`,
        {
          remedy: 'Start the Fleetpulse version that wrote this data folder, or a newer one; nothing was changed.',
          details: { path: this.path, version, knownVersion: FORMAT_VERSION },
        },
      )
    }
  }
}

/** Makes a whole file under another name first: a crash in between leaves nothing that looks like a store. */
async function createFile(path: string, config: SeriesConfig): Promise<void> {
  const draft = `${path}.new`
  await rm(draft, { force: true })
  await rm(`${draft}.wal`, { force: true })
  const database = await duckdb.open(draft, engineConfig(config))
  try {
    const connection = new DuckDBConnection(await duckdb.connect(database))
    try {
      await connection.run(CREATE_TABLES)
      await connection.run('CHECKPOINT')
    } finally {
      connection.disconnectSync()
    }
  } finally {
    duckdb.close_sync(database)
  }
  await rename(draft, path)
}

function engineConfig(config: SeriesConfig): Config {
  const settings: Record<string, string> = {
    threads: String(config.threads),
    memory_limit: `${config.memoryLimitMb}MiB`,
    checkpoint_threshold: `${config.checkpointThresholdMb}MiB`,
    max_temp_directory_size: `${config.spillMaxMb}MiB`,
    storage_compatibility_version: STORAGE_VERSION,
    // A store reads and writes its own file: no extension is fetched, no other file or host is reached by any statement.
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    enable_external_access: 'false',
  }
  const engine = duckdb.create_config()
  for (const [name, value] of Object.entries(settings)) duckdb.set_config(engine, name, value)
  return engine
}
