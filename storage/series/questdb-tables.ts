import { StoreError } from '../../kernel/errors.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { MetricKind } from '../../contracts/device.ts'
import type { AppliedLog } from './questdb-applied.ts'
import type { CatalogueEntry } from './questdb-catalogue-entry.ts'
import type { QuestdbConfig } from './questdb-config.ts'
import { isStale } from './questdb-errors.ts'
import { KIND_TYPES, kindOf } from './questdb-names.ts'
import type { QuestdbSql, Row } from './questdb-sql.ts'

/** Columns that every wide table begins with. Tenant and type are the table's own. `unnumbered`: see questdb-row-encoder.ts. */
const FIXED_COLUMNS = {
  ts: 'TIMESTAMP',
  device: 'SYMBOL',
  boot: 'VARCHAR',
  seq: 'LONG',
  unnumbered: 'LONG',
  received_at: 'TIMESTAMP',
  log_partition: 'INT',
  log_offset: 'LONG',
} as const

/** A reading's identity; the last is in place of a sequence number where there is none. */
const KEYS = ['ts', 'device', 'boot', 'seq', 'unnumbered']

const CATALOGUE_COLUMNS = {
  ts: 'TIMESTAMP',
  table_name: 'VARCHAR',
  column_name: 'VARCHAR',
  tenant: 'VARCHAR',
  type: 'VARCHAR',
  metric_json: 'VARCHAR',
  kind: 'VARCHAR',
}
const CATALOGUE_KEYS = ['ts', 'table_name', 'column_name']

const MARKS_COLUMNS = { ts: 'TIMESTAMP', mark: 'VARCHAR', value: 'LONG' }
const MARKS_KEYS = ['ts', 'mark']

/** The table is restored within milliseconds of being woken, or not at all. */
const MEND_TRIES_MAX = 10
const MEND_PAUSE_MS = 100

/** Rounds of adding columns while other processes add some, too. */
const ADD_ROUNDS_MAX = 5

type Columns = Readonly<Record<string, string>>

/** The tables of one platform in QuestDB: what they look like, and how they are made. */
export class QuestdbTables {
  readonly catalogueName: string
  readonly marksName: string
  readonly #sql: QuestdbSql
  readonly #applied: AppliedLog
  readonly #config: QuestdbConfig
  readonly #clock: Clock
  readonly #address: string

  constructor(options: { sql: QuestdbSql; applied: AppliedLog; config: QuestdbConfig; clock: Clock; address: string }) {
    this.#sql = options.sql
    this.#applied = options.applied
    this.#config = options.config
    this.#clock = options.clock
    this.#address = options.address
    this.catalogueName = `${options.config.tablePrefix}catalogue`
    this.marksName = `${options.config.tablePrefix}marks`
  }

  /** Makes the two tables of our own where they are missing; StoreError when others stand in their place. */
  async prepare(): Promise<void> {
    await this.#create(this.catalogueName, CATALOGUE_COLUMNS, CATALOGUE_KEYS, 'PARTITION BY YEAR')
    await this.#create(this.marksName, MARKS_COLUMNS, MARKS_KEYS, 'PARTITION BY YEAR')
    await this.#demand(this.catalogueName, CATALOGUE_COLUMNS, CATALOGUE_KEYS)
    await this.#demand(this.marksName, MARKS_COLUMNS, MARKS_KEYS)
    await this.#applied.demand(new Set([this.catalogueName, this.marksName]), this.#config.appliedTimeoutMs)
  }

  /** StoreError when a wide table is not as the catalogue says. */
  async check(table: string, metrics: ReadonlyMap<string, { column: string; kind: MetricKind }>): Promise<void> {
    const columns: Record<string, string> = { ...FIXED_COLUMNS }
    for (const { column, kind } of metrics.values()) columns[column] = KIND_TYPES[kind]
    await this.#demand(table, columns, KEYS)
  }

  /** With the columns of what is known of the type so far: QuestDB makes a table more safely than it changes one. */
  async create(table: string, entries: readonly CatalogueEntry[]): Promise<void> {
    const { partitionBy, ttl } = this.#config
    const keeping = ttl === 'none' ? '' : ` TTL ${ttl}`
    const columns: Record<string, string> = { ...FIXED_COLUMNS }
    for (const { column, kind } of entries) columns[column] = KIND_TYPES[kind]
    await this.#create(table, columns, KEYS, `PARTITION BY ${partitionBy}${keeping}`)
    await this.#demand(table, FIXED_COLUMNS, KEYS)
  }

  /** Adds the columns that are missing, waits until they can be read, and says of which kind they really are. */
  async addColumns(table: string, entries: readonly CatalogueEntry[]): Promise<CatalogueEntry[]> {
    if (entries.length === 0) return []
    let columns = await this.#columns(table)
    for (let round = 1; entries.some(({ column }) => !columns.has(column)); round++) {
      const missing = entries.filter(({ column }) => !columns.has(column))
      const failure = await this.#addEach(table, missing)
      await this.#applied.demand(new Set([table]), this.#config.appliedTimeoutMs)
      columns = await this.#columns(table)
      if (round >= ADD_ROUNDS_MAX) throw failure ?? this.#foreign(table, 'its columns vanish as soon as they are added')
    }
    return entries.map((entry) => {
      const { type } = columns.get(entry.column) as { type: string }
      const kind = kindOf(type)
      if (kind === undefined) throw this.#foreign(table, `column ${entry.column} is ${type} instead of ${KIND_TYPES[entry.kind]}`)
      return { ...entry, kind }
    })
  }

