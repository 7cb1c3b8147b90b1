import { InvalidInputError } from '../../kernel/errors.ts'
import type { MetricValue } from '../../contracts/reading.ts'
import { compareNewestFirst, decodeCursor, encodeCursor, type CursorKey } from './cursor.ts'
import type { MetricColumn, TypeTable } from './questdb-catalogue.ts'
import type { Parameter, QuestdbSql, Row } from './questdb-sql.ts'
import type { RangeQuery, StoredReading } from './series-store.ts'

const DOING = 'read a range'
const NEWEST_FIRST = 'ORDER BY ts DESC, received_at DESC, log_offset DESC, log_partition DESC'
const FIXED = 'device, boot, ts::LONG, received_at::LONG, seq, log_offset, log_partition'
const FIXED_COUNT = 7
const US_PER_MS = 1000

/** Condition of a page, the same for every table, with its bound values. */
interface Condition {
  sql: string
  parameters: Parameter[]
}

interface KeyedReading {
  key: CursorKey
  reading: StoredReading
}

/**
 * A page of readings, newest event time first, over the tables of all types; `limit` is already bounded by the caller.
 * First the times alone, backwards until there are enough: that stops early and gives the event time down to which the page reaches.
 * Then the readings from there on, which are few enough to be sorted by all four keys.
 */
export async function queryRange(
  sql: Pick<QuestdbSql, 'rows'>,
  allTables: readonly TypeTable[],
  asked: RangeQuery,
  receivedBefore: number,
): Promise<{ items: StoredReading[]; next: string | null }> {
  const condition = conditionOf(asked, receivedBefore)
  const tables = allTables.filter((table) => asked.metric === undefined || table.metrics.has(asked.metric))
  if (tables.length === 0) return { items: [], next: null }
  // One more than asked for tells whether there is a next page.
  const wanted = asked.limit + 1
  const times = await newestTimes(sql, tables, condition, asked.metric, wanted)
  const last = times.at(-1)
  if (last === undefined) return { items: [], next: null }
  const readings: KeyedReading[] = []
  for (const table of new Set(times.map(({ table: holder }) => holder))) {
    for (const reading of await readTable(sql, table, condition, asked.metric, last.ts, wanted)) readings.push(reading)
  }
  readings.sort((a, b) => compareNewestFirst(a.key, b.key))
  const page = readings.slice(0, asked.limit)
  const end = page.at(-1)
  return {
    items: page.map(({ reading }) => reading),
    next: times.length >= wanted && end !== undefined ? encodeCursor(end.key) : null,
  }
}

/** Event times (µs) of the newest readings of all tables, newest first, each with its table; all that share the last one's instant, too. */
async function newestTimes(
  sql: Pick<QuestdbSql, 'rows'>,
  tables: readonly TypeTable[],
  condition: Condition,
  metric: string | undefined,
  wanted: number,
): Promise<{ table: TypeTable; ts: number }[]> {
  const branches = tables.map(
    (table, number) =>
      `SELECT ${number} n, ts::LONG t FROM (SELECT ts FROM ${table.name} WHERE ${condition.sql}${carries(table, metric)} ORDER BY ts DESC LIMIT ${wanted})`,
  )
  const rows = (await sql.rows(DOING, branches.join(' UNION ALL '), condition.parameters)) as [number, number][]
  const sorted = rows.map(([number, ts]) => ({ table: tables[number] as TypeTable, ts })).sort((a, b) => b.ts - a.ts)
  const edge = sorted[wanted - 1]?.ts
  return edge === undefined ? sorted : sorted.filter(({ ts }) => ts >= edge)
}

