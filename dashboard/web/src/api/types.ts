/**
 * What the API answers, as `/openapi.json` describes it. Times are epoch ms. Everything a device said (ids, metric names, text values)
 * is shown as text, never as markup.
 */

/** A page of a list; `next` is the cursor of the page after it, null at the end. */
export interface Page<T> {
  items: T[]
  next: string | null
}

/** Problem details, RFC 9457. */
export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  code: string
  errors?: { field: string; problem: string }[]
}

export interface Who {
  id: string
  /** `user`, `api-key` or `agent`. */
  kind: string
  tenant: string
  roles: string[]
}

export type DeviceState =
  'registered' | 'provisioned' | 'active' | 'suspended' | 'quarantined' | 'decommissioning' | 'decommissioned'

export interface Device {
  id: string
  tenant: string
  type: string
  state: DeviceState
  labels: Record<string, string>
  createdAt: number
  updatedAt: number
  version: number
}

export type MetricKind = 'number' | 'boolean' | 'string'
export type MetricValue = number | boolean | string

export interface MetricSpec {
  kind: MetricKind
  unit?: string
  min?: number
  max?: number
  required?: boolean
}

export interface DeviceType {
  id: string
  open: boolean
  metrics: Record<string, MetricSpec>
  version: number
}

export interface LatestReading {
  ts: number
  receivedAt: number
  values: Record<string, MetricValue>
}

export interface Latest {
  reading: LatestReading | null
  /** Metrics stored for the device's type, with their kinds. */
  metrics: Record<string, MetricKind>
}

export interface Reading {
  device: string
  ts: number
  receivedAt: number | null
  boot: string | null
  seq: number | null
  values: Record<string, MetricValue>
}

/** A reading on the live stream. */
export interface LiveReading {
  device: string
  ts: number
  receivedAt: number
  values: Record<string, MetricValue>
}

export type Severity = 'warning' | 'critical'

export interface Explanation {
  text: string
  observed: number | null
  expected: number | null
  low: number | null
  high: number | null
  wouldBeNormal?: number | null
  contributions: { part: string; weight: number; error?: number }[]
  detector: string
  detectorVersion: number
  parameters: Record<string, number | string | boolean>
  readingsSeen: number
}

export interface Anomaly {
  id: string
  device: string
  type: string
  /** Empty for what concerns the whole device. */
  metric: string
  cause: string
  ts: number
  receivedAt: number
  phase: string
  score: number
  confidence?: number
  severity: Severity
  explanation: Explanation
  partition: number
  offset: number
  correlationId: string
}

export interface AnomalyExplanation {
  anomaly: Anomaly
  explanation: Explanation
  readings: { ts: number; value: MetricValue }[]
  cases: { id: string; ts: number; score: number; likeness: number; verdict: string | null; cause: string }[]
}

export type AlertState = 'open' | 'acknowledged' | 'resolved'

export interface AlertHistoryEntry {
  at: number
  by: string
  action: string
  note?: string
}

/** What an alert rests on, beside its explanation. */
export interface Evidence {
  readings: { ts: number | null; metric: string; value: MetricValue | null; topic: string; partition: number | null; offset: number | null }[]
  window: { kind: string; startTs: number; endTs: number; revision: number | null; aggregate: string | null; value: number | null } | null
  versions: Record<string, string | number>
}

export interface Alert {
  id: string
  device: string
  type: string
  metric: string
  cause: string
  state: AlertState
  severity: Severity
  title: string
  startedAt: number
  openedAt: number
  updatedAt: number
  resolvedAt: number | null
  silencedUntil: number | null
  snoozedUntil: number | null
  suppressedBy: string | null
  quiet: { reason: 'maintenance' | 'dependency'; ref: string; until: number | null } | null
  incident: { id: string; level: string } | null
  assignee: string | null
  flapping: boolean
  escalation: number
  anomalyCount: number
  maxScore: number
  firstAnomalyId: string
  lastAnomalyId: string
  explanation: unknown
  evidence: Evidence
  rule: { id: string; version: number; name: string; summary: string; remedy: string } | null
  correlationId: string
  history: AlertHistoryEntry[]
  historyDropped: number
}

/** Alerts that belong together. */
export interface Incident {
  id: string
  level: 'device' | 'group' | 'cause'
  title: string
  cause: string
  state: AlertState
  severity: Severity
  escalation: number
  announced: boolean
  acknowledgedBy: string | null
  alertCount: number
  openCount: number
  acknowledgedCount: number
  devices: string[]
  openedAt: number
  updatedAt: number
  resolvedAt: number | null
}

