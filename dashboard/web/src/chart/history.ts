import { readings } from '../api/endpoints.ts'
import type { MetricKind, MetricValue, Reading } from '../api/types.ts'
import { ChartSeries, type Point } from './chart-series.ts'

/** Readings asked for one by one; beyond them the server summarises. */
const READINGS_MAX = 1_000
/** Buckets over a range: about one per two pixels of a wide chart. */
const BUCKETS = 600
const DAY_MS = 86_400_000
/** Event time is accepted from here on. */
const EARLIEST_TS = 946_684_800_000
/** And up to this much after receipt. */
const FUTURE_MS = 600_000

export interface HistoryQuery {
  device: string
  metric: string
  kind: MetricKind
  /** ms up to `endTs`; null for everything there is. */
  spanMs: number | null
  endTs: number
}

/** Loads a range of one metric: each reading where they are few, else summarised to a bounded number of buckets. */
export async function loadHistory(query: HistoryQuery, signal: AbortSignal): Promise<ChartSeries> {
  const { device, metric, spanMs, endTs } = query
  const to = endTs + FUTURE_MS
  const from = spanMs === null ? undefined : endTs - spanMs
  const page = await readings.list({ device, metric, from, to, limit: READINGS_MAX }, signal)
  if (page.next === null || query.kind !== 'number') return eachReading(page.items, metric)
  if (from !== undefined) return buckets(query, from, to, (spanMs as number) / BUCKETS, signal)
  const days = await readings.list({ device, metric, from: EARLIEST_TS, to, interval: '1d' }, signal)
  const firstDay = days.items.at(-1)?.ts ?? endTs - DAY_MS
  const lastTs = page.items[0]?.ts ?? endTs
  const coarse = await buckets(query, firstDay, lastTs + 1, (lastTs + 1 - firstDay) / BUCKETS, signal)
  const firstTs = coarse.firstTs ?? firstDay
  // The first day may be nearly empty: look again at what is really covered.
  return lastTs - firstTs > (lastTs - firstDay) / 2 ? coarse : buckets(query, firstTs, lastTs + 1, (lastTs + 1 - firstTs) / BUCKETS, signal)
}

function eachReading(items: Reading[], metric: string): ChartSeries {
  const series = new ChartSeries()
  for (const { ts, values } of items.toReversed()) {
    const value: MetricValue | undefined = values[metric]
    if (value !== undefined) series.push(ts, value)
  }
  return series
}

async function buckets(
  { device, metric }: HistoryQuery,
  from: number,
  to: number,
  widthMs: number,
  signal: AbortSignal,
): Promise<ChartSeries> {
  const intervalMs = Math.max(1, niceInterval(widthMs))
  const { items } = await readings.list({ device, metric, from, to, interval: `${intervalMs}ms` }, signal)
  return new ChartSeries(intervalMs, items.toReversed().map(pointOf))
}

function pointOf({ ts, values }: Reading): Point {
  const number = (name: string): number => Number(values[name])
  return { ts, value: number('mean'), min: number('min'), max: number('max'), count: number('count') }
}

const NICE_MS = [
  1, 10, 100, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 10_800_000,
  21_600_000,
]

/** The smallest round interval that is not below. */
function niceInterval(ms: number): number {
  return NICE_MS.find((nice) => nice >= ms) ?? Math.ceil(ms / DAY_MS) * DAY_MS
}
