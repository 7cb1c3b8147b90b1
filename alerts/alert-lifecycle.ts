import { isNoticed, type AlertChangeKind, type AlertHistoryEntry, type AlertQuiet } from '../contracts/alert.ts'
import { EXTERNAL_SUBJECT, type Anomaly, type AnomalyCause } from '../contracts/anomaly.ts'
import { evidenceOf, evidenceWith } from './alert-evidence.ts'
import { NO_TIMES, withTimes, type AlertDocument, type AnomalyPosition, type OutboxEntry } from './alert-document.ts'
import type { AlertsConfig } from './config.ts'

/** Pure steps of an alert's life by anomalies: they take time as an argument and answer the next document. */

export type LifecycleLimits = Pick<
  AlertsConfig,
  | 'historyMax'
  | 'anomalyIdsMax'
  | 'resolveQuietMs'
  | 'staleResolveMs'
  | 'flapCount'
  | 'flapWindowMs'
  | 'flapQuietMs'
  | 'severityHoldMs'
  | 'escalationStepsMs'
>

/** Who did it and, where a person has something to say, why. */
export interface Author {
  by: string
  note?: string | undefined
}

/** What is known around an alert when something happens to it. */
export interface Surroundings {
  /** Of the device. */
  labels: Record<string, string>
  /** Null: nothing keeps notices back. */
  quiet: AlertQuiet | null
  /** Wall time at which to ask again about the quiet. */
  askAgainAt: number | null
}

/** What makes two anomalies the same trouble. */
export function fingerprintOf({ tenant, device, metric, cause, rule }: Anomaly): string {
  const trouble = `${tenant}/${device}/${metric}/${cause}`
  return rule === undefined ? trouble : `${trouble}/${rule.id}`
}

const TITLES: Record<AnomalyCause, (subject: string) => string> = {
  value: (subject) => `${subject} is unusual`,
  peers: (subject) => `${subject} is odd among the devices of its type`,
  correlation: (subject) => `${subject} does not go with the other metrics`,
  silence: (subject) => `${subject} is silent`,
  certificate: (subject) => `${subject} did not renew its certificate`,
  model: (subject) => `the metrics of ${subject} together are unusual`,
  'model-health': (subject) => subject,
  platform: (subject) => `the platform does not work: ${subject}`,
  security: (subject) => `security finding: ${subject}`,
  rollout: (subject) => `${subject} did not take its firmware`,
  rule: (subject) => `${subject} breaks a rule`,
  external: (subject) => `another system says so of ${subject}`,
}

function titleOf({ cause, metric, device, rule }: Anomaly): string {
  if (device === EXTERNAL_SUBJECT && rule !== undefined) return rule.name
  const subject = cause === 'platform' || cause === 'model-health' ? metric : metric === '' ? device : `${metric} of ${device}`
  return rule === undefined ? TITLES[cause](subject) : `${rule.name}: ${subject}`
}

export interface Opening {
  id: string
  nowMs: number
  /** The fingerprint's last alert. */
  previous: AlertDocument | null
  around: Surroundings
  incident: AlertDocument['incident']
}

