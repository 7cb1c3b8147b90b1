import type { MetricValue } from '../../contracts/reading.ts'
import type { Catalogue, TypeTable } from './duckdb-catalogue.ts'
import type { Query, Row } from './duckdb-readers.ts'
import { inTransaction } from './duckdb-transaction.ts'
import type { ScannedReading, ScanPlace } from './series-store.ts'

const FIXED =
  't.tenant, t.device, t.boot, t.ts::DOUBLE, t.received_at::DOUBLE, t.seq::DOUBLE, t.log_partition::DOUBLE, t.log_offset::DOUBLE'
const FIXED_COUNT = 8
const FIRST: ScanPlace = { partition: 0, offset: 0 }

type FixedRow = [string, string, string | null, number, number, number | null, number, number]

/**
 * Rows in the order of their places, a window of offsets at a time: rows lie in that order in the file, so both ends of a window let DuckDB
 * pass over everything else, and no table is sorted.
 */
export async function scanReadings(
  query: Query,
  catalogue: Catalogue,
  from: ScanPlace | null,
  rowsMax: number,
): Promise<{ rows: ScannedReading[]; next: ScanPlace | null }> {
  const tables = catalogue.tables()
  if (tables.length === 0) return { rows: [], next: null }
  const read = async (): Promise<{ rows: ScannedReading[]; next: ScanPlace | null }> => {
    for (let begin = from ?? (await firstPlace(query, tables, FIRST)); begin !== null; begin = await firstPlace(query, tables, begin)) {
      const end = begin.offset + rowsMax
      const rows: ScannedReading[] = []
      for (const table of tables) for (const row of await windowOf(query, table, begin, end)) rows.push(row)
      rows.sort((a, b) => a.offset - b.offset)
      if (rows.length > 0) return { rows, next: { partition: begin.partition, offset: end } }
    }
    return { rows: [], next: null }
  }
  // Several statements must see the same rows.
  return await inTransaction(query.sql, read)
}

/** Looks at every row that is left: only asked where a window was empty. */
async function firstPlace(query: Query, tables: readonly TypeTable[], from: ScanPlace): Promise<ScanPlace | null> {
  const branches = tables.map(
    ({ quoted }) =>
      `SELECT log_partition p, min(log_offset) o FROM ${quoted} WHERE log_partition > $1 OR (log_partition = $1 AND log_offset >= $2) GROUP BY p`,
  )
  const found = await query.rows(`SELECT p::DOUBLE, min(o)::DOUBLE FROM (${branches.join(' UNION ALL ')}) GROUP BY p ORDER BY p LIMIT 1`, [
    from.partition,
    from.offset,
  ])
  const [partition, offset] = (found[0] ?? []) as unknown as [number, number] | []
  return partition === undefined || offset === undefined ? null : { partition, offset }
}

async function windowOf(query: Query, table: TypeTable, begin: ScanPlace, end: number): Promise<ScannedReading[]> {
  const columns = [...table.metrics.values()]
  const rows = await query.rows(
    `SELECT ${[FIXED, ...columns.map(({ column }) => `t.${column}`)].join(', ')} FROM ${table.quoted} t
     WHERE t.log_partition = $1 AND t.log_offset >= $2 AND t.log_offset < $3`,
    [begin.partition, begin.offset, end],
  )
  return rows.map((row) => {
    const [tenant, device, boot, ts, receivedAt, seq, partition, offset] = row as unknown as FixedRow
    const place = { partition, offset }
    const numbered = { ...(boot === null ? {} : { boot }), ...(seq === null ? {} : { seq }) }
    return { tenant, device, type: table.type, receivedAt, ts, ...numbered, values: valuesOf(row, columns), ...place }
  })
}

function valuesOf(row: Row, columns: readonly { metric: string }[]): Record<string, MetricValue> {
  const values: [string, MetricValue][] = []
  columns.forEach(({ metric }, index) => {
    const value = row[FIXED_COUNT + index] as MetricValue | null
    if (value !== null) values.push([metric, value])
  })
  return Object.fromEntries(values)
}