  /** Writes entries into the catalogue and waits until every process can read them. */
  async remember(entries: readonly CatalogueEntry[]): Promise<void> {
    for (const { table, column, tenant, type, metric, kind } of entries) {
      await this.#sql.rows('remember a metric', `INSERT INTO ${this.catalogueName} VALUES (0, $1, $2, $3, $4, $5, $6)`, [
        ...[table, column, tenant, type, JSON.stringify(metric), kind],
      ])
    }
    if (entries.length > 0) await this.#applied.demand(new Set([this.catalogueName]), this.#config.appliedTimeoutMs)
  }

  /**
   * QuestDB killed in the middle of ALTER TABLE may have lost the description of the table: it knows its name, and can neither read nor list
   * it until its log is touched, and then restores it. Resolves with whether the table can be read.
   */
  async mend(table: string): Promise<boolean> {
    for (let tries = 1; tries <= MEND_TRIES_MAX; tries++) {
      try {
        await this.#sql.rows('wake a table', `ALTER TABLE ${table} RESUME WAL`)
        await this.#sql.rows('wake a table', `SELECT hydrate_table_metadata('${table}')`)
        return true
      } catch (error) {
        if (!isStale(error)) throw error
        await sleep(this.#clock, MEND_PAUSE_MS)
      }
    }
    return false
  }

  async entries(): Promise<CatalogueEntry[]> {
    const columns = 'table_name, column_name, tenant, type, metric_json, kind'
    // The order in which metrics were first seen is not kept; by name it is the same in every process.
    const rows = await this.#sql.rows('read the catalogue', `SELECT ${columns} FROM ${this.catalogueName} ORDER BY table_name, column_name`)
    return (rows as [string, string, string, string, string, MetricKind][]).map(([table, column, tenant, type, metricJson, kind]) => {
      return { table, column, tenant, type, metric: JSON.parse(metricJson) as string, kind }
    })
  }

  /** Number of entries: it only grows, so the same number means the same entries. */
  async entryCount(): Promise<number> {
    const [row] = await this.#sql.rows('read the catalogue', `SELECT count() FROM ${this.catalogueName}`)
    return Number(row?.[0])
  }

  /** QuestDB fails in several ways where another process adds the same column at the same time: whether it is there afterwards decides. */
  async #addEach(table: string, entries: readonly CatalogueEntry[]): Promise<Error | undefined> {
    let failure: Error | undefined
    for (const { column, kind } of entries) {
      try {
        await this.#sql.rows('add a column', `ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS ${column} ${KIND_TYPES[kind]}`)
      } catch (error) {
        failure = error as Error
      }
    }
    return failure
  }

  async #create(table: string, columns: Columns, keys: readonly string[], partitions: string): Promise<void> {
    const list = Object.entries(columns).map(([name, type]) => `${name} ${type}`)
    const statement = `CREATE TABLE IF NOT EXISTS ${table} (${list.join(', ')}) TIMESTAMP(ts) ${partitions} WAL DEDUP UPSERT KEYS(${keys.join(', ')})`
    await this.#sql.rows('make a table', statement)
    if (!(await this.#isHalfMade(table))) return
    await this.#sql.rows('drop a table that was half made', `DROP TABLE IF EXISTS ${table}`)
    await this.#sql.rows('make a table', statement)
  }

  /** QuestDB killed in the middle of CREATE TABLE keeps a table without a log, to which nothing can be written; it is empty. */
  async #isHalfMade(table: string): Promise<boolean> {
    const isLogged = async (): Promise<boolean> => (await this.#applied.states(new Set([table]))).has(table)
    if (await isLogged()) return false
    const [walEnabled] = (await this.#sql.rows('read a table', 'SELECT walEnabled FROM tables() WHERE table_name = $1', [table]))[0] ?? []
    if (walEnabled !== true) return false
    const [row] = await this.#sql.rows('read a table', `SELECT count() FROM ${table}`)
    return Number(row?.[0]) === 0 && !(await isLogged())
  }

  async #columns(table: string): Promise<Map<string, { type: string; isKey: boolean }>> {
    const read = (): Promise<Row[]> =>
      this.#sql.rows('read the columns of a table', `SELECT "column", type, upsertKey FROM table_columns('${table}')`)
    const rows = await read().catch(async (error: unknown) => {
      if (!isStale(error) || !(await this.mend(table))) throw error
      return await read()
    })
    return new Map((rows as [string, string, boolean][]).map(([name, type, isKey]) => [name, { type, isKey }]))
  }

  async #demand(table: string, wanted: Columns, keys: readonly string[]): Promise<void> {
    const columns = await this.#columns(table)
    for (const [name, type] of Object.entries(wanted)) {
      const found = columns.get(name)
      if (found === undefined) throw this.#foreign(table, `it has no column ${name}`)
      if (found.type !== type) throw this.#foreign(table, `its column ${name} is ${found.type} instead of ${type}`)
      if (found.isKey !== keys.includes(name)) throw this.#foreign(table, `its key for DEDUP is not (${keys.join(', ')})`)
    }
    const [row] = await this.#sql.rows('read a table', 'SELECT walEnabled, designatedTimestamp FROM tables() WHERE table_name = $1', [
      table,
    ])
    if (row?.[0] !== true || row[1] !== 'ts') throw this.#foreign(table, 'it has no write-ahead log, or another time column than ts')
  }

  #foreign(table: string, why: string): StoreError {
    return new StoreError('STORE_UNUSABLE', `table ${table} of QuestDB at ${this.#address} is not ours: ${why}`, {
      remedy: 'Give this platform another questdb.tablePrefix, or rename or drop the table. Nothing was changed.',
      details: { table },
    })
  }
}
