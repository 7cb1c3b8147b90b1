import { InvalidInputError } from '../../kernel/errors.ts'
import type { TypeTable } from './questdb-catalogue.ts'
import { integer, microseconds } from './questdb-range.ts'
import type { Rollups } from './questdb-rollups.ts'
import type { Parameter, QuestdbSql } from './questdb-sql.ts'
import type { Bucket, DownsampleQuery } from './series-store.ts'

const DOING = 'downsample'
const US_PER_MS = 1000

/** A bucket, or what one source knows of it; times in µs. */
interface PartialBucket {
  ts: number
  count: number
  min: number
  max: number
  sum: number
  first: number
  last: number
  firstAt: number
  lastAt: number
}

/** Part of the time asked for, half open, ms. */
interface Span {
  fromTs: number
  toTs: number
}

/** Number of readings of a tenant, or of one device of it, over all types. */
export async function queryCount(
  sql: QuestdbSql,
  tables: readonly TypeTable[],
  receivedBefore: number,
  device: string | undefined,
): Promise<number> {
  if (tables.length === 0) return 0
  const parameters: Parameter[] = []
  const terms: string[] = []
  if (receivedBefore > 0) terms.push(`received_at >= $${parameters.push(microseconds(receivedBefore))}::LONG::TIMESTAMP`)
  if (device !== undefined) terms.push(`device = $${parameters.push(device)}`)
  const where = terms.length === 0 ? '' : ` WHERE ${terms.join(' AND ')}`
  const counts = tables.map(({ name }) => `SELECT count() n FROM ${name}${where}`)
  const rows = await sql.rows('count readings', `SELECT sum(n) FROM (${counts.join(' UNION ALL ')})`, parameters)
  return Number(rows[0]?.[0])
}

/**
 * Non-empty buckets, oldest first; they begin at multiples of `intervalMs` since the epoch. Of readings of one instant the one stored
 * first is the first. InvalidInputError for a metric that holds no numbers, and beyond `bucketsMax` buckets.
 */
export async function queryBuckets(
  sql: QuestdbSql,
  tables: readonly TypeTable[],
  asked: DownsampleQuery,
  options: { bucketsMax: number; receivedBefore: number; rollups: Rollups },
): Promise<Bucket[]> {
  if (integer('intervalMs', asked.intervalMs) < 1) {
    throw new InvalidInputError('intervalMs must be at least 1', {
      details: { field: 'intervalMs' },
      remedy: 'Give a width in whole milliseconds.',
    })
  }
  const span = { fromTs: Math.max(0, integer('fromTs', asked.fromTs)), toTs: integer('toTs', asked.toTs) }
  const buckets = new Map<number, PartialBucket>()
  for (const { table, column } of numericColumns(tables, asked.metric)) {
    const rollup = await options.rollups.covering(table, column, { ...asked, ...span, receivedBefore: options.receivedBefore })
    let rest = [span]
    if (rollup !== null) {
      const rows = await rollupRows(sql, { view: rollup.view, span: rollup, asked, ...options })
      if (await options.rollups.wasSteady(rollup)) {
        merge(buckets, rows, options.bucketsMax)
        rest = outside(span, rollup)
      }
    }
    for (const part of rest) {
      merge(buckets, await readingRows(sql, { table: table.name, column, span: part, asked, ...options }), options.bucketsMax)
    }
  }
  if (buckets.size > options.bucketsMax) throw tooManyBuckets(options.bucketsMax)
  return [...buckets.values()]
    .sort((a, b) => a.ts - b.ts)
    .map(({ ts, count, min, max, sum, first, last }) => ({ ts: ts / US_PER_MS, count, min, max, mean: sum / count, first, last }))
}

type Numbers = [number, number, number, number, number, number, number, number, number]

