import { get, patch, post, postFile, put, remove } from './client.ts'
import type {
  AnomalyPolicy,
  Delivery,
  MaintenanceWindow,
  PoliciesView,
  Routing,
  RoutingPreview,
  RoutingView,
  Rule,
  RulePreview,
  RuleSettings,
  Webhook,
  WebhookSettings,
  WebhookWithSecret,
} from './alerting-types.ts'
import type { Conversation, ConversationState, Digest, DigestRating, Evidence, ProactiveQuality } from './conversation-types.ts'
import type { Feedback, FeedbackScope } from './feedback-types.ts'
import type {
  Alert,
  AlertState,
  Anomaly,
  AnomalyExplanation,
  AuditCheckpoint,
  AuditEntry,
  Certificate,
  CertificateAuthorities,
  Claim,
  Device,
  DeviceState,
  DeviceType,
  EnrolmentToken,
  ExpiryForecast,
  FactoryAuthority,
  Finding,
  FindingState,
  ImportOutcome,
  Incident,
  IssuedCertificate,
  Latest,
  LeavingJob,
  LedgerCounts,
  LedgerEntry,
  Page,
  Reading,
  Rejected,
  SecurityScore,
  Severity,
  Who,
} from './types.ts'
import type { ApiKey, NewApiKey } from './key-types.ts'
import type { ModelCard } from './model-types.ts'
import type { Proposal, ProposalState } from './proposal-types.ts'

interface PageQuery {
  limit?: number | undefined
  cursor?: string | undefined
}
const id = encodeURIComponent

export const session = {
  who: () => get<Who>('/session'),
  open: (token: string) => post<Who>('/session', { token }),
  close: () => remove('/session'),
}

export const devices = {
  list: (query: PageQuery & { text?: string; state?: DeviceState | undefined; type?: string | undefined } = {}, signal?: AbortSignal) =>
    get<Page<Device>>('/devices', { ...query }, signal),
  get: (device: string) => get<Device>(`/devices/${id(device)}`),
  learning: (device: string) => get<{ learning: boolean; text: string }>(`/devices/${id(device)}/learning`),
  latest: (device: string, signal?: AbortSignal) => get<Latest>(`/devices/${id(device)}/latest`, {}, signal),
  setState: (device: string, state: 'suspended' | 'active') => post<Device>(`/devices/${id(device)}/state`, { state }),
  decommission: (device: string, body: { readings: 'keep' | 'erase'; wipe: boolean; why?: string }) =>
    post<LeavingJob>(`/devices/${id(device)}/decommission`, body),
  leaving: (device: string, signal?: AbortSignal) => get<LeavingJob>(`/devices/${id(device)}/decommission`, {}, signal),
  types: () => get<Page<DeviceType>>('/device-types'),
  type: (type: string) => get<DeviceType>(`/device-types/${id(type)}`),
}

/** A device's signed receipt, for a link. */
export const receiptPath = (device: string): string => `/api/v1/devices/${id(device)}/receipt`

export const provisioning = {
  register: (body: { id: string; type: string; labels: Record<string, string> }) => post<Device>('/devices', body),
  token: (deviceId: string) => post<EnrolmentToken>('/enrolment-tokens', { deviceId }),
  certificate: (device: string, csr: string) => post<IssuedCertificate>(`/devices/${id(device)}/certificates`, { csr }),
  importFile: (file: Blob, query: { dryRun?: boolean; tokens?: boolean }) => postFile<ImportOutcome>('/devices/import', file, 'text/csv', query),
  forecast: (signal?: AbortSignal) => get<ExpiryForecast>('/certificates/forecast', { limit: 20 }, signal),
}

export interface ReadingQuery extends PageQuery {
  device?: string
  metric?: string
  from?: number | undefined
  to?: number | undefined
  interval?: string | undefined
}
export const readings = {
  list: (query: ReadingQuery, signal?: AbortSignal) => get<Page<Reading>>('/readings', { ...query }, signal),
  rejected: (query: PageQuery & { device?: string; reason?: string | undefined }, signal?: AbortSignal) =>
    get<Page<Rejected>>('/rejected', { ...query }, signal),
}

