import { InvalidInputError } from '../../kernel/errors.ts'
import type { Catalogue } from './duckdb-catalogue.ts'
import { integer } from './duckdb-range.ts'
import type { Query } from './duckdb-readers.ts'
import type { Bucket, DownsampleQuery } from './series-store.ts'

/** Number of readings of a tenant, or of one device of it, over all types. */
export async function queryCount(query: Query, catalogue: Catalogue, tenant: string, device: string | undefined): Promise<number> {
  const where = `tenant = $1${device === undefined ? '' : ' AND device = $2'}`
  const counts = catalogue.tables().map((table) => `SELECT count(*) AS n FROM ${table.quoted} WHERE ${where}`)
  if (counts.length === 0) return 0
  const rows = await query.rows(
    `SELECT sum(n)::DOUBLE FROM (${counts.join(' UNION ALL ')})`,
    device === undefined ? [tenant] : [tenant, device],
  )
  return Number(rows[0]?.[0])
}

/**
 * Non-empty buckets, oldest first; they begin at multiples of `intervalMs` since the epoch.
 * InvalidInputError for a metric that holds no numbers, and beyond `bucketsMax` buckets.
 */
export async function queryBuckets(query: Query, catalogue: Catalogue, asked: DownsampleQuery, bucketsMax: number): Promise<Bucket[]> {
  if (integer('intervalMs', asked.intervalMs) < 1) {
    throw new InvalidInputError('intervalMs must be at least 1', {
      details: { field: 'intervalMs' },
      remedy: 'Give a width in whole milliseconds.',
    })
  }
  const parameters = [asked.tenant, asked.device, integer('fromTs', asked.fromTs), integer('toTs', asked.toTs), asked.intervalMs]
  const sources = numericSources(catalogue, asked.metric)
  if (sources.length === 0) return []
  const rows = await query.rows(
    `SELECT bucket::DOUBLE, count(*)::DOUBLE, min(value), max(value), avg(value), arg_min(value, place), arg_max(value, place) FROM (
       SELECT ts - ((ts % $5) + $5) % $5 AS bucket, value, row(ts, received_at, log_offset) AS place
       FROM (${sources.join(' UNION ALL ')}))
     GROUP BY bucket ORDER BY bucket LIMIT ${bucketsMax + 1}`,
    parameters,
  )
  if (rows.length > bucketsMax) {
    throw new InvalidInputError(`more than ${bucketsMax} buckets (series.bucketsMax)`, {
      details: { field: 'intervalMs', bucketsMax },
      remedy: 'Ask for wider buckets or a shorter time.',
    })
  }
  return (rows as unknown as [number, number, number, number, number, number, number][]).map(([ts, count, min, max, mean, first, last]) => {
    return { ts, count, min, max, mean, first, last }
  })
}

/** One SELECT for each type that holds the metric as a number: a device's type may have changed over time. */
function numericSources(catalogue: Catalogue, metric: string): string[] {
  const sources: string[] = []
  let otherKind: string | undefined
  for (const table of catalogue.tables()) {
    const column = table.metrics.get(metric)
    if (column === undefined) continue
    if (column.kind !== 'number') otherKind = column.kind
    else {
      sources.push(
        `SELECT ts, received_at, log_offset, ${column.column} AS value FROM ${table.quoted}
         WHERE tenant = $1 AND device = $2 AND ts >= $3 AND ts < $4 AND ${column.column} IS NOT NULL`,
      )
    }
  }
  if (sources.length === 0 && otherKind !== undefined) {
    throw new InvalidInputError(`metric ${JSON.stringify(metric)} holds values of kind ${otherKind}: only numbers can be downsampled`, {
      details: { field: 'metric', metric, kind: otherKind },
      remedy: 'Ask for a metric of kind number, or read its values with range.',
    })
  }
  return sources
}
