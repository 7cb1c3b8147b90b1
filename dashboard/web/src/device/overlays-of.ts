import type { Alert, Anomaly } from '../api/types.ts'
import type { Band, Mark, Region } from '../chart/overlays.ts'
import { clock, measure, words } from '../ui/format.ts'

/** A band begins a little before its anomaly, so that the step out of it is seen. */
const LEAD_MS_MAX = 10_000

/** What concerns a metric: its own, and what concerns the whole device. */
const concerns = (metric: string, of: string): boolean => of === metric || of === ''

export function marksOf(anomalies: readonly Anomaly[], metric: string): Mark[] {
  return anomalies
    .filter((anomaly) => concerns(metric, anomaly.metric))
    .map((anomaly) => {
      const cleared = anomaly.phase === 'cleared'
      const what = cleared ? 'Back to normal' : `${words(anomaly.severity)} anomaly (${anomaly.cause})`
      const value = anomaly.metric === '' ? null : anomaly.explanation.observed
      return {
        id: anomaly.id,
        ts: anomaly.ts,
        value,
        kind: cleared ? 'cleared' : anomaly.severity,
        label: `${what} at ${clock(anomaly.ts)}${value === null ? '' : `, value ${measure(value)}`}`,
      }
    })
}

/** The band that was expected when an anomaly was raised, from there until it cleared (or the next one says otherwise). */
export function bandsOf(anomalies: readonly Anomaly[], metric: string, shown: { fromTs: number; toTs: number }): Band[] {
  const own = anomalies.filter((anomaly) => anomaly.metric === metric && anomaly.cause === 'value').toSorted((a, b) => a.ts - b.ts)
  const leadMs = Math.min(LEAD_MS_MAX, (shown.toTs - shown.fromTs) * 0.03)
  return own.flatMap((anomaly, i) => {
    const { low, high } = anomaly.explanation
    if (anomaly.phase === 'cleared' || low === null || high === null) return []
    const before = own[i - 1]
    const lead = before === undefined || before.phase === 'cleared' ? leadMs : 0
    return [{ fromTs: anomaly.ts - lead, toTs: own[i + 1]?.ts ?? shown.toTs, low, high }]
  })
}

/** What unresolved alerts cover, in event time: from their first anomaly until it cleared, or to the end of the chart. */
export function regionsOf(alerts: readonly Alert[], anomalies: readonly Anomaly[], metric: string, toTs: number): Region[] {
  return alerts
    .filter((alert) => alert.state !== 'resolved' && concerns(metric, alert.metric))
    .map((alert) => {
      const last = anomalies.find(({ id }) => id === alert.lastAnomalyId)
      const end = last?.phase === 'cleared' ? last.ts : toTs
      return { id: alert.id, fromTs: alert.startedAt, toTs: end, label: alert.title, severity: alert.severity }
    })
}
