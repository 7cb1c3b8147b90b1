import type { AlertHistoryEntry } from '../contracts/alert.ts'
import type { Anomaly, AnomalyCause } from '../contracts/anomaly.ts'
import type { AlertDocument, AnomalyPosition, ChangeKind, OutboxEntry } from './alert-document.ts'
import type { AlertsConfig } from './config.ts'

/** Pure steps of an alert's life: they take time as an argument and answer the next document. */

export type LifecycleLimits = Pick<AlertsConfig, 'historyMax' | 'anomalyIdsMax' | 'resolveQuietMs'>

/** Who did it and, where a person has something to say, why. */
export interface Author {
  by: string
  note?: string | undefined
}

export function fingerprintOf(anomaly: Anomaly): string {
  return `${anomaly.tenant}/${anomaly.device}/${anomaly.metric}/${anomaly.cause}`
}

const TITLES: Record<AnomalyCause, (subject: string) => string> = {
  value: (subject) => `${subject} is unusual`,
  silence: (subject) => `${subject} is silent`,
  certificate: (subject) => `${subject} did not renew its certificate`,
  security: (subject) => `security finding: ${subject}`,
}

export function openAlert(
  anomaly: Anomaly,
  position: AnomalyPosition,
  options: { id: string; generation: number; nowMs: number; outbox: OutboxEntry[] },
): AlertDocument {
  const { id, generation, nowMs, outbox } = options
  const subject = anomaly.metric === '' ? anomaly.device : `${anomaly.metric} of ${anomaly.device}`
  return {
    id,
    tenant: anomaly.tenant,
    fingerprint: fingerprintOf(anomaly),
    device: anomaly.device,
    type: anomaly.type,
    metric: anomaly.metric,
    cause: anomaly.cause,
    state: 'open',
    severity: anomaly.severity,
    title: TITLES[anomaly.cause](subject),
    startedAt: anomaly.ts,
    openedAt: nowMs,
    updatedAt: nowMs,
    resolvedAt: null,
    silencedUntil: null,
    anomalyCount: 1,
    maxScore: anomaly.score,
    firstAnomalyId: anomaly.id,
    lastAnomalyId: anomaly.id,
    explanation: anomaly.explanation,
    correlationId: anomaly.correlationId,
    history: [{ at: nowMs, by: `device:${anomaly.device}`, action: 'opened' }],
    historyDropped: 0,
    generation,
    sequence: 1,
    position,
    recentAnomalyIds: [anomaly.id],
    clearedTs: null,
    resolveDueAt: null,
    outbox: [...outbox, { alertId: id, sequence: 1, change: 'opened', position }],
    unpublishedSince: null,
  }
}

/** Another anomaly of the same cause: counted, and the severity rises to the worst seen. */
export function repeatAlert(
  alert: AlertDocument,
  anomaly: Anomaly,
  nowMs: number,
  limits: LifecycleLimits,
): { alert: AlertDocument; change: ChangeKind } {
  const rises = alert.severity === 'warning' && anomaly.severity === 'critical'
  const change = rises ? 'severity-changed' : 'repeated'
  const next: AlertDocument = {
    ...alert,
    severity: rises ? 'critical' : alert.severity,
    anomalyCount: alert.anomalyCount + 1,
    maxScore: Math.max(alert.maxScore, anomaly.score),
    lastAnomalyId: anomaly.id,
    clearedTs: null,
    resolveDueAt: null,
  }
  return { alert: withHistory(next, { at: nowMs, by: `device:${alert.device}`, action: change }, limits.historyMax), change }
}

/** The cause is over: resolves at once or, with a quiet time, becomes due. */
export function clearAlert(
  alert: AlertDocument,
  anomaly: Anomaly,
  nowMs: number,
  limits: LifecycleLimits,
): { alert: AlertDocument; change: ChangeKind | null } {
  if (alert.clearedTs !== null) return { alert, change: null }
  const cleared = { ...alert, lastAnomalyId: anomaly.id }
  if (limits.resolveQuietMs > 0)
    return { alert: { ...cleared, clearedTs: anomaly.ts, resolveDueAt: nowMs + limits.resolveQuietMs }, change: null }
  return { alert: resolveAlert(cleared, { by: `device:${alert.device}`, note: 'the cause cleared' }, nowMs, limits), change: 'resolved' }
}

/** Did the cause stay away for the quiet time before this event time? A recording replayed fast has no wall time to wait for. */
export function stayedQuiet(alert: AlertDocument, ts: number, limits: LifecycleLimits): boolean {
  return alert.clearedTs !== null && ts - alert.clearedTs >= limits.resolveQuietMs
}

export function resolveAlert(alert: AlertDocument, author: Author, nowMs: number, limits: LifecycleLimits): AlertDocument {
  const next: AlertDocument = { ...alert, state: 'resolved', resolvedAt: nowMs, resolveDueAt: null }
  return withHistory(next, entry('resolved', author, nowMs), limits.historyMax)
}

export function acknowledgeAlert(alert: AlertDocument, author: Author, nowMs: number, limits: LifecycleLimits): AlertDocument {
  return withHistory({ ...alert, state: 'acknowledged' }, entry('acknowledged', author, nowMs), limits.historyMax)
}

export function silenceAlert(alert: AlertDocument, untilMs: number, author: Author, nowMs: number, limits: LifecycleLimits): AlertDocument {
  return withHistory({ ...alert, silencedUntil: untilMs }, entry('silenced', author, nowMs), limits.historyMax)
}

/** Remembers that this anomaly was applied. */
export function withAnomaly(alert: AlertDocument, anomaly: Anomaly, position: AnomalyPosition, limits: LifecycleLimits): AlertDocument {
  return { ...alert, position, recentAnomalyIds: [anomaly.id, ...alert.recentAnomalyIds].slice(0, limits.anomalyIdsMax) }
}

/** Repeats in a row are one entry, so that a flood of them does not push out what people did. */
function withHistory(alert: AlertDocument, added: AlertHistoryEntry, historyMax: number): AlertDocument {
  const older = added.action === 'repeated' && alert.history[0]?.action === 'repeated' ? alert.history.slice(1) : alert.history
  const history = [added, ...older]
  const dropped = Math.max(0, history.length - historyMax)
  return { ...alert, updatedAt: added.at, history: history.slice(0, historyMax), historyDropped: alert.historyDropped + dropped }
}

function entry(action: AlertHistoryEntry['action'], author: Author, nowMs: number): AlertHistoryEntry {
  return author.note === undefined ? { at: nowMs, by: author.by, action } : { at: nowMs, by: author.by, action, note: author.note }
}
