import type { Anomaly } from '../../contracts/anomaly.ts'
import { TROUBLE_KINDS } from '../../contracts/platform-trouble.ts'
import { InvalidInputError } from '../../kernel/errors.ts'
import { cosine } from '../history/features.ts'
import { evidenceId, type Evidence, type EvidenceQuery, type EvidenceResult, type ReadingRef } from './evidence.ts'
import { pointsOf, type ReadingsReader } from './readings.ts'
import { shapeOf } from './shape.ts'
import { deviation, longestRun, mean, median, type Point } from './statistics.ts'
import type { EvidenceConfig } from './config.ts'
import type { Sources } from './sources.ts'
import type { Tools } from './tool-spans.ts'

export interface MeasureContext {
  tenant: string
  asOf: number
  sources: Sources
  reader: ReadingsReader
  config: EvidenceConfig
}

/** What was found, before it has an id. */
interface Found {
  result: EvidenceResult | null
  refs?: ReadingRef[]
  truncated?: boolean
}

/** Asks a query as of the watermark. What throws is the source's trouble: the caller says that it could not be checked. */
export async function measure(query: EvidenceQuery, context: MeasureContext): Promise<Evidence> {
  const { result, refs = [], truncated = false } = await find(query, context)
  const status = result === null ? ('no_data' as const) : ('success' as const)
  const content = { kind: query.kind, status, asOf: context.asOf, query, result: result ?? {}, refs, truncated }
  return { id: evidenceId(content), ...content }
}

/** Asks it with a tool of whoever asks. */
export function measured(query: EvidenceQuery, context: MeasureContext, tools: Tools): Promise<Evidence> {
  return tools.run(
    'datastore',
    `read_${query.kind}`,
    () => measure(query, context),
    ({ id, status }) => ({ attributes: { 'evidence.id': id, 'evidence.status': status } }),
  )
}

function find(query: EvidenceQuery, context: MeasureContext): Promise<Found> {
  switch (query.kind) {
    case 'reading':
      return readingAt(query, context)
    case 'window_stats':
      return windowStats(query, context)
    case 'deviation':
      return deviationOf(query, context)
    case 'model_score':
    case 'attribution':
      return anomalySays(query, context)
    case 'peer_comparison':
      return 'silent' in query ? silentPeers(query, context) : movedPeers(query, context)
    case 'gap':
      return gapOf(query, context)
    case 'registry_fact':
      return registryFact(query, context)
    case 'history':
      return historyOf(query, context)
    case 'pipeline_health':
      return 'trouble' in query ? platformTrouble(query, context) : pipelineHealth(query, context)
    case 'operator_statement':
      throw new InvalidInputError('what an operator states is kept, it cannot be asked again')
  }
}

type Of<K extends EvidenceQuery['kind']> = Extract<EvidenceQuery, { kind: K }>

async function readingAt({ device, metric, ts }: Of<'reading'>, { reader }: MeasureContext): Promise<Found> {
  const { points } = await reader.points({ device, metric }, { from: ts, to: ts + 1 })
  const last = points.at(-1)
  return last === undefined ? { result: null } : { result: { value: last.value }, refs: [{ device, metric, ts }] }
}

async function windowStats({ device, metric, window }: Of<'window_stats'>, { reader }: MeasureContext): Promise<Found> {
  const { points, truncated } = await reader.points({ device, metric }, window)
  if (points.length === 0) return { result: null, truncated }
  const values = points.map(({ value }) => value)
  const result = {
    count: values.length,
    min: Math.min(...values),
    max: Math.max(...values),
    mean: mean(values),
    stddev: deviation(values),
    median: median(values),
    first: values[0] as number,
    last: values.at(-1) as number,
    longestSame: longestRun(values.length - 1, (index) => values[index] === values[index + 1]) + 1,
  }
  return { result, refs: ends(device, metric, points), truncated }
}

async function deviationOf(query: Of<'deviation'>, context: MeasureContext): Promise<Found> {
  const { device, metric, window, baseline, beyondSpreads } = query
  const { parts, truncated } = await partsOf({ device, metric }, { window, baseline }, context)
  const { before, near, during } = parts
  if (before.length < context.config.readingsUsualMin || during.length === 0) return { result: null, truncated }
  const shape = shapeOf(before, near, during, beyondSpreads)
  return { result: shape, refs: [{ device, metric, ts: shape.peakTs }], truncated }
}

interface Spans {
  window: { from: number; to: number }
  baseline: { from: number; to: number }
}