export interface IncidentChange {
  id: string
  incident: Incident
}

/** An alert's change on the live stream. */
export interface AlertChange {
  id: string
  sequence: number
  change: string
  alert: Alert
}

export interface DeviceEvent {
  event: 'device-changed' | 'device-type-changed' | 'certificate-revoked'
  device?: string
  type?: string
  state?: DeviceState
  serial?: string
  reason?: string
  at: number
}

export interface Certificate {
  serial: string
  device: string
  state: 'valid' | 'revoked'
  notBefore: number
  notAfter: number
  issuedAt: number
  revokedAt: number | null
  reason: string | null
  door: string
  pem: string
}

/** How many certificates end when; each counts in the first bucket that it fits. */
export interface ExpiryForecast {
  at: number
  counts: Record<string, number>
  due: number
  late: number
  soonest: { device: string; serial: string; notAfter: number; stage: string; renewAt: number; lateAt: number }[]
}

export interface IssuedCertificate {
  device: string
  serial: string
  notAfter: number
  certificate: string
  ca: string
}

export interface EnrolmentToken {
  token: string
  deviceId: string
  expiresAt: number
}

export interface ImportRow {
  line: number
  id: string
  status: 'created' | 'changed' | 'unchanged' | 'failed'
  field?: string
  problem?: string
  token?: string
  tokenExpiresAt?: number
}

export interface ImportOutcome {
  dryRun: boolean
  summary: Record<ImportRow['status'], number>
  rows: ImportRow[]
}

export interface Rejected {
  id: string
  device: string
  receivedAt: number
  topic: string
  reason: string
  detail: string
  payloadBase64: string
  payloadBytes: number
  correlationId: string
}

export interface LedgerCounts {
  received: number
  acked: number
  stored: number
  rejected: number
  late: number
  duplicate: number
  missing: number
}

/** One boot of a device in one hour of receipt; ranges include both ends. */
export interface LedgerBoot {
  boot: string
  firstSeq: number
  lastSeq: number
  missing: number
  missingRanges: { from: number; to: number }[]
  /** Gaps that are not reported any more. */
  unreportedGaps: number
}

export interface LedgerEntry extends LedgerCounts {
  device: string
  hour: number
  rejectedByReason: Record<string, number>
  boots: LedgerBoot[]
  bootsTruncated: boolean
}

export interface AuditEntry {
  seq: number
  at: number
  actor: string
  origin?: string
  action: string
  subject: { kind: string; id: string }
  device?: string
  outcome: 'done' | 'refused' | 'failed'
  why?: string
  before?: unknown
  after?: unknown
  count?: number
  correlationId?: string
  previousHash: string
  hash: string
}

export interface AuditCheckpoint {
  seq: number
  at: number
  hash: string
  jws: string
}

export type FindingSeverity = 'critical' | 'high' | 'medium' | 'low'
export type FindingState = 'open' | 'suppressed' | 'resolved'

export interface Finding {
  id: string
  check: string
  severity: FindingSeverity
  subject: { kind: string; id: string }
  device: string | null
  title: string
  remedy: string
  evidence: Record<string, unknown>
  state: 'open' | 'resolved'
  firstSeenAt: number
  lastSeenAt: number
  resolvedAt: number | null
  suppressedUntil: number
  suppressedBy: string | null
  suppressedWhy: string | null
}

export interface SecurityScore {
  score: number
  devices: number
  counts: Record<FindingSeverity, number>
  suppressed: number
  worst: { device: string; score: number; findings: number }[]
  lastRun: { by: string; startedAt: number; finishedAt: number | null; certificates: number; open: number } | null
}

/** How far a device is on its way out. */
export interface LeavingJob {
  kind: 'decommission' | 'transfer'
  to: { tenant: string; device: string } | null
  by: string
  why: string | null
  requestedAt: number
  state: 'running' | 'done'
  step: string
  steps: { name: string; doneAt: number; result: Record<string, unknown> }[]
  trouble: string | null
}

export interface CertificateAuthorityFacts {
  id: string
  role: 'root' | 'issuing'
  state: string
  subject: string
  algorithm: string
  key: string
  notAfter: number
  validCertificates?: number
  crl?: { number: number; nextUpdate: number }
}
export interface CertificateAuthorities {
  items: CertificateAuthorityFacts[]
}

export interface Claim {
  id: string
  type: string | null
  devices: string
  devicesMax: number
  devicesUsed: number
  expiresAt: number
  state: 'active' | 'revoked'
}

export interface FactoryAuthority {
  id: string
  subject: string
  notAfter: number
  template: { type: string; deviceId: string }
  state: string
}
