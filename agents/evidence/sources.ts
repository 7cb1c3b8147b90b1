import type { Alert } from '../../contracts/alert.ts'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { MetricValue } from '../../contracts/reading.ts'
import type { Tainted } from './tainted.ts'

/** Of what is asked for, at most so many; `truncated` says that there was more. */
export interface Answer<T> {
  items: T[]
  truncated: boolean
}

export interface SourceReading {
  device: string
  /** Event time and receipt, epoch ms. */
  ts: number
  receivedAt: number
  boot: Tainted | null
  values: Readonly<Record<string, MetricValue>>
}

export interface ReadingsAsk {
  tenant: string
  /** One or more; the limit is of all together. */
  devices: readonly string[]
  /** Only readings that carry it, with it alone. */
  metric?: string
  /** Event time, epoch ms, first included and last not. */
  fromTs?: number
  toTs?: number
  /** Newest first: what is cut off is the oldest. */
  limit: number
  /** When it aborts, nobody waits for the answer any more: it is given up, wherever it is. */
  signal?: AbortSignal
}

/** What the registry knows of a device. */
export interface DeviceFact {
  device: string
  type: string
  state: string
  site: Tainted | null
}

/** What an operator or the type says of a metric; null where it says nothing. */
export interface MetricFact {
  unit: Tainted | null
  min: number | null
  max: number | null
}

/** What can change about a device: closed, so that it can be said to a model. */
export const CHANGE_KINDS = ['firmware', 'config', 'certificate', 'lifecycle', 'type'] as const
export type ChangeKind = (typeof CHANGE_KINDS)[number]

/** Something that somebody did to a device, or to its type. */
export interface RegistryChange {
  id: string
  /** Epoch ms. */
  at: number
  kind: ChangeKind
  device: string | null
}

export const SECURITY_FACTS = ['identity-shared', 'certificate-revoked', 'certificate-weak', 'certificate-due'] as const
/** What the security posture says: somebody else uses its key or certificate, a revoked certificate was seen, a weak one, an old one. */
export type SecurityFact = (typeof SECURITY_FACTS)[number]

export interface SecurityFinding {
  id: string
  fact: SecurityFact
  /** Epoch ms; `until` null while it is open. */
  from: number
  until: number | null
}

export interface MaintenanceFact {
  id: string
  from: number
  until: number
}

/** One hour of the ledger of one device. The numbers of the hour under way grow; `version` grows with each change. */
export interface LedgerFact {
  /** Start of the hour of receipt, epoch ms. */
  hour: number
  version: number
  stored: number
  rejected: number
  /** Of the rejected: for a time too old or too far ahead. */
  rejectedForTime: number
  /** Of the rejected: for what was in the payload. */
  rejectedForContent: number
  late: number
  duplicate: number
  missing: number
}

/** How far the store has come: the next offset that it will store, by partition of the readings. */
export interface StoreProgress {
  stored: { partition: number; nextOffset: number }[]
}

/** An incident of before, as its last digest left it. */
export interface PastIncident {
  incident: string
  openedAt: number
  resolvedAt: number | null
  /** When its digest was published, epoch ms. */
  publishedAt: number
  features: readonly number[]
  /** Cause code and level of its digest. */
  cause: string
  level: string
  /** What people said of the digest; null: nothing. */
  rating: { stars: number; verdict: string } | null
  /** Somebody resolved it, or it went away. */
  resolution: 'operator' | 'by-itself' | 'open'
}

/**
 * Everything that a digest may rest on, and nothing else. Wired by `app/` to the stores; every call may throw, which is said in the digest.
 * No answer is larger than its `limit`.
 */
export interface Sources {
  readings(ask: ReadingsAsk): Promise<Answer<SourceReading>>
  /** Null for one that is not, or no longer, kept. */
  anomaly(tenant: string, id: string): Promise<Anomaly | null>
  /** Of one incident, the first opened first. */
  alerts(ask: { tenant: string; incident: string; limit: number }): Promise<Answer<Alert>>
  /** Null for an unknown device. */
  device(tenant: string, device: string): Promise<DeviceFact | null>
  metric(tenant: string, type: string, metric: string): Promise<MetricFact>
  /** Other devices of the type that are in use. */
  peers(ask: { tenant: string; type: string; except: string; limit: number }): Promise<Answer<DeviceFact>>
  /** What was done to the device or its type, newest first; both times included. */
  changes(ask: {
    tenant: string
    device: string
    type: string
    fromMs: number
    toMs: number
    limit: number
  }): Promise<Answer<RegistryChange>>
  findings(ask: { tenant: string; device: string; limit: number }): Promise<Answer<SecurityFinding>>
  /** Maintenance windows that match the device and were on at this time. */
  maintenance(ask: { tenant: string; device: string; type: string; atMs: number }): Promise<MaintenanceFact[]>
  /** Hours of receipt that overlap, oldest first. */
  ledger(ask: { tenant: string; device: string; fromMs: number; toMs: number }): Promise<LedgerFact[]>
  progress(): Promise<StoreProgress>
  /** Incidents that opened before, newest first, each with the digest that was published last by `asOf`. */
  past(ask: { tenant: string; beforeMs: number; asOf: number; except: string; limit: number }): Promise<Answer<PastIncident>>
}