export function openAlert(anomaly: Anomaly, position: AnomalyPosition, opening: Opening, limits: LifecycleLimits): AlertDocument {
  const { id, nowMs, previous, around, incident } = opening
  const { tenant, device, type, metric, cause, severity } = anomaly
  // Messages of the one before that may not be in the log yet: the newest document of a fingerprint knows them all.
  const inherited: OutboxEntry[] = (previous?.outbox ?? []).filter((entry) => entry.position !== null)
  const flapTs = previous === null ? [] : flapsOf(previous, anomaly.ts, limits)
  const opened: AlertDocument = {
    ...{ id, tenant, device, type, metric, cause, severity },
    fingerprint: fingerprintOf(anomaly),
    labels: around.labels,
    state: 'open',
    title: titleOf(anomaly),
    startedAt: anomaly.ts,
    openedAt: nowMs,
    updatedAt: nowMs,
    resolvedAt: null,
    ...{ silencedUntil: null, snoozedUntil: null, suppressedBy: null, assignee: null, escalation: 0, announced: false },
    quiet: around.quiet,
    incident,
    flapping: isFlapping(flapTs, limits),
    anomalyCount: 1,
    maxScore: anomaly.score,
    firstAnomalyId: anomaly.id,
    lastAnomalyId: anomaly.id,
    explanation: anomaly.explanation,
    evidence: evidenceOf(anomaly),
    rule: anomaly.rule ?? null,
    correlationId: anomaly.correlationId,
    history: [{ at: nowMs, by: `device:${device}`, action: 'opened' }],
    historyDropped: 0,
    generation: (previous?.generation ?? 0) + 1,
    isFinal: false,
    sequence: 1,
    position,
    elsewhere: previous === null ? [] : elsewhereOf(previous, position),
    recentAnomalyIds: [anomaly.id],
    clearedTs: null,
    flapTs,
    severeTs: anomaly.ts,
    isSeverityFixed: false,
    times: NO_TIMES,
    dueAt: null,
    outbox: [...inherited, { alertId: id, sequence: 1, change: 'opened', position }],
    unpublishedSince: null,
  }
  const times = { quiet: around.askAgainAt, escalate: nextEscalation(opened, nowMs, limits), stale: staleAt(nowMs, limits) }
  return noted(withTimes(opened, times), 'opened')
}

/**
 * Another anomaly of the same cause: counted. The severity rises at once to a worse one, and falls when no anomaly was as bad for a while;
 * a cause that comes back too often makes the alert flap.
 */
export function repeatAlert(
  alert: AlertDocument,
  anomaly: Anomaly,
  nowMs: number,
  limits: LifecycleLimits,
): { alert: AlertDocument; change: AlertChangeKind } {
  const severity = severityAfter(alert, anomaly, limits)
  const flapTs = alert.clearedTs === null ? alert.flapTs : flapsOf(alert, anomaly.ts, limits)
  const flapping = alert.flapping || isFlapping(flapTs, limits)
  const change = severity !== alert.severity ? 'severity-changed' : flapping && !alert.flapping ? 'flapping' : 'repeated'
  const next: AlertDocument = {
    ...alert,
    severity,
    severeTs: anomaly.severity === 'critical' || severity === 'warning' ? anomaly.ts : alert.severeTs,
    flapTs,
    flapping,
    anomalyCount: alert.anomalyCount + 1,
    maxScore: Math.max(alert.maxScore, anomaly.score),
    lastAnomalyId: anomaly.id,
    evidence: evidenceWith(alert.evidence, anomaly),
    clearedTs: null,
  }
  const timed = withTimes(next, { resolve: null, stale: staleAt(nowMs, limits) })
  return { alert: withHistory(timed, { at: nowMs, by: `device:${alert.device}`, action: change }, limits.historyMax), change }
}

/** The cause is over: resolves at once or, with a quiet time, becomes due. What turned out not to have been resolves at once. */
export function clearAlert(
  alert: AlertDocument,
  anomaly: Anomaly,
  nowMs: number,
  limits: LifecycleLimits,
): { alert: AlertDocument; change: AlertChangeKind | null } {
  if (anomaly.retracted === true) {
    const corrected = { ...alert, lastAnomalyId: anomaly.id, evidence: evidenceWith(alert.evidence, anomaly) }
    const author = { by: `device:${alert.device}`, note: `retracted: ${anomaly.explanation.text}` }
    return { alert: resolveAlert(corrected, author, nowMs, limits), change: 'resolved' }
  }
  if (alert.clearedTs !== null) return { alert, change: null }
  // Other systems try again when they like: the end of the time before is no end of this one.
  if (anomaly.cause === 'external' && anomaly.ts < alert.startedAt) return { alert, change: null }
  const cleared = { ...alert, lastAnomalyId: anomaly.id }
  const quietMs = quietMsOf(alert, limits)
  if (quietMs > 0) return { alert: withTimes({ ...cleared, clearedTs: anomaly.ts }, { resolve: nowMs + quietMs }), change: null }
  return { alert: resolveAlert(cleared, { by: `device:${alert.device}`, note: 'the cause cleared' }, nowMs, limits), change: 'resolved' }
}

