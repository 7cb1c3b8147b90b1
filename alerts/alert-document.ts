import type { Alert, AlertChangeKind } from '../contracts/alert.ts'
import { NO_EVIDENCE } from '../contracts/evidence.ts'
import { GATEWAY_LABEL } from '../contracts/device-facts.ts'
import type { CollectionSpec, Stored } from '../storage/documents/documents.ts'

/** Where an anomaly stood in its topic. */
export interface AnomalyPosition {
  partition: number
  offset: number
}

/** A change that is durable in the document and may not be in the `alerts` topic yet. */
export interface OutboxEntry {
  alertId: string
  sequence: number
  change: AlertChangeKind
  /** The anomaly behind it: its message is appended when that offset is committed. Null for people and timers, who append by themselves. */
  position: AnomalyPosition | null
}

/** Wall times, epoch ms, at which something happens by itself; null where nothing is due. They live here, and so survive restarts. */
export interface AlertTimes {
  /** Resolves unless the cause returns. */
  resolve: number | null
  /** Resolves because nothing was heard of it for so long. */
  stale: number | null
  /** The snooze ends. */
  wake: number | null
  /** The next step of escalation. */
  escalate: number | null
  /** Whether it is still to be quiet is asked again. */
  quiet: number | null
}
export const NO_TIMES: AlertTimes = { resolve: null, stale: null, wake: null, escalate: null, quiet: null }

/** An alert as it is stored, with what it takes to stay exact through crashes and races. */
export interface AlertDocument extends Alert {
  /**
   * Counts the alerts of one fingerprint. A new one is opened only after the last one was resolved and marked `isFinal`, and
   * (fingerprint, generation) is unique: so there is at most one open alert per fingerprint under any race.
   */
  generation: number
  /** Resolved for good: another alert of its fingerprint follows, so it cannot be reopened. */
  isFinal: boolean
  /** Of the last change. */
  sequence: number
  /** The last anomaly applied: earlier ones that come again change nothing. */
  position: AnomalyPosition
  /**
   * The last one applied of each other partition, at most one for each: a cause keeps to its device's partition until the topic gets more of
   * them. Inherited by the next alert of the fingerprint.
   */
  elsewhere: AnomalyPosition[]
  /** The latest anomaly ids applied, newest first, bounded. */
  recentAnomalyIds: string[]
  /** Event time at which the cause cleared; null while it lasts. */
  clearedTs: number | null
  /** Event times at which the cause came back, latest first, bounded: they make it flap. Inherited by the next alert of the fingerprint. */
  flapTs: number[]
  /** Event time of the latest anomaly as severe as the alert. */
  severeTs: number
  /** A person chose the severity: anomalies do not change it any more. */
  isSeverityFixed: boolean
  times: AlertTimes
  /** The earliest of `times`: what the sweep looks for. */
  dueAt: number | null
  outbox: OutboxEntry[]
  /** Wall time of the oldest change by people or timers whose message may not have been appended; null when there is none. */
  unpublishedSince: number | null
}

export type StoredAlert = AlertDocument & Stored

export const ALERTS_COLLECTION: CollectionSpec = {
  name: 'alerts',
  indexes: [
    { name: 'fingerprint', paths: ['fingerprint', 'generation'], unique: true },
    { name: 'newest', paths: ['tenant', 'id'] },
    { name: 'by-state', paths: ['tenant', 'state', 'id'] },
    { name: 'by-device', paths: ['tenant', 'device', 'id'] },
    { name: 'by-due', paths: ['dueAt'] },
    { name: 'by-quiet', paths: ['quiet.ref', 'id'] },
    { name: 'by-incident', paths: ['incident.id', 'state', 'id'] },
    { name: 'by-gateway', paths: ['tenant', `labels.${GATEWAY_LABEL}`, 'state', 'id'] },
    { name: 'unpublished', paths: ['unpublishedSince'] },
    { name: 'resolved', paths: ['resolvedAt'] },
  ],
}

/** What documents of before have not. */
interface FormerDocument {
  times?: AlertTimes
  resolveDueAt?: number | null
}

/** The document without what the store added, in today's shape. */
export function bare(stored: StoredAlert): AlertDocument {
  const { _id, version: _version, resolveDueAt = null, ...kept } = stored as StoredAlert & FormerDocument
  const { evidence = NO_EVIDENCE, rule = null, elsewhere = [], ...others } = kept
  const document = { ...others, evidence, rule, elsewhere }
  if (document.times !== undefined) return document
  return {
    ...{
      labels: {},
      snoozedUntil: null,
      suppressedBy: null,
      quiet: null,
      incident: null,
      assignee: null,
      flapping: false,
      escalation: 0,
      announced: true,
    },
    ...{ isFinal: false, flapTs: [], severeTs: document.startedAt, isSeverityFixed: false },
    ...document,
    times: { ...NO_TIMES, resolve: resolveDueAt },
    dueAt: resolveDueAt,
  }
}

/** What others may see of it. */
export function alertOf(document: AlertDocument): Alert {
  const { generation, isFinal, sequence, position, recentAnomalyIds, clearedTs, flapTs, severeTs, isSeverityFixed, ...rest } = document
  const { elsewhere, times, dueAt, outbox, unpublishedSince, ...alert } = rest
  return alert
}

/** With the earliest of its times where the sweep finds it. */
export function withTimes(alert: AlertDocument, changes: Partial<AlertTimes>): AlertDocument {
  const times = { ...alert.times, ...changes }
  const due = Object.values(times).filter((time): time is number => time !== null)
  return { ...alert, times, dueAt: due.length === 0 ? null : Math.min(...due) }
}
