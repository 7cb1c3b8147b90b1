import type { Alert } from '../../contracts/alert.ts'
import type { AnomalyCause } from '../../contracts/anomaly.ts'
import type { Incident } from '../../contracts/incident.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { CheckSubject } from '../checks/check.ts'
import type { EvidenceConfig } from '../evidence/config.ts'
import type { TimeWindow } from '../evidence/evidence.ts'
import type { ReadingsReader } from '../evidence/readings.ts'
import type { SourceReading, Sources } from '../evidence/sources.ts'

/** Part of the readings before it that is left out of what is usual: what grows slowly has begun before it was noticed. */
const APPROACH_PART = 1 / 3
/** Of a device that fell silent: its last readings are looked at as if they were the incident. */
const LAST_PART = 1 / 6
/** What a metric of the power supply is called: words of ours, compared whole with parts of its name. */
const POWER_WORDS = new Set(['battery', 'batt', 'vbat', 'soc', 'supply'])

export interface SubjectOptions {
  incident: Incident
  alert: Alert
  asOf: number
  sources: Sources
  reader: ReadingsReader
  config: EvidenceConfig
  log: Logger
  /** When it aborts, readings that are being asked for are given up. */
  signal: AbortSignal
  bounded<T>(work: Promise<T>): Promise<T>
}

export interface SubjectRead {
  subject: CheckSubject
  /** The readings could not be read: every check that needs them will say so. */
  readFailed: boolean
}

/** Where to look: the device and metric of the first alert, what was before, and what came since. */
export async function readSubject(options: SubjectOptions): Promise<SubjectRead> {
  const { incident, alert, asOf, log, bounded } = options
  const cause = alert.cause as AnomalyCause
  const { device, type, startedAt, openedAt } = alert
  // Of other causes the metric names a finding or a part of the platform, which no reading carries.
  const metric = isOfValues(alert) ? alert.metric : null
  const about = {
    tenant: incident.tenant,
    incident: incident.id,
    cause,
    device,
    type,
    metric,
    anomaly: alert.firstAnomalyId,
    onsetTs: startedAt,
    openedAt,
    asOf,
  }
  // Nothing of the platform itself shows in readings of a device.
  if (cause === 'platform') return { subject: { ...about, ...NOTHING }, readFailed: false }
  try {
    return { subject: { ...about, ...(await bounded(surroundings(options, metric))) }, readFailed: false }
  } catch (error) {
    log.warn({ incident: incident.id, device, error: describeError(error) }, 'the readings of an incident could not be read')
    return { subject: { ...about, ...NOTHING }, readFailed: true }
  }
}

/** Is it about values that readings carry? */
function isOfValues({ cause, metric }: Alert): boolean {
  return (cause === 'value' || cause === 'rule') && metric !== ''
}

type Surroundings = Pick<CheckSubject, 'spans' | 'oldestTs' | 'newestTs' | 'otherMetrics' | 'powerMetrics'>

async function surroundings(
  { incident, alert, asOf, sources, reader, config, signal }: SubjectOptions,
  metric: string | null,
): Promise<Surroundings> {
  const { device, startedAt } = alert
  const { rows: before } = await reader.rows({ device, fromTs: startedAt - config.lookbackMs, toTs: startedAt, limit: config.readingsMax })
  const isValue = metric !== null
  const since = await newestAfter({ sources, tenant: incident.tenant, device, startedAt, asOf, config, signal })
  const newestTs = since ?? before.at(-1)?.ts ?? null
  const metrics = [...new Set(before.slice(-METRIC_ROWS).flatMap(({ values }) => Object.keys(values)))].filter((name) => name !== metric)
  return {
    spans: isValue ? spansOfValue(before, since, startedAt) : spansOfLast(before),
    newestTs,
    oldestTs: before[0]?.ts ?? null,
    otherMetrics: metrics.slice(0, config.metricsMax),
    powerMetrics: metrics.filter(isOfPower).slice(0, POWER_METRICS_MAX),
  }
}

const NOTHING: Surroundings = { spans: null, oldestTs: null, newestTs: null, otherMetrics: [], powerMetrics: [] }
/** Readings whose metrics are taken as those of the device. */
const METRIC_ROWS = 5
/** Readings among which the newest one before the watermark is looked for first. */
const NEWEST_READINGS = 8
const POWER_METRICS_MAX = 2

export function isOfPower(metric: string): boolean {
  return metric
    .toLowerCase()
    .split(/[^a-z]+/)
    .some((word) => POWER_WORDS.has(word))
}

/** The newest reading since it began. */
async function newestAfter(options: {
  sources: Sources
  tenant: string
  device: string
  startedAt: number
  asOf: number
  config: EvidenceConfig
  signal: AbortSignal
}): Promise<number | null> {
  const { sources, tenant, device, startedAt, asOf, config, signal } = options
  // The newest one as a rule; only of an incident of long ago were many received after the watermark.
  for (const limit of [NEWEST_READINGS, config.readingsMax]) {
    const { items, truncated } = await sources.readings({ tenant, devices: [device], fromTs: startedAt, limit, signal })
    const newest = items.find(({ receivedAt }) => receivedAt <= asOf)
    if (newest !== undefined || !truncated) return newest?.ts ?? null
  }
  return null
}

function spansOfValue(before: readonly SourceReading[], newestTs: number | null, startedAt: number): Spans | null {
  const first = before[0]
  const near = before[Math.floor(before.length * (1 - APPROACH_PART))]
  if (first === undefined || near === undefined || newestTs === null) return null
  // As many are looked at as are compared with.
  const most = startedAt + Math.max(1, startedAt - first.ts)
  return { baseline: { from: first.ts, to: near.ts }, window: { from: startedAt, to: Math.min(newestTs + 1, most) } }
}

function spansOfLast(before: readonly SourceReading[]): Spans | null {
  const first = before[0]
  const near = before[Math.floor(before.length * (1 - 2 * APPROACH_PART))]
  const last = before[Math.floor(before.length * (1 - LAST_PART))]
  if (first === undefined || near === undefined || last === undefined) return null
  return { baseline: { from: first.ts, to: near.ts }, window: { from: last.ts, to: (before.at(-1) as SourceReading).ts + 1 } }
}

type Spans = { window: TimeWindow; baseline: TimeWindow }
