import type { Match } from './condition.ts'
import type { LimitFact, TrendPoint } from './domain-facts.ts'
import { round } from './same-cause.ts'
import { trendOf, type Trend } from './trend.ts'

/** A trend must be this sure: a look asks it of every device. */
const SURENESS_MIN = 5
/** It must have gone this many scatters over the time that was looked at: less is noise, or a swing. */
const SCATTERS_MIN = 6
/** Parts of the time, each of which must go the same way on average: what comes and goes is a swing, what jumped is no drift. */
const PARTS = 4
/** Of the whole way, the share that no single part may go alone, and that each must go at least. */
const PART_SHARE_MAX = 0.6
const PART_SHARE_MIN = 0.06
const HOUR_MS = 3_600_000

/** A metric that slowly goes towards its limit, and when it will be there. It is not there yet. */
export function driftOf(device: string, limit: LimitFact, points: readonly TrendPoint[], nowMs: number, withinMs: number): Match[] {
  const trend = trendOf(points)
  if (trend === null) return []
  const sign = limit.is === 'above' ? 1 : -1
  const left = sign * (limit.raise - trend.level)
  const speed = sign * trend.perMs
  if (left <= 0 || speed <= 0 || !isDrift(trend, points)) return []
  const untilMs = left / speed
  if (untilMs > withinMs) return []
  const { metric, is, raise, rule } = limit
  return [
    {
      key: JSON.stringify([device, metric, is, raise]),
      title: `${metric} of ${device} drifts towards ${raise}`,
      ...{ devices: [device], deviceCount: 1, evidence: rule === null ? [] : [`rule:${rule}`] },
      figures: {
        ...{ level: round(trend.level), limit: raise, perHour: round(trend.perMs * HOUR_MS), hoursLeft: round(untilMs / HOUR_MS) },
        ...{ reachedAt: Math.round(nowMs + untilMs), points: points.length, sureness: round(trend.sureness) },
      },
    },
  ]
}

function isDrift({ perMs, sureness, scatter }: Trend, points: readonly TrendPoint[]): boolean {
  const [first, last] = [points[0] as TrendPoint, points.at(-1) as TrendPoint]
  const way = Math.abs(perMs) * (last.ts - first.ts)
  if (sureness < SURENESS_MIN || way < SCATTERS_MIN * scatter) return false
  const sign = Math.sign(perMs)
  const length = (last.ts - first.ts + 1) / (PARTS + 1)
  const means = Array.from({ length: PARTS + 1 }, (_, i) => {
    const inPart = points.filter(({ ts }) => Math.floor((ts - first.ts) / length) === i)
    return inPart.length === 0 ? Number.NaN : inPart.reduce((sum, { value }) => sum + value, 0) / inPart.length
  })
  const steps = means.slice(1).map((mean, i) => sign * (mean - (means[i] as number)))
  const all = steps.reduce((sum, each) => sum + each, 0)
  return all > 0 && steps.every((each) => each <= PART_SHARE_MAX * all && each >= PART_SHARE_MIN * all)
}