/** All metrics of the device at once: its other metrics are asked for over the same time. */
async function partsOf(
  series: { device: string; metric: string },
  { window, baseline }: Spans,
  { reader, config }: MeasureContext,
  alone = false,
) {
  const limit = config.readingsMax * 2 + 1
  const ask = { device: series.device, fromTs: baseline.from, toTs: window.to, limit }
  const { rows, truncated } = await reader.rows(alone ? { ...ask, metric: series.metric } : ask)
  const parts = {
    before: pointsOf(rows, series.metric, baseline),
    near: pointsOf(rows, series.metric, { from: baseline.to, to: window.from }),
    during: pointsOf(rows, series.metric, window),
  }
  return { parts, truncated }
}

async function anomalySays(
  { kind, anomaly: id }: Of<'model_score' | 'attribution'>,
  { sources, tenant, asOf }: MeasureContext,
): Promise<Found> {
  const anomaly = await sources.anomaly(tenant, id)
  if (anomaly === null || anomaly.receivedAt > asOf) return { result: null }
  const { explanation, score, ts, device, metric } = anomaly
  const refs = metric === '' ? [] : [{ device, metric, ts }]
  if (kind === 'model_score') {
    const { observed, expected, low, high, readingsSeen } = explanation
    return { result: { score, ts, observed, expected, low, high, readingsSeen }, refs }
  }
  const parts = explanation.contributions
  const [largest] = parts
  if (largest === undefined) return { result: null }
  return { result: { parts: parts.length, weight: largest.weight }, refs }
}

async function movedPeers(query: Extract<Of<'peer_comparison'>, { series: unknown }>, context: MeasureContext): Promise<Found> {
  const { of, series, window, baseline, movedSpreads } = query
  const others = series.filter(({ device }) => device !== of.device)
  for (const metric of new Set(others.map((one) => one.metric)))
    context.reader.together(
      others.filter((one) => one.metric === metric).map(({ device }) => device),
      { metric, fromTs: baseline.from, toTs: window.to },
    )
  const shiftOf = async (one: { device: string; metric: string }): Promise<{ shift: number | null; truncated: boolean }> => {
    const { parts, truncated } = await partsOf(one, { window, baseline }, context, one.device !== of.device)
    const { before, near, during } = parts
    if (before.length < context.config.readingsUsualMin || during.length < 1) return { shift: null, truncated }
    return { shift: shapeOf(before, near, during, movedSpreads).shiftSpreads, truncated }
  }
  const own = await shiftOf(of)
  const shifts = await Promise.all(series.map(shiftOf))
  const seen = shifts.flatMap(({ shift }) => (shift === null ? [] : [shift]))
  const truncated = own.truncated || shifts.some((other) => other.truncated)
  if (seen.length === 0 || own.shift === null) return { result: null, truncated }
  const moved = seen.filter((shift) => Math.abs(shift) >= movedSpreads)
  const together = moved.filter((shift) => Math.sign(shift) === Math.sign(own.shift as number))
  return { result: { seen: seen.length, moved: moved.length, together: together.length }, truncated }
}

/** Of a device that is heard: some may have come after the watermark. */
const NEWEST_READINGS = 16

async function silentPeers(query: Extract<Of<'peer_comparison'>, { silent: string }>, { reader }: MeasureContext): Promise<Found> {
  const { devices, window, baseline } = query
  reader.together(devices, { fromTs: baseline.from, toTs: window.to })
  const each = await Promise.all(
    devices.map(async (device) => {
      const { rows } = await reader.rows({ device, fromTs: baseline.from, toTs: window.to, limit: NEWEST_READINGS })
      const newest = rows.at(-1)
      return newest === undefined ? 'unknown' : newest.ts >= window.from ? 'speaks' : 'silent'
    }),
  )
  const seen = each.filter((state) => state !== 'unknown').length
  const moved = each.filter((state) => state === 'silent').length
  return { result: seen === 0 ? null : { seen, moved, together: moved } }
}

async function gapOf({ device, fromTs, toTs }: Of<'gap'>, { reader, asOf, config }: MeasureContext): Promise<Found> {
  const { rows, truncated } = await reader.rows({ device, fromTs, toTs, limit: config.readingsMax * 2 + 1 })
  const received = rows.map(({ receivedAt }) => receivedAt).sort((a, b) => a - b)
  const last = received.at(-1)
  if (last === undefined || received.length < 2) return { result: null, truncated }
  const gaps = received.slice(1).map((at, index) => at - (received[index] as number))
  const result = {
    count: received.length,
    usualGapMs: median(gaps),
    longestGapMs: Math.max(...gaps),
    silentForMs: asOf - last,
    lastSeenAt: last,
  }
  return { result, truncated }
}

