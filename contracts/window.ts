export type WindowKind = 'tumbling' | 'hopping'

/** One closed (or corrected) event-time window of one metric, on topic `windows` (schema `window/1`). */
export interface WindowResult {
  /** `${tenant}/${device}/${metric}/${kind}/${sizeMs}/${startTs}`: the same window always has the same id. */
  id: string
  tenant: string
  device: string
  metric: string
  kind: WindowKind
  /** Inclusive start and exclusive end, epoch ms of event time. */
  startTs: number
  endTs: number
  sizeMs: number
  slideMs: number
  /** 1 at first emission; late data within the allowed lateness emits the next one, which replaces the last. */
  revision: number
  count: number
  min: number
  max: number
  mean: number
  /** Population standard deviation. */
  stddev: number
  first: number
  last: number
  p95: number
  /** The event-time watermark or the idle timeout closed it. */
  closedBy: 'watermark' | 'idle'
}
export const WINDOW = 'window/1'

/** A reading that came after its windows' allowed lateness, on topic `late` (schema `late-reading/1`): stored, but in no window. */
export interface LateReading {
  tenant: string
  device: string
  ts: number
  receivedAt: number
  /** How far behind the device's watermark it was. */
  latenessMs: number
  partition: number
  offset: number
}
export const LATE_READING = 'late-reading/1'
