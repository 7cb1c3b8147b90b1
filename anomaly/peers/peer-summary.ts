import { NotFoundError } from '../../kernel/errors.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { changeId } from '../settings/adopted-changes.ts'

/** Collections: what each process saw, what all of them together saw, and where in the readings topic that began to be known. */
export const PEER_PARTS_COLLECTION = 'peer-parts'
export const PEER_SUMMARIES_COLLECTION = 'peer-summaries'
export const PEER_ADOPTIONS_COLLECTION = 'peer-adoptions'

/** How the devices of a type lay in one slot of event time, by one figure of one metric. */
export interface PeerFigures {
  /** Devices. */
  readonly peers: number
  readonly median: number
  /** Median distance from the median. */
  readonly deviation: number
  /** In order: of every device where these are few, otherwise as many quantiles. */
  readonly values: number[]
}

export interface MetricPeers {
  readonly metric: string
  readonly level: PeerFigures
  /** Of how much the metric varies within the slot; null where too few devices speak often enough to tell. */
  readonly liveliness: PeerFigures | null
  /** Devices near the median. */
  readonly typical: string[]
}

/** One slot of a type: numbers have no gaps over all tenants and types, and a summary is never altered. */
export interface PeerSummary {
  number: number
  tenant: string
  type: string
  /** Begin of the slot, epoch ms of event time. */
  slotTs: number
  metrics: MetricPeers[]
  /** When it was written, epoch ms. */
  at: number
}

/** What one process saw of a figure: the values in order, each standing for `count / values.length` devices. */
export interface FigurePart {
  count: number
  values: number[]
  /** Whose the values are, in the same order. */
  devices: string[]
}

export interface MetricPart {
  metric: string
  level: FigurePart
  liveliness: FigurePart
}

/** What one process saw of one slot of a type. */
export interface PeerPart {
  tenant: string
  type: string
  slotTs: number
  metrics: MetricPart[]
  at: number
}

/** As many devices are told one by one; of more, as many quantiles. */
export const EXACT_MAX = 21
/** Values that a part has of one figure. */
export const PART_VALUES_MAX = 64
const TYPICAL_MAX = 5

/**
 * Joins what processes saw of one slot; metrics in the order of their names. Metrics that fewer than `peersMin` devices have are left out.
 * `mayBeNamed`: of the devices as typical ones.
 */
export function metricsOf(
  parts: readonly PeerPart[],
  peersMin: number,
  mayBeNamed: (device: string) => boolean = () => true,
): MetricPeers[] {
  const names = [...new Set(parts.flatMap(({ metrics }) => metrics.map(({ metric }) => metric)))].sort()
  return names.flatMap((metric) => {
    const own = parts.flatMap(({ metrics }) => metrics.filter((one) => one.metric === metric))
    const level = figuresOf(own.map((one) => one.level))
    if (level === null || level.peers < peersMin) return []
    const liveliness = figuresOf(own.map((one) => one.liveliness))
    const enough = liveliness !== null && liveliness.peers >= peersMin
    return [
      {
        metric,
        level,
        liveliness: enough ? liveliness : null,
        typical: typicalOf(
          own.map((one) => one.level),
          level.median,
          mayBeNamed,
        ),
      },
    ]
  })
}

/** Null where there is nothing. */
export function figuresOf(parts: readonly FigurePart[]): PeerFigures | null {
  const weighted = parts.flatMap(({ count, values }) => values.map((value) => ({ value, weight: count / values.length })))
  if (weighted.length === 0) return null
  const peers = parts.reduce((sum, { count }) => sum + count, 0)
  const median = quantileOf(weighted, peers / 2)
  const deviation = quantileOf(
    weighted.map(({ value, weight }) => ({ value: Math.abs(value - median), weight })),
    peers / 2,
  )
  const isExact = weighted.length === peers && peers <= EXACT_MAX
  const values = isExact
    ? weighted.map(({ value }) => value).sort((a, b) => a - b)
    : Array.from({ length: EXACT_MAX }, (_, k) => quantileOf(weighted, (peers * (k + 0.5)) / EXACT_MAX))
  return { peers, median, deviation, values }
}

/** The value below which `below` of the weight lies; the middle between two where it is their border. */
function quantileOf(weighted: readonly { value: number; weight: number }[], below: number): number {
  const sorted = [...weighted].sort((a, b) => a.value - b.value)
  let sum = 0
  for (const [k, { value, weight }] of sorted.entries()) {
    sum += weight
    if (sum === below) return value / 2 + (sorted[k + 1]?.value ?? value) / 2
    if (sum > below) return value
  }
  return sorted.at(-1)?.value ?? Number.NaN
}

function typicalOf(parts: readonly FigurePart[], median: number, mayBeNamed: (device: string) => boolean): string[] {
  return parts
    .flatMap(({ values, devices }) => values.map((value, k) => ({ device: devices[k] ?? '', apart: Math.abs(value - median) })))
    .filter(({ device }) => device !== '' && mayBeNamed(device))
    .sort((a, b) => a.apart - b.apart || (a.device < b.device ? -1 : 1))
    .slice(0, TYPICAL_MAX)
    .map(({ device }) => device)
}

/** What the devices of a tenant's type were like in a slot, by the number of the summary. Throws NotFoundError where it is kept no more. */
export async function readSummary(documents: Documents, tenant: string, number: number): Promise<PeerSummary> {
  const summaries = await documents.collection<PeerSummary>({
    name: PEER_SUMMARIES_COLLECTION,
    indexes: [{ name: 'by-number', paths: ['number'] }],
  })
  const summary = await summaries.get(changeId(number))
  if (summary?.tenant !== tenant) throw new NotFoundError(`there is no summary ${number} of peers`)
  return summary
}
