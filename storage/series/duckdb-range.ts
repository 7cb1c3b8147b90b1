import { InvalidInputError } from '../../kernel/errors.ts'
import type { MetricValue } from '../../contracts/reading.ts'
import { compareNewestFirst, decodeCursor, encodeCursor, type CursorKey } from './cursor.ts'
import type { Catalogue, MetricColumn, TypeTable } from './duckdb-catalogue.ts'
import type { Parameter, Query, Row } from './duckdb-readers.ts'
import { inTransaction } from './duckdb-transaction.ts'
import type { RangeQuery, StoredReading } from './series-store.ts'

const NEWEST_FIRST = 'ORDER BY t.ts DESC, t.received_at DESC, t.log_offset DESC, t.log_partition DESC'

/** Condition of a page, the same for every table, with its bound values. */
interface Condition {
  sql: string
  parameters: Parameter[]
}

interface KeyedReading {
  key: CursorKey
  reading: StoredReading
}

/** A page of readings, newest event time first, over the tables of all types; `limit` is already bounded by the caller. */
export async function queryRange(
  query: Query,
  catalogue: Catalogue,
  asked: RangeQuery,
): Promise<{ items: StoredReading[]; next: string | null }> {
  const condition = conditionOf(asked)
  const tables = catalogue.tables().filter((table) => asked.metric === undefined || table.metrics.has(asked.metric))
  // One more than asked for tells whether there is a next page.
  const wanted = asked.limit + 1
  const read = async (): Promise<KeyedReading[]> => {
    const readings: KeyedReading[] = []
    for (const [table, rows] of await shareOut(query, tables, condition, asked.metric, wanted)) {
      for (const reading of await readTable(query, table, condition, asked.metric, rows)) readings.push(reading)
    }
    return readings
  }
  // Several statements must see the same rows.
  const found = tables.length > 1 ? await inTransaction(query.sql, read) : await read()
  found.sort((a, b) => compareNewestFirst(a.key, b.key))
  const page = found.slice(0, asked.limit)
  const last = page.at(-1)
  return {
    items: page.map(({ reading }) => reading),
    next: found.length > asked.limit && last !== undefined ? encodeCursor(last.key) : null,
  }
}

/** How many rows of the page each table has: found by keys alone, because the tables' other columns differ. */
async function shareOut(
  query: Query,
  tables: readonly TypeTable[],
  condition: Condition,
  metric: string | undefined,
  wanted: number,
): Promise<[TypeTable, number][]> {
  if (tables.length <= 1) return tables.map((table) => [table, wanted])
  const branches = tables.map(
    (table, number) =>
      `SELECT ${number} AS number, t.ts, t.received_at, t.log_offset, t.log_partition FROM ${table.quoted} t WHERE ${condition.sql}${carries(table, metric)}`,
  )
  const rows = await query.rows(
    `SELECT number, count(*)::INTEGER FROM (SELECT number FROM (${branches.join(' UNION ALL ')}) t ${NEWEST_FIRST} LIMIT ${wanted}) GROUP BY number`,
    condition.parameters,
  )
  return rows.map(([number, count]) => [tables[Number(number)] as TypeTable, Number(count)])
}

async function readTable(
  query: Query,
  table: TypeTable,
  condition: Condition,
  metric: string | undefined,
  limit: number,
): Promise<KeyedReading[]> {
  const columns = [...table.metrics.values()].filter((column) => metric === undefined || column.metric === metric)
  const rows = await query.rows(
    `SELECT t.device, t.boot, t.ts::DOUBLE, t.received_at::DOUBLE, t.seq::DOUBLE, t.log_offset::DOUBLE, t.log_partition::DOUBLE
       ${columns.map(({ column }) => `, t.${column}`).join('')}
       FROM ${table.quoted} t WHERE ${condition.sql}${carries(table, metric)} ${NEWEST_FIRST} LIMIT ${limit}`,
    condition.parameters,
  )
  return rows.map((row) => toReading(row, table.type, columns))
}

function toReading(row: Row, type: string, columns: readonly MetricColumn[]): KeyedReading {
  const [device, boot, ts, receivedAt, seq, offset, partition] = row as [
    string,
    string | null,
    number,
    number,
    number | null,
    number,
    number,
  ]
  const fixed = row.length - columns.length
  const values: [string, MetricValue][] = []
  columns.forEach(({ metric }, index) => {
    const value = row[fixed + index] as MetricValue | null
    if (value !== null) values.push([metric, value])
  })
  return {
    key: { ts, receivedAt, offset, partition },
    reading: { device, type, ts, receivedAt, boot, seq, values: Object.fromEntries(values) },
  }
}

function conditionOf(asked: RangeQuery): Condition {
  const terms: string[] = []
  const parameters: Parameter[] = []
  const bind = (value: Parameter): string => `$${parameters.push(value)}`
  terms.push(`t.tenant = ${bind(asked.tenant)}`)
  if (typeof asked.device === 'string') terms.push(`t.device = ${bind(asked.device)}`)
  else if (asked.device !== undefined) terms.push(`t.device IN (${asked.device.map(bind).join(', ')})`)
  if (asked.fromTs !== undefined) terms.push(`t.ts >= ${bind(integer('fromTs', asked.fromTs))}`)
  if (asked.toTs !== undefined) terms.push(`t.ts < ${bind(integer('toTs', asked.toTs))}`)
  if (asked.cursor !== undefined) {
    const key = decodeCursor(asked.cursor)
    const [ts, receivedAt, offset, partition] = [bind(key.ts), bind(key.receivedAt), bind(key.offset), bind(key.partition)]
    // The first term alone lets whole blocks be passed over.
    terms.push(`t.ts <= ${ts}`)
    terms.push(`(t.ts < ${ts} OR t.received_at < ${receivedAt} OR (t.received_at = ${receivedAt} AND
      (t.log_offset < ${offset} OR (t.log_offset = ${offset} AND t.log_partition < ${partition}))))`)
  }
  return { sql: terms.join(' AND '), parameters }
}

function carries(table: TypeTable, metric: string | undefined): string {
  const column = metric === undefined ? undefined : table.metrics.get(metric)
  return column === undefined ? '' : ` AND t.${column.column} IS NOT NULL`
}

/** A time or width as an integer; InvalidInputError names the field. */
export function integer(field: string, value: number): number {
  if (Number.isSafeInteger(value)) return value
  throw new InvalidInputError(`${field} must be an integer, not ${String(value)}`, {
    details: { field },
    remedy: 'Give whole milliseconds.',
  })
}