async function registryFact(query: Of<'registry_fact'>, { sources, tenant, asOf, config }: MeasureContext): Promise<Found> {
  if (query.fact === 'alerts') {
    const { items, truncated } = await sources.alerts({ tenant, incident: query.incident, limit: config.alertsMax })
    const known = items.filter(({ openedAt, id }) => openedAt <= asOf && id <= query.through)
    if (known.length === 0) return { result: null, truncated }
    const devices = new Set(known.map(({ device }) => device)).size
    return { result: { alerts: known.length, devices }, truncated }
  }
  const { device, type, fromMs, toMs } = query
  if (query.fact === 'maintenance') {
    const on = await sources.maintenance({ tenant, device, type, atMs: toMs })
    return { result: { on: on.length, until: on.length === 0 ? null : Math.max(...on.map(({ until }) => until)) } }
  }
  if (query.fact === 'findings') {
    const { items, truncated } = await sources.findings({ tenant, device, limit: config.changesMax })
    const open = items.filter(({ from, until }) => from <= asOf && (until === null || until > asOf))
    const shared = open.filter(({ fact }) => fact === 'identity-shared').length
    return { result: { open: open.length, shared, other: open.length - shared }, truncated }
  }
  const { items, truncated } = await sources.changes({ tenant, device, type, fromMs, toMs, limit: config.changesMax })
  const [newest] = items
  const counted = (kind: string): number => items.filter((change) => change.kind === kind).length
  return {
    result: {
      changes: items.length,
      ...{ firmware: counted('firmware'), config: counted('config') + counted('type'), certificate: counted('certificate') },
      ...{ lastAt: newest?.at ?? null, lastKind: newest?.kind ?? null },
    },
    truncated,
  }
}

async function historyOf({ incident, beforeMs, features, similarFrom }: Of<'history'>, context: MeasureContext): Promise<Found> {
  const { sources, tenant, asOf, config } = context
  const { items, truncated } = await sources.past({ tenant, beforeMs, asOf, except: incident, limit: config.historyMax })
  const known = items.filter(({ publishedAt }) => publishedAt <= asOf)
  const cosines = known.map((past) => cosine(past.features, features))
  const similar = cosines.filter((each) => each >= similarFrom).length
  return { result: { compared: known.length, similar, nearest: cosines.length === 0 ? null : Math.max(...cosines) }, truncated }
}

/** A reading this much later than usual is late: the usual way takes seconds. */
export const LATE_AFTER_MS = 60_000

/** As the alert tells it, which keeps why it opened. */
async function platformTrouble({ incident, trouble }: OfPlatform, { sources, tenant, config }: MeasureContext): Promise<Found> {
  const { items } = await sources.alerts({ tenant, incident, limit: config.alertsMax })
  const alert = items.find(({ id }) => id === trouble)
  if (alert === undefined) return { result: null }
  const { observed, high, parameters } = alert.explanation as Anomaly['explanation']
  // Only what is on the list: an alert of an earlier release says nothing of its kind.
  const kind = TROUBLE_KINDS.find((each) => each === parameters.kind) ?? 'part'
  return { result: { trouble: kind, observed, limit: high, since: alert.startedAt } }
}

type OfPlatform = Extract<Of<'pipeline_health'>, { trouble: string }>
type OfDevice = Extract<Of<'pipeline_health'>, { device: string }>

async function pipelineHealth({ device, window, baseline, received }: OfDevice, context: MeasureContext): Promise<Found> {
  const { sources, tenant, reader, config } = context
  const limit = config.readingsMax * 2 + 1
  const [hours, { rows, truncated }] = await Promise.all([
    sources.ledger({ tenant, device, fromMs: received.from, toMs: received.to }),
    reader.rows({ device, fromTs: baseline.from, toTs: window.to, limit }),
  ])
  const delays = (from: number, to: number): number[] =>
    rows.flatMap(({ ts, receivedAt }) => (ts >= from && ts < to ? [receivedAt - ts] : []))
  const before = median(delays(baseline.from, baseline.to))
  const during = delays(window.from, window.to)
  if (hours.length === 0 && rows.length === 0) return { result: null, truncated }
  const sum = (pick: (hour: (typeof hours)[number]) => number): number => hours.reduce((all, hour) => all + pick(hour), 0)
  const result = {
    stored: sum(({ stored }) => stored),
    rejected: sum(({ rejected }) => rejected),
    rejectedForTime: sum(({ rejectedForTime }) => rejectedForTime),
    rejectedForContent: sum(({ rejectedForContent }) => rejectedForContent),
    late: sum(({ late }) => late),
    duplicate: sum(({ duplicate }) => duplicate),
    missing: sum(({ missing }) => missing),
    ledgerVersion: sum(({ version }) => version),
    usualDelayMs: Number.isNaN(before) ? null : before,
    delayMs: during.length === 0 ? null : median(during),
    lateReadings: Number.isNaN(before) ? 0 : during.filter((delay) => delay > before + LATE_AFTER_MS).length,
  }
  return { result, truncated }
}

function ends(device: string, metric: string, points: readonly Point[]): ReadingRef[] {
  const [first, last] = [points[0] as Point, points.at(-1) as Point]
  return [first.ts, last.ts].map((ts) => ({ device, metric, ts }))
}