async function readingRows(
  sql: QuestdbSql,
  source: { table: string; column: string; span: Span; asked: DownsampleQuery; bucketsMax: number; receivedBefore: number },
): Promise<Numbers[]> {
  const { table, column, span, asked, bucketsMax, receivedBefore } = source
  const parameters = [asked.intervalMs * US_PER_MS, asked.device, microseconds(span.fromTs), microseconds(span.toTs)]
  if (receivedBefore > 0) parameters.push(microseconds(receivedBefore))
  const kept = receivedBefore > 0 ? ' AND received_at >= $5::LONG::TIMESTAMP' : ''
  const rows = await sql.rows(
    DOING,
    `SELECT (ts::LONG / $1::LONG) * $1::LONG bucket, count(), min(${column}), max(${column}), sum(${column}), first(${column}), last(${column}),
       min(ts)::LONG, max(ts)::LONG
     FROM ${table} WHERE device = $2 AND ts >= $3::LONG::TIMESTAMP AND ts < $4::LONG::TIMESTAMP AND ${column} IS NOT NULL${kept}
     GROUP BY bucket ORDER BY bucket LIMIT ${bucketsMax + 1}`,
    parameters,
  )
  return rows as unknown as Numbers[]
}

async function rollupRows(
  sql: QuestdbSql,
  source: { view: string; span: Span; asked: DownsampleQuery; bucketsMax: number },
): Promise<Numbers[]> {
  const { view, span, asked, bucketsMax } = source
  const rows = await sql.rows(
    DOING,
    `SELECT (ts::LONG / $1::LONG) * $1::LONG bucket, sum(readings), min(lowest), max(highest), sum(total), first(first_value), last(last_value),
       min(first_at)::LONG, max(last_at)::LONG
     FROM ${view} WHERE device = $2 AND ts >= $3::LONG::TIMESTAMP AND ts < $4::LONG::TIMESTAMP
     GROUP BY bucket ORDER BY bucket LIMIT ${bucketsMax + 1}`,
    [asked.intervalMs * US_PER_MS, asked.device, microseconds(span.fromTs), microseconds(span.toTs)],
  )
  return rows as unknown as Numbers[]
}

function merge(into: Map<number, PartialBucket>, rows: readonly Numbers[], bucketsMax: number): void {
  if (rows.length > bucketsMax) throw tooManyBuckets(bucketsMax)
  for (const [ts, count, min, max, sum, first, last, firstAt, lastAt] of rows) {
    const known = into.get(ts)
    if (known === undefined) {
      into.set(ts, { ts, count, min, max, sum, first, last, firstAt, lastAt })
      continue
    }
    known.count += count
    known.min = Math.min(known.min, min)
    known.max = Math.max(known.max, max)
    known.sum += sum
    if (firstAt < known.firstAt) Object.assign(known, { first, firstAt })
    if (lastAt > known.lastAt) Object.assign(known, { last, lastAt })
  }
}

/** What of `whole` is before and after `part`. */
function outside(whole: Span, part: Span): Span[] {
  return [
    { fromTs: whole.fromTs, toTs: part.fromTs },
    { fromTs: part.toTs, toTs: whole.toTs },
  ].filter(({ fromTs, toTs }) => fromTs < toTs)
}

/** The column of each type that holds the metric as a number: a device's type may have changed over time. */
function numericColumns(tables: readonly TypeTable[], metric: string): { table: TypeTable; column: string }[] {
  const found = tables.flatMap((table) => {
    const column = table.metrics.get(metric)
    return column === undefined ? [] : [{ table, column: column.column, kind: column.kind }]
  })
  const numeric = found.filter(({ kind }) => kind === 'number')
  const other = found.find(({ kind }) => kind !== 'number')
  if (numeric.length === 0 && other !== undefined) {
    throw new InvalidInputError(`metric ${JSON.stringify(metric)} holds values of kind ${other.kind}: only numbers can be downsampled`, {
      details: { field: 'metric', metric, kind: other.kind },
      remedy: 'Ask for a metric of kind number, or read its values with range.',
    })
  }
  return numeric
}

function tooManyBuckets(bucketsMax: number): InvalidInputError {
  return new InvalidInputError(`more than ${bucketsMax} buckets (questdb.bucketsMax)`, {
    details: { field: 'intervalMs', bucketsMax },
    remedy: 'Ask for wider buckets or a shorter time.',
  })
}