export const ledger = {
  summary: (signal?: AbortSignal) => get<LedgerCounts>('/ledger', { summary: true }, signal),
  list: (query: PageQuery & { device?: string; from?: number | undefined }, signal?: AbortSignal) =>
    get<Page<LedgerEntry>>('/ledger', { ...query }, signal),
}

export const anomalies = {
  list: (
    query: PageQuery & { device?: string; metric?: string; from?: number | undefined; to?: number | undefined },
    signal?: AbortSignal,
  ) => get<Page<Anomaly>>('/anomalies', { ...query }, signal),
  explanation: (anomaly: string, signal?: AbortSignal) => get<AnomalyExplanation>(`/anomalies/${id(anomaly)}/explanation`, {}, signal),
}

export const feedback = {
  of: (anomaly: string, signal?: AbortSignal) => get<Page<Feedback>>('/feedback', { anomaly }, signal),
  get: (feedback: string) => get<Feedback>(`/feedback/${id(feedback)}`),
  give: (anomaly: string, body: { verdict: Feedback['verdict']; cause?: string; scope: FeedbackScope }) =>
    post<Feedback>(`/anomalies/${id(anomaly)}/feedback`, body),
  move: (feedback: string, step: 'preview' | 'apply' | 'undo' | 'withdraw') => post<Feedback>(`/feedback/${id(feedback)}/${step}`, {}),
}

export const alerts = {
  list: (
    query: PageQuery & { state?: AlertState | undefined; device?: string; severity?: Severity | undefined; incident?: string } = {},
    signal?: AbortSignal,
  ) => get<Page<Alert>>('/alerts', { ...query }, signal),
  get: (alert: string, signal?: AbortSignal) => get<Alert>(`/alerts/${id(alert)}`, {}, signal),
  acknowledge: (alert: string, note?: string) => post<Alert>(`/alerts/${id(alert)}/ack`, noteOf(note)),
  resolve: (alert: string, note?: string) => post<Alert>(`/alerts/${id(alert)}/resolve`, noteOf(note)),
  act: (alert: string, step: AlertStep, body: object) => post<Alert>(`/alerts/${id(alert)}/${step}`, body),
  silence: (alert: string, until: number, note?: string) => post<Alert>(`/alerts/${id(alert)}/silence`, { until, ...noteOf(note) }),
}

export type AlertStep = 'ack' | 'resolve' | 'reopen' | 'silence' | 'snooze' | 'suppress' | 'restore' | 'assign' | 'comment' | 'severity'

export const incidents = {
  list: (query: PageQuery & { state?: AlertState | undefined } = {}, signal?: AbortSignal) =>
    get<Page<Incident>>('/incidents', { ...query }, signal),
  get: (incident: string, signal?: AbortSignal) => get<Incident>(`/incidents/${id(incident)}`, {}, signal),
  acknowledge: (incident: string) => post<Incident>(`/incidents/${id(incident)}/ack`),
  resolve: (incident: string) => post<Incident>(`/incidents/${id(incident)}/resolve`),
}

export interface ConversationQuery extends PageQuery {
  search?: string
  device?: string
  incident?: string
  state?: ConversationState | undefined
  severity?: Severity | undefined
  from?: number | undefined
}
export const conversations = {
  list: (query: ConversationQuery = {}, signal?: AbortSignal) => get<Page<Conversation>>('/conversations', { ...query }, signal),
  get: (conversation: string, signal?: AbortSignal) => get<Conversation>(`/conversations/${id(conversation)}`, {}, signal),
  say: (conversation: string, body: { content: string; kind: 'question' | 'message' | 'statement'; to?: string }) =>
    post<Conversation>(`/conversations/${id(conversation)}/messages`, body),
  /** How far oneself got: marks never go back. */
  receive: (conversation: string, upTo: { kind: 'read' | 'delivered'; seq: number }) =>
    post<Conversation>(`/conversations/${id(conversation)}/receipts`, upTo),
  act: (conversation: string, step: 'join' | 'leave' | 'recheck' | 'terminate') => post<Conversation>(`/conversations/${id(conversation)}/${step}`),
}

