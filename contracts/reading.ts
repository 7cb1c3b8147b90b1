/** A metric's value as a device sends it. */
export type MetricValue = number | boolean | string

/**
 * One reading, on topic `readings` (schema `reading/1`) as JSON: what a device says about one instant.
 * Hot path: hand-checked by ingest, so there is no schema object here.
 */
export interface Reading {
  tenant: string
  device: string
  /** Device type at receipt. */
  type: string
  /** Epoch ms at which the broker received it. */
  receivedAt: number
  /** From the MQTT packet to the webhook: one publish, one id. */
  correlationId: string
  /** Event time, epoch ms: the device's, or `receivedAt` when it sent none. */
  ts: number
  /** True when the device sent no `ts`. */
  tsAbsent?: true
  boot?: string
  seq?: number
  values: Record<string, MetricValue>
}
export const READING = 'reading/1'

/** A reading at its place in the log, after de-duplication: what processing and anomaly operators see. */
export interface LoggedReading extends Reading {
  partition: number
  offset: number
}

export const REJECT_REASONS = [
  'undecodable',
  'not-an-object',
  'bad-field',
  'no-values',
  'too-many-metrics',
  'bad-metric-name',
  'bad-value',
  'unknown-metric',
  'missing-metric',
  'metric-kind-changed',
  'out-of-range',
  'too-old',
  'too-far-in-future',
  'array-too-long',
  'unknown-device',
  'device-refused',
  'quarantined',
  'bad-topic',
] as const
export type RejectReason = (typeof REJECT_REASONS)[number]

/** A reading that was acknowledged and set aside, on topic `rejected` (schema `rejected-reading/1`). */
export interface RejectedReading {
  tenant: string
  device: string
  receivedAt: number
  correlationId: string
  topic: string
  reason: RejectReason
  /** One sentence naming the field and the bound it broke. */
  detail: string
  /** The payload as it arrived, base64; cut at the configured bound. */
  payloadBase64: string
  /** Bytes of the whole payload. */
  payloadBytes: number
  boot?: string
  seq?: number
}
export const REJECTED_READING = 'rejected-reading/1'
