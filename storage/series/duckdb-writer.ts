import type { DuckDBPreparedStatement } from '@duckdb/node-api'
import { InternalError } from '../../kernel/errors.ts'
import type { MetricKind } from '../../contracts/device.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { TableAppenders } from './duckdb-appenders.ts'
import { tableKey, type Catalogue } from './duckdb-catalogue.ts'
import type { FileConnection } from './duckdb-file.ts'
import { rollback } from './duckdb-transaction.ts'
import type { Erasures } from './erasures.ts'

interface Statements {
  readonly begin: DuckDBPreparedStatement
  readonly commit: DuckDBPreparedStatement
  readonly savePositions: DuckDBPreparedStatement
}

export interface WriterOptions {
  openColumnsMax: number
  erasures: Erasures
}

/**
 * The one writer: rows and log positions in one transaction. Not re-entrant; the store lets one call in at a time.
 * All positions live in one row as JSON, because updating one row by one statement costs the same for one partition as for sixty-four.
 */
export class SeriesWriter {
  readonly #connection: FileConnection
  readonly #catalogue: Catalogue
  readonly #appenders: TableAppenders
  readonly #positions: Map<number, number>
  readonly #statements: Statements
  readonly #erasures: Erasures

  private constructor(
    connection: FileConnection,
    catalogue: Catalogue,
    { openColumnsMax, erasures }: WriterOptions,
    positions: Map<number, number>,
    statements: Statements,
  ) {
    this.#erasures = erasures
    this.#connection = connection
    this.#catalogue = catalogue
    this.#appenders = new TableAppenders(connection.raw, openColumnsMax)
    this.#positions = positions
    this.#statements = statements
  }

  static async open(connection: FileConnection, catalogue: Catalogue, options: WriterOptions): Promise<SeriesWriter> {
    const { sql } = connection
    const rows = await (await sql.run('SELECT next_offsets_json FROM series_positions')).getRows()
    const saved = JSON.parse(String(rows[0]?.[0])) as Record<string, number>
    const positions = new Map(Object.entries(saved).map(([partition, next]) => [Number(partition), next]))
    const statements: Statements = {
      begin: await sql.prepare('BEGIN'),
      commit: await sql.prepare('COMMIT'),
      savePositions: await sql.prepare('UPDATE series_positions SET next_offsets_json = $1'),
    }
    return new SeriesWriter(connection, catalogue, options, positions, statements)
  }

  /** Next offset to be stored per partition, as last committed. */
  get positions(): ReadonlyMap<number, number> {
    return this.#positions
  }

  /** Returns how many rows were stored; the others are before the remembered position of their partition, or erased. */
  async write(rows: readonly LoggedReading[], nextOffsets: ReadonlyMap<number, number>): Promise<number> {
    const fresh = this.#erasures.without(this.#fresh(rows, nextOffsets))
    const positions = this.#advanced(nextOffsets)
    if (positions === null) return 0
    const byType = groupByType(fresh)
    if (!(await this.#attempt(byType, positions))) {
      for (const [type, readings] of byType) await this.#addColumns(type, readings)
      if (!(await this.#attempt(byType, positions))) throw new InternalError('a metric has no column although all were just added')
    }
    for (const [partition, next] of positions) this.#positions.set(partition, next)
    return fresh.length
  }

  /** Frees appenders and statements; nothing is pending between writes. */
  close(): void {
    this.#appenders.discard()
    for (const statement of Object.values(this.#statements) as DuckDBPreparedStatement[]) statement.destroySync()
  }

  /** One transaction; false when a metric has no column yet, and then nothing is left of it. */
  async #attempt(byType: ReadonlyMap<string, readonly LoggedReading[]>, positions: ReadonlyMap<number, number>): Promise<boolean> {
    const { begin, commit, savePositions } = this.#statements
    await begin.run()
    try {
      if (this.#append(byType)) {
        savePositions.bindVarchar(1, JSON.stringify(Object.fromEntries(positions)))
        await savePositions.run()
        await commit.run()
        return true
      }
    } catch (error) {
      await this.#abandon()
      throw error
    }
    await this.#abandon()
    return false
  }

  #append(byType: ReadonlyMap<string, readonly LoggedReading[]>): boolean {
    for (const [type, readings] of byType) {
      const table = this.#catalogue.table(type)
      if (table === undefined || !this.#appenders.of(table).append(readings)) return false
    }
    this.#appenders.flush()
    return true
  }

  async #abandon(): Promise<void> {
    this.#appenders.discard()
    await rollback(this.#connection.sql)
  }

  async #addColumns(type: string, readings: readonly LoggedReading[]): Promise<void> {
    const known = this.#catalogue.table(type)
    const missing = new Map<string, MetricKind>()
    for (const { values } of readings) {
      for (const [metric, value] of Object.entries(values)) {
        if (!known?.metrics.has(metric) && !missing.has(metric)) missing.set(metric, typeof value as MetricKind)
      }
    }
    if (known === undefined || missing.size > 0) await this.#catalogue.extend(this.#connection.sql, type, missing)
  }

  /** The rows at or after the remembered position; the very same array when that is all of them, as it nearly always is. */
  #fresh(rows: readonly LoggedReading[], nextOffsets: ReadonlyMap<number, number>): readonly LoggedReading[] {
    let stale = 0
    let partition = -1
    let position = 0
    let next = 0
    for (const row of rows) {
      if (row.partition !== partition) {
        partition = row.partition
        position = this.#positions.get(partition) ?? 0
        next = nextOffsets.get(partition) ?? 0
      }
      if (row.offset < position) stale++
      else if (row.offset >= next) {
        throw new InternalError(
          `row at offset ${row.offset} of partition ${partition} is not covered by its next offset ${next}: a replay would store it twice`,
        )
      }
    }
    return stale === 0 ? rows : rows.filter((row) => row.offset >= (this.#positions.get(row.partition) ?? 0))
  }

  /** Positions after this write, or null when it moves none; a position never goes back. */
  #advanced(nextOffsets: ReadonlyMap<number, number>): Map<number, number> | null {
    const positions = new Map(this.#positions)
    let moved = false
    for (const [partition, next] of nextOffsets) {
      if (next <= (positions.get(partition) ?? 0)) continue
      positions.set(partition, next)
      moved = true
    }
    return moved ? positions : null
  }
}

function groupByType(rows: readonly LoggedReading[]): Map<string, readonly LoggedReading[]> {
  const groups = new Map<string, LoggedReading[]>()
  let type: string | undefined
  let tenant: string | undefined
  let group: LoggedReading[] = []
  for (const row of rows) {
    if (row.type !== type || row.tenant !== tenant) {
      type = row.type
      tenant = row.tenant
      const key = tableKey(tenant, type)
      group = groups.get(key) ?? []
      if (group.length === 0) groups.set(key, group)
    }
    group.push(row)
  }
  return groups
}
