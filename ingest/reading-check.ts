import type { DeviceType, MetricKind } from '../contracts/device.ts'
import type { RejectReason } from '../contracts/reading.ts'
import type { IngestConfig } from './config.ts'

/** A reading as a device sends it: `{"ts":…,"boot":…,"seq":…,"values":{…}}`. */
export interface RawReading {
  ts?: number
  boot?: string
  seq?: number
  values: Record<string, number | boolean | string>
}

export interface Rejection {
  reason: RejectReason
  detail: string
}

/** Kinds of the metrics known for one type, and the way to learn a new one. */
export interface KnownMetrics {
  get(metric: string): MetricKind | undefined
  readonly size: number
}

export type ReadingCheck =
  | { status: 'accepted'; onlyKnownKeys: boolean }
  | { status: 'rejected'; rejection: Rejection }
  /** Valid so far, but these metrics were never seen for this type: declare them, then check again. */
  | { status: 'new-metrics'; metrics: ReadonlyMap<string, MetricKind> }

const ACCEPTED: ReadingCheck = { status: 'accepted', onlyKnownKeys: true }
const ACCEPTED_WITH_EXTRAS: ReadingCheck = { status: 'accepted', onlyKnownKeys: false }
const BOOT_CHARACTERS_MAX = 64
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/

/** Checks one decoded reading against the bounds, the event-time range and the device type. Hot path: allocates only when it refuses. */
export function checkReading(reading: unknown, type: DeviceType, known: KnownMetrics, config: IngestConfig, receivedAt: number): ReadingCheck {
  if (typeof reading !== 'object' || reading === null || Array.isArray(reading)) return reject('not-an-object', 'a reading is a JSON object with "values"')
  const raw = reading as Record<string, unknown>
  let onlyKnownKeys = true
  for (const key in raw) {
    if (key !== 'values' && key !== 'seq' && key !== 'ts' && key !== 'boot') onlyKnownKeys = false
  }
  const fields = checkFields(raw, type, receivedAt)
  if (fields !== null) return fields
  const values = raw.values
  if (typeof values !== 'object' || values === null || Array.isArray(values)) return reject('no-values', '"values" must be an object of metric values')
  const checked = checkValues(values as Record<string, unknown>, type, known, config)
  if (checked !== null) return checked
  return onlyKnownKeys ? ACCEPTED : ACCEPTED_WITH_EXTRAS
}

function checkFields(raw: Record<string, unknown>, type: DeviceType, receivedAt: number): ReadingCheck | null {
  const { ts, boot, seq } = raw
  if (ts !== undefined) {
    if (typeof ts !== 'number' || !Number.isSafeInteger(ts)) return reject('bad-field', '"ts" must be whole milliseconds since the Unix epoch')
    if (ts < type.earliestTs) return reject('too-old', `"ts" ${ts} is before ${new Date(type.earliestTs).toISOString()}, the earliest accepted`)
    if (ts > receivedAt + type.futureToleranceMs) {
      return reject('too-far-in-future', `"ts" is ${ts - receivedAt} ms after receipt; at most ${type.futureToleranceMs} ms are accepted`)
    }
  }
  if (seq !== undefined && (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 0)) return reject('bad-field', '"seq" must be a whole number from 0')
  if (boot !== undefined && (typeof boot !== 'string' || boot.length === 0 || boot.length > BOOT_CHARACTERS_MAX)) {
    return reject('bad-field', `"boot" must be a text of 1 to ${BOOT_CHARACTERS_MAX} characters`)
  }
  return null
}

function checkValues(values: Record<string, unknown>, type: DeviceType, known: KnownMetrics, config: IngestConfig): ReadingCheck | null {
  let count = 0
  let fresh: Map<string, MetricKind> | null = null
  for (const metric in values) {
    count++
    const value = values[metric]
    const kind = typeof value
    if (known.get(metric) !== kind) {
      const trouble = checkUnfamiliar(metric, value, type, known, config)
      if (trouble !== null) return trouble
      fresh ??= new Map()
      fresh.set(metric, kind as MetricKind)
    }
    if (kind === 'number' && !Number.isFinite(value)) return reject('bad-value', `"${metric}" is not a finite number`)
    if (kind === 'string' && (value as string).length > config.stringValueCharactersMax) {
      return reject('bad-value', `"${metric}" is a text of more than ${config.stringValueCharactersMax} characters`)
    }
    const spec = type.metrics[metric]
    if (spec !== undefined && kind === 'number') {
      if (spec.min !== undefined && (value as number) < spec.min) return reject('out-of-range', `"${metric}" ${String(value)} is below ${spec.min}`)
      if (spec.max !== undefined && (value as number) > spec.max) return reject('out-of-range', `"${metric}" ${String(value)} is above ${spec.max}`)
    }
  }
  if (count === 0) return reject('no-values', '"values" holds no metric')
  if (count > config.metricsPerReadingMax) return reject('too-many-metrics', `${count} metrics; at most ${config.metricsPerReadingMax} are accepted in a reading`)
  for (const metric in type.metrics) {
    if (type.metrics[metric]?.required === true && !(metric in values)) return reject('missing-metric', `"${metric}" is required by type ${type.id}`)
  }
  if (fresh === null) return null
  if (known.size + fresh.size > config.metricsPerTypeMax) {
    return reject('too-many-metrics', `type ${type.id} would have more than ${config.metricsPerTypeMax} metrics`)
  }
  return { status: 'new-metrics', metrics: fresh }
}

/** A metric that is new for the type, or whose kind is not the one known. */
function checkUnfamiliar(metric: string, value: unknown, type: DeviceType, known: KnownMetrics, config: IngestConfig): ReadingCheck | null {
  const kind = typeof value
  if (kind !== 'number' && kind !== 'boolean' && kind !== 'string') return reject('bad-value', `"${metric}" must be a number, a boolean or a text`)
  const expected = type.metrics[metric]?.kind ?? known.get(metric)
  if (expected !== undefined && expected !== kind) return reject('metric-kind-changed', `"${metric}" is a ${kind} here, but a ${expected} for type ${type.id}`)
  if (metric.length === 0 || metric.length > config.metricNameCharactersMax || CONTROL_CHARACTER.test(metric) || metric === '__proto__') {
    return reject('bad-metric-name', `a metric name has 1 to ${config.metricNameCharactersMax} characters and no control characters`)
  }
  if (!type.open && type.metrics[metric] === undefined) return reject('unknown-metric', `type ${type.id} has no metric "${metric}"`)
  return null
}

function reject(reason: RejectReason, detail: string): ReadingCheck {
  return { status: 'rejected', rejection: { reason, detail } }
}
