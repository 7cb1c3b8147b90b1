import type { DuckDBConnection } from '@duckdb/node-api'
import { LimitError } from '../../kernel/errors.ts'
import type { MetricKind } from '../../contracts/device.ts'
import { inTransaction } from './duckdb-transaction.ts'

/** A metric of a device type and the column that holds it. */
export interface MetricColumn {
  readonly metric: string
  /** Quoted identifier. */
  readonly column: string
  readonly kind: MetricKind
}

/** One table per tenant and type: two tenants may give one name to different things. A tenant's name holds no slash. */
export function tableKey(tenant: string, type: string): string {
  return `${tenant}/${type}`
}

/** The wide table of a device type. `metrics` is in the order of the table's columns, after the fixed ones. */
export interface TypeTable {
  /** See `tableKey`. */
  readonly key: string
  /** The device type alone. */
  readonly type: string
  /** Name as the engine knows it, and the same quoted for use in SQL. */
  readonly name: string
  readonly quoted: string
  readonly metrics: ReadonlyMap<string, MetricColumn>
}

/** Columns that every wide table begins with, in this order. */
const FIXED_COLUMNS = `tenant VARCHAR NOT NULL, device VARCHAR NOT NULL, ts BIGINT NOT NULL, received_at BIGINT NOT NULL,
  boot VARCHAR, seq BIGINT, log_partition INTEGER NOT NULL, log_offset BIGINT NOT NULL`

const COLUMN_TYPES: Readonly<Record<MetricKind, string>> = { number: 'DOUBLE', boolean: 'BOOLEAN', string: 'VARCHAR' }
const SLUG_LENGTH_MAX = 40

/**
 * Which types and metrics are stored where; kept in the database, mirrored here.
 * Identifiers are made of a readable part and a number of our own, because DuckDB takes `Temp` and `temp` for one identifier
 * and a metric may have any name. Only identifiers made here ever become part of a statement.
 */
export class Catalogue {
  readonly #tables = new Map<string, TypeTable>()
  readonly #columnsMax: number

  constructor(columnsMax: number) {
    this.#columnsMax = columnsMax
  }

  tables(): TypeTable[] {
    return [...this.#tables.values()]
  }
  table(key: string): TypeTable | undefined {
    return this.#tables.get(key)
  }

  async load(sql: DuckDBConnection): Promise<void> {
    this.#tables.clear()
    const types = await (await sql.run('SELECT type, table_name FROM series_types ORDER BY number')).getRows()
    const columns = await (await sql.run('SELECT type, metric_json, column_name, kind FROM series_metrics ORDER BY type, number')).getRows()
    for (const row of types) {
      const [key, name] = row as [string, string]
      const metrics = new Map<string, MetricColumn>()
      for (const [owner, metricJson, column, kind] of columns as [string, string, string, MetricKind][]) {
        if (owner !== key) continue
        const metric = JSON.parse(metricJson) as string
        metrics.set(metric, { metric, column: quote(column), kind })
      }
      this.#tables.set(key, { key, type: typeOf(key), name, quoted: quote(name), metrics })
    }
  }

  /**
   * Adds the type's table and the metrics' columns where they are missing, in one transaction of `sql`.
   * LimitError, naming the metric, beyond `columnsMax`.
   */
  async extend(sql: DuckDBConnection, key: string, wanted: ReadonlyMap<string, MetricKind>): Promise<void> {
    const known = this.#tables.get(key)
    const metrics = new Map(known?.metrics)
    const added: [number, string, MetricColumn][] = []
    for (const [metric, kind] of wanted) {
      if (metrics.has(metric)) continue
      if (metrics.size >= this.#columnsMax) throw this.#tooManyColumns(typeOf(key), metric)
      const number = metrics.size + 1
      const name = `m_${slug(metric)}_${number}`
      metrics.set(metric, { metric, column: quote(name), kind })
      added.push([number, name, metrics.get(metric) as MetricColumn])
    }
    const number = this.#tables.size + 1
    const name = known?.name ?? `readings_${slug(typeOf(key))}_${number}`
    const quoted = quote(name)
    await inTransaction(sql, async () => {
      if (known === undefined) {
        await sql.run(`CREATE TABLE ${quoted} (${FIXED_COLUMNS})`)
        await sql.run('INSERT INTO series_types VALUES ($1, $2, $3)', [number, key, name])
      }
      for (const [columnNumber, columnName, { metric, column, kind }] of added) {
        await sql.run(`ALTER TABLE ${quoted} ADD COLUMN ${column} ${COLUMN_TYPES[kind]}`)
        const values = [key, columnNumber, JSON.stringify(metric), columnName, kind]
        await sql.run('INSERT INTO series_metrics VALUES ($1, $2, $3, $4, $5)', values)
      }
    })
    this.#tables.set(key, { key, type: typeOf(key), name, quoted, metrics })
  }

  #tooManyColumns(type: string, metric: string): LimitError {
    return new LimitError(
      `device type ${type} has ${this.#columnsMax} metric columns (series.columnsMax): no room for metric ${JSON.stringify(metric)}`,
      {
        retryable: false,
        remedy: 'Raise series.columnsMax and restart, or give these devices a type of their own. The reading waits in the event log.',
        details: { type, metric, columnsMax: this.#columnsMax },
      },
    )
  }
}

/** The part of an identifier for human eyes: at most 40 letters, digits and underscores. */
function slug(text: string): string {
  return text.replace(/[^A-Za-z0-9]+/g, '_').slice(0, SLUG_LENGTH_MAX)
}

function quote(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

function typeOf(key: string): string {
  return key.slice(key.indexOf('/') + 1)
}
