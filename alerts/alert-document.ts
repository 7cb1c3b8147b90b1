import type { Alert, AlertChange } from '../contracts/alert.ts'
import type { CollectionSpec, Stored } from '../storage/documents/documents.ts'

export type ChangeKind = AlertChange['change']

/** Where an anomaly stood in its topic. */
export interface AnomalyPosition {
  partition: number
  offset: number
}

/** A change that is durable in the document and may not be in the `alerts` topic yet. */
export interface OutboxEntry {
  alertId: string
  sequence: number
  change: ChangeKind
  /** The anomaly behind it: its message is appended when that offset is committed. Null for people and timers, who append by themselves. */
  position: AnomalyPosition | null
}

/** An alert as it is stored, with what it takes to stay exact through crashes and races. */
export interface AlertDocument extends Alert {
  /**
   * Counts the alerts of one fingerprint. A new one is opened only after the last one was seen resolved, which is final, and
   * (fingerprint, generation) is unique: so there is at most one open alert per fingerprint under any race.
   */
  generation: number
  /** Of the last change. */
  sequence: number
  /** The last anomaly applied: earlier ones that come again change nothing. */
  position: AnomalyPosition
  /** The latest anomaly ids applied, newest first, bounded. */
  recentAnomalyIds: string[]
  /** Event time at which the cause cleared; null while it lasts. */
  clearedTs: number | null
  /** Wall time at which it resolves unless the cause returns; null when nothing is due. */
  resolveDueAt: number | null
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
    { name: 'due', paths: ['resolveDueAt'] },
    { name: 'unpublished', paths: ['unpublishedSince'] },
    { name: 'resolved', paths: ['resolvedAt'] },
  ],
}

/** The document without what the store added. */
export function bare(stored: StoredAlert): AlertDocument {
  const { _id, version: _version, ...document } = stored
  return document
}

/** What others may see of it. */
export function alertOf(document: AlertDocument): Alert {
  const { id, tenant, fingerprint, device, type, metric, cause, state, severity, title, startedAt, openedAt, updatedAt } = document
  const { resolvedAt, silencedUntil, anomalyCount, maxScore, firstAnomalyId, lastAnomalyId, explanation, correlationId } = document
  const { history, historyDropped } = document
  return {
    ...{ id, tenant, fingerprint, device, type, metric, cause, state, severity, title, startedAt, openedAt, updatedAt },
    ...{ resolvedAt, silencedUntil, anomalyCount, maxScore, firstAnomalyId, lastAnomalyId, explanation, correlationId },
    ...{ history, historyDropped },
  }
}
