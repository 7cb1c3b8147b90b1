import { get, patch, post, postFile, remove } from './client.ts'
import type {
  Alert,
  AlertState,
  Anomaly,
  AnomalyExplanation,
  Certificate,
  Delivery,
  Device,
  DeviceState,
  DeviceType,
  EnrolmentToken,
  ExpiryForecast,
  ImportOutcome,
  IssuedCertificate,
  Latest,
  LedgerCounts,
  LedgerEntry,
  Page,
  Reading,
  Rejected,
  Severity,
  Webhook,
  WebhookWithSecret,
  Who,
} from './types.ts'

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
  latest: (device: string, signal?: AbortSignal) => get<Latest>(`/devices/${id(device)}/latest`, {}, signal),
  setState: (device: string, state: 'suspended' | 'active') => post<Device>(`/devices/${id(device)}/state`, { state }),
  types: () => get<Page<DeviceType>>('/device-types'),
  type: (type: string) => get<DeviceType>(`/device-types/${id(type)}`),
}

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

export const alerts = {
  list: (
    query: PageQuery & { state?: AlertState | undefined; device?: string; severity?: Severity | undefined } = {},
    signal?: AbortSignal,
  ) => get<Page<Alert>>('/alerts', { ...query }, signal),
  get: (alert: string, signal?: AbortSignal) => get<Alert>(`/alerts/${id(alert)}`, {}, signal),
  acknowledge: (alert: string, note?: string) => post<Alert>(`/alerts/${id(alert)}/ack`, noteOf(note)),
  resolve: (alert: string, note?: string) => post<Alert>(`/alerts/${id(alert)}/resolve`, noteOf(note)),
  silence: (alert: string, until: number, note?: string) => post<Alert>(`/alerts/${id(alert)}/silence`, { until, ...noteOf(note) }),
}

export const certificates = {
  list: (device: string, query: PageQuery = {}, signal?: AbortSignal) =>
    get<Page<Certificate>>('/certificates', { device, ...query }, signal),
  revoke: (serial: string, reason: string) => post<Certificate>(`/certificates/${id(serial)}/revoke`, { reason }),
}

export const webhooks = {
  list: (query: PageQuery = {}, signal?: AbortSignal) => get<Page<Webhook>>('/webhooks', { ...query }, signal),
  get: (webhook: string, signal?: AbortSignal) => get<Webhook>(`/webhooks/${id(webhook)}`, {}, signal),
  create: (body: { url: string; events: string[]; description: string }) => post<WebhookWithSecret>('/webhooks', body),
  change: (webhook: string, body: { enabled: boolean }) => patch<Webhook>(`/webhooks/${id(webhook)}`, body),
  remove: (webhook: string) => remove(`/webhooks/${id(webhook)}`),
  test: (webhook: string) => post<Delivery>(`/webhooks/${id(webhook)}/test`),
  deliveries: (webhook: string, query: PageQuery & { state?: string | undefined } = {}, signal?: AbortSignal) =>
    get<Page<Delivery>>(`/webhooks/${id(webhook)}/deliveries`, { ...query }, signal),
  replay: (webhook: string, delivery: string) => post<Delivery>(`/webhooks/${id(webhook)}/deliveries/${id(delivery)}/replay`),
}

function noteOf(note: string | undefined): { note?: string } {
  return note === undefined || note.trim() === '' ? {} : { note: note.trim() }
}