export const proactive = {
  quality: (signal?: AbortSignal) => get<ProactiveQuality>('/proactive-quality', {}, signal),
}

/** A conversation's own WebSocket, from after this place on. */
export function socketPath(conversation: string, afterSeq: number): string {
  return `${location.origin.replace(/^http/, 'ws')}/api/v1/conversations/${id(conversation)}/socket?afterSeq=${afterSeq}`
}

export const digests = {
  get: (incident: string, signal?: AbortSignal) => get<Digest>(`/incidents/${id(incident)}/digest`, {}, signal),
  rate: (incident: string, body: { revision: number } & Pick<DigestRating, 'stars' | 'verdict' | 'note'>) =>
    post<Digest>(`/incidents/${id(incident)}/feedback`, body),
}

export const evidence = {
  get: (evidence: string, signal?: AbortSignal) => get<Evidence>(`/evidence/${id(evidence)}`, {}, signal),
}

export const proposals = {
  list: (query: PageQuery & { state?: ProposalState | undefined; incident?: string | undefined }, signal?: AbortSignal) =>
    get<Page<Proposal>>('/proposals', { ...query }, signal),
  /** With what it would change now. */
  get: (proposal: string, signal?: AbortSignal) => get<Proposal>(`/proposals/${id(proposal)}`, {}, signal),
  approve: (proposal: string, diffHash: string) => post<Proposal>(`/proposals/${id(proposal)}/approve`, { diffHash }),
  reject: (proposal: string, reason: string) => post<Proposal>(`/proposals/${id(proposal)}/reject`, { reason }),
}

export const apiKeys = {
  list: (query: PageQuery, signal?: AbortSignal) => get<Page<ApiKey>>('/api-keys', { ...query }, signal),
  create: (key: NewApiKey) => post<{ key: ApiKey; secret: string }>('/api-keys', key),
  revoke: (key: string) => post<ApiKey>(`/api-keys/${id(key)}/revoke`),
}

export const maintenance = {
  list: (signal?: AbortSignal) => get<Page<MaintenanceWindow>>('/maintenance', {}, signal),
  create: (body: Pick<MaintenanceWindow, 'name' | 'matchers' | 'once' | 'weekly'>) => post<MaintenanceWindow>('/maintenance', body),
  remove: (window: string) => remove(`/maintenance/${id(window)}`),
}

export const routing = {
  get: (signal?: AbortSignal) => get<RoutingView>('/routing', {}, signal),
  replace: (tree: Routing, version: number) => put<RoutingView>('/routing', tree, version),
  preview: (labels: Record<string, string>, tree: Routing) => post<RoutingPreview>('/routing/preview', { labels, routing: tree }),
}

export const policies = {
  get: (signal?: AbortSignal) => get<PoliciesView>('/detectors/policies', {}, signal),
  replace: (list: AnomalyPolicy[], version: number) => put<PoliciesView>('/detectors/policies', { policies: list }, version),
}

export const rules = {
  list: (signal?: AbortSignal) => get<Page<Rule>>('/rules', {}, signal),
  create: (settings: RuleSettings) => post<Rule>('/rules', settings),
  replace: (rule: string, settings: RuleSettings, version: number) => put<Rule>(`/rules/${id(rule)}`, settings, version),
  remove: (rule: string, version: number) => remove(`/rules/${id(rule)}`, version),
  preview: (rule: RuleSettings) => post<RulePreview>('/rules/preview', { rule }),
}