/** Did the cause stay away for the quiet time before this event time? A recording replayed fast has no wall time to wait for. */
export function stayedQuiet(alert: AlertDocument, ts: number, limits: LifecycleLimits): boolean {
  return alert.clearedTs !== null && ts - alert.clearedTs >= quietMsOf(alert, limits)
}

export function resolveAlert(alert: AlertDocument, author: Author, nowMs: number, limits: LifecycleLimits): AlertDocument {
  const next: AlertDocument = { ...alert, state: 'resolved', resolvedAt: nowMs, snoozedUntil: null, times: NO_TIMES, dueAt: null }
  return withHistory(next, entryOf('resolved', author, nowMs), limits.historyMax)
}

/** Remembers that this anomaly was applied. */
export function withAnomaly(alert: AlertDocument, anomaly: Anomaly, position: AnomalyPosition, limits: LifecycleLimits): AlertDocument {
  const recentAnomalyIds = [anomaly.id, ...alert.recentAnomalyIds].slice(0, limits.anomalyIdsMax)
  return { ...alert, position, elsewhere: elsewhereOf(alert, position), recentAnomalyIds }
}

/** Where other partitions are, once this one is at `position`. */
function elsewhereOf({ position: last, elsewhere }: AlertDocument, position: AnomalyPosition): AnomalyPosition[] {
  return [last, ...elsewhere].filter(({ partition }) => partition !== position.partition)
}

/** Repeats in a row are one entry, so that a flood of them does not push out what people did. */
export function withHistory(alert: AlertDocument, added: AlertHistoryEntry, historyMax: number): AlertDocument {
  const older = added.action === 'repeated' && alert.history[0]?.action === 'repeated' ? alert.history.slice(1) : alert.history
  const history = [added, ...older]
  const dropped = Math.max(0, history.length - historyMax)
  const next = { ...alert, updatedAt: added.at, history: history.slice(0, historyMax), historyDropped: alert.historyDropped + dropped }
  return noted(next, added.action)
}

export function entryOf(action: AlertHistoryEntry['action'], author: Author, nowMs: number): AlertHistoryEntry {
  return author.note === undefined ? { at: nowMs, by: author.by, action } : { at: nowMs, by: author.by, action, note: author.note }
}

/** When nobody acknowledges it until then, it escalates; null where that is over or not wanted. */
export function nextEscalation(alert: AlertDocument, nowMs: number, limits: LifecycleLimits): number | null {
  const waitMs = limits.escalationStepsMs[alert.escalation]
  return alert.state !== 'open' || waitMs === undefined ? null : nowMs + waitMs
}

/** Once somebody could be told, the end is told too. */
function noted(alert: AlertDocument, change: AlertChangeKind): AlertDocument {
  return alert.announced || !isNoticed({ change, alert }) ? alert : { ...alert, announced: true }
}

function quietMsOf(alert: AlertDocument, limits: LifecycleLimits): number {
  return alert.flapping ? Math.max(limits.flapQuietMs, limits.resolveQuietMs) : limits.resolveQuietMs
}

/** When it resolves unless something is heard of it; null where that is not wanted. */
export function staleAt(nowMs: number, limits: LifecycleLimits): number | null {
  return limits.staleResolveMs === 0 ? null : nowMs + limits.staleResolveMs
}

function isFlapping(flapTs: readonly number[], { flapCount }: LifecycleLimits): boolean {
  return flapCount > 0 && flapTs.length >= flapCount
}

/** This return and those not long before it. */
function flapsOf(alert: AlertDocument, ts: number, limits: LifecycleLimits): number[] {
  if (limits.flapCount === 0) return []
  return [ts, ...alert.flapTs.filter((earlier) => Math.abs(ts - earlier) < limits.flapWindowMs)].slice(0, limits.flapCount)
}

function severityAfter(alert: AlertDocument, anomaly: Anomaly, limits: LifecycleLimits): AlertDocument['severity'] {
  if (alert.isSeverityFixed || alert.severity === anomaly.severity) return alert.severity
  if (anomaly.severity === 'critical') return 'critical'
  return anomaly.ts - alert.severeTs >= limits.severityHoldMs ? 'warning' : 'critical'
}