async function readTable(
  sql: Pick<QuestdbSql, 'rows'>,
  table: TypeTable,
  condition: Condition,
  metric: string | undefined,
  fromUs: number,
  limit: number,
): Promise<KeyedReading[]> {
  const columns = [...table.metrics.values()].filter((column) => metric === undefined || column.metric === metric)
  const parameters = [...condition.parameters, fromUs]
  const rows = await sql.rows(
    DOING,
    `SELECT ${[FIXED, ...columns.map(({ column }) => column)].join(', ')} FROM ${table.name}
     WHERE ts >= $${parameters.length}::LONG::TIMESTAMP AND ${condition.sql}${carries(table, metric)} ${NEWEST_FIRST} LIMIT ${limit}`,
    parameters,
  )
  return rows.map((row) => toReading(row, table.type, columns))
}

function toReading(row: Row, type: string, columns: readonly MetricColumn[]): KeyedReading {
  const [device, boot, tsUs, receivedUs, seq, offset, partition] = row as [
    string,
    string | null,
    number,
    number,
    number | null,
    number,
    number,
  ]
  const values: [string, MetricValue][] = []
  columns.forEach(({ metric, kind }, index) => {
    const value = row[FIXED_COUNT + index] as number | string | null
    if (value !== null) values.push([metric, kind === 'boolean' ? value !== 0 : value])
  })
  const ts = tsUs / US_PER_MS
  const receivedAt = receivedUs / US_PER_MS
  return {
    key: { ts, receivedAt, offset, partition },
    reading: { device, type, ts, receivedAt, boot, seq, values: Object.fromEntries(values) },
  }
}

function conditionOf(asked: RangeQuery, receivedBefore: number): Condition {
  const parameters: Parameter[] = []
  const bind = (value: Parameter): string => `$${parameters.push(value)}`
  const instant = (ms: number): string => `${bind(microseconds(ms))}::LONG::TIMESTAMP`
  // Of a table that holds readings before 1970 there is none; the first term lets every condition begin with AND.
  const terms = [`ts >= ${instant(asked.fromTs === undefined ? 0 : integer('fromTs', asked.fromTs))}`]
  if (asked.toTs !== undefined) terms.push(`ts < ${instant(integer('toTs', asked.toTs))}`)
  if (typeof asked.device === 'string') terms.push(`device = ${bind(asked.device)}`)
  else if (asked.device !== undefined) terms.push(`device IN (${asked.device.map(bind).join(', ')})`)
  if (receivedBefore > 0) terms.push(`received_at >= ${instant(receivedBefore)}`)
  if (asked.cursor !== undefined) {
    const key = decodeCursor(asked.cursor)
    const [ts, receivedAt, offset, partition] = [instant(key.ts), instant(key.receivedAt), bind(key.offset), bind(key.partition)]
    // The first term alone lets whole partitions be passed over.
    terms.push(`ts <= ${ts}`)
    terms.push(`(ts < ${ts} OR received_at < ${receivedAt} OR (received_at = ${receivedAt} AND
      (log_offset < ${offset}::LONG OR (log_offset = ${offset}::LONG AND log_partition < ${partition}::INT))))`)
  }
  return { sql: terms.join(' AND '), parameters }
}

function carries(table: TypeTable, metric: string | undefined): string {
  const column = metric === undefined ? undefined : table.metrics.get(metric)
  return column === undefined ? '' : ` AND ${column.column} IS NOT NULL`
}

/** Beyond this QuestDB has no instants: 9999-12-31, in ms. */
const LAST_INSTANT_MS = 253_402_300_799_999

/** An instant in ms as QuestDB's microseconds; one outside of what it knows becomes the nearest it does. */
export function microseconds(ms: number): bigint {
  return BigInt(Math.min(LAST_INSTANT_MS, Math.max(0, ms))) * BigInt(US_PER_MS)
}

/** A time or width as an integer; InvalidInputError names the field. */
export function integer(field: string, value: number): number {
  if (Number.isSafeInteger(value)) return value
  throw new InvalidInputError(`${field} must be an integer, not ${String(value)}`, {
    details: { field },
    remedy: 'Give whole milliseconds.',
  })
}