export const certificates = {
  list: (device: string, query: PageQuery = {}, signal?: AbortSignal) =>
    get<Page<Certificate>>('/certificates', { device, ...query }, signal),
  revoke: (serial: string, reason: string) => post<Certificate>(`/certificates/${id(serial)}/revoke`, { reason }),
}

export const trust = {
  authorities: (signal?: AbortSignal) => get<CertificateAuthorities>('/certificates/authorities', {}, signal),
  roll: () => post<{ id: string }>('/certificates/authorities/roll'),
  claims: (signal?: AbortSignal) => get<Page<Claim>>('/claims', {}, signal),
  revokeClaim: (claim: string, withDevices: boolean) =>
    post<{ revokedCertificates: number }>(`/claims/${id(claim)}/revoke`, { devices: withDevices }),
  factories: (signal?: AbortSignal) => get<Page<FactoryAuthority>>('/factory-authorities', {}, signal),
  removeFactory: (authority: string) => remove(`/factory-authorities/${id(authority)}`),
}

export const webhooks = {
  list: (query: PageQuery = {}, signal?: AbortSignal) => get<Page<Webhook>>('/webhooks', { ...query }, signal),
  get: (webhook: string, signal?: AbortSignal) => get<Webhook>(`/webhooks/${id(webhook)}`, {}, signal),
  create: (body: { url: string; events: string[]; description: string } & WebhookSettings) => post<WebhookWithSecret>('/webhooks', body),
  change: (webhook: string, body: Partial<WebhookSettings> & { enabled?: boolean; description?: string; events?: string[] }) => patch<Webhook>(`/webhooks/${id(webhook)}`, body),
  remove: (webhook: string) => remove(`/webhooks/${id(webhook)}`),
  test: (webhook: string) => post<Delivery>(`/webhooks/${id(webhook)}/test`),
  deliveries: (webhook: string, query: PageQuery & { state?: string | undefined } = {}, signal?: AbortSignal) =>
    get<Page<Delivery>>(`/webhooks/${id(webhook)}/deliveries`, { ...query }, signal),
  replayAll: (webhook: string) => post<{ replayed: number }>(`/webhooks/${id(webhook)}/replay`),
  replay: (webhook: string, delivery: string) => post<Delivery>(`/webhooks/${id(webhook)}/deliveries/${id(delivery)}/replay`),
}

export interface AuditQuery extends PageQuery {
  device?: string | undefined
  actor?: string | undefined
  action?: string | undefined
  outcome?: string | undefined
}
export const audit = {
  list: (query: AuditQuery, signal?: AbortSignal) => get<Page<AuditEntry>>('/audit', { ...query }, signal),
  checkpoint: (signal?: AbortSignal) => get<AuditCheckpoint | null>('/audit/checkpoint', {}, signal),
}

export const findings = {
  list: (query: PageQuery & { state?: FindingState | undefined; device?: string | undefined }, signal?: AbortSignal) =>
    get<Page<Finding>>('/findings', { ...query }, signal),
  score: (signal?: AbortSignal) => get<SecurityScore>('/findings/score', {}, signal),
  check: () => post<SecurityScore['lastRun']>('/findings/check', {}),
  suppress: (finding: string, until: number, why: string) => post<Finding>(`/findings/${id(finding)}/suppress`, { until, why }),
  restore: (finding: string) => post<Finding>(`/findings/${id(finding)}/restore`),
}

export type ModelAct = 'cancel' | 'resume' | 'promote' | 'rollback' | 'retire'
export const models = {
  list: (signal?: AbortSignal) => get<Page<ModelCard>>('/models', { limit: 100 }, signal),
  train: (type: string) => post<ModelCard>('/models', { type }),
  act: (model: string, act: ModelAct) => post<ModelCard>(`/models/${id(model)}/${act}`),
}

function noteOf(note: string | undefined): { note?: string } {
  return note === undefined || note.trim() === '' ? {} : { note: note.trim() }
}
