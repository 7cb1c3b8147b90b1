import type { Anomaly } from '../../contracts/anomaly.ts'
import type { Pattern } from '../../contracts/feedback.ts'
import { difference, lengthOf } from './course.ts'

/** An earlier anomaly of the same metric, and how like it is, [0, 1]. */
export interface PastCase {
  readonly anomaly: Anomaly
  readonly likeness: number
}

/** The earlier anomalies that are most like this one, the likest first; none where it has no pattern. */
export function nearestCases(anomaly: Anomaly, earlier: readonly Anomaly[], max: number): PastCase[] {
  const { pattern } = anomaly
  if (pattern === undefined) return []
  return earlier
    .flatMap((one) =>
      one.phase !== 'raised' || one.pattern === undefined || one.id === anomaly.id
        ? []
        : [{ anomaly: one, likeness: likeness(pattern, one.pattern) }],
    )
    .filter((one) => one.likeness > 0)
    .sort((a, b) => b.likeness - a.likeness || b.anomaly.ts - a.anomaly.ts)
    .slice(0, max)
}

/** 1: the same shape, or the same words; without either, how alike the shares of the scores are. */
function likeness(a: Pattern, b: Pattern): number {
  if (a.words !== undefined || b.words !== undefined) return a.words?.at(-1) === b.words?.at(-1) ? 1 : 0
  const size = Math.max(lengthOf(a.shape), lengthOf(b.shape))
  if (size > 0) return Math.max(0, 1 - difference(a.shape, b.shape) / size)
  return Object.entries(a.shares).reduce((sum, [part, share]) => sum + Math.sqrt(share * (b.shares[part] ?? 0)), 0)
}
