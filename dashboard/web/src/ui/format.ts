import type { MetricValue } from '../api/types.ts'

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

/** A count with thousands separators. */
export function count(value: number): string {
  return whole.format(value)
}

/** A count that fits a tile. */
export function compact(value: number): string {
  return Math.abs(value) < 100_000 ? whole.format(value) : short.format(value)
}

/** A measured value: up to five significant digits, plain where it can be. */
export function measure(value: number): string {
  if (!Number.isFinite(value)) return '—'
  const size = Math.abs(value)
  if (size !== 0 && (size >= 1e9 || size < 1e-4)) return value.toExponential(3)
  const decimals = size >= 1_000 ? 1 : size >= 100 ? 2 : size >= 1 ? 3 : 5
  return new Intl.NumberFormat('en', { maximumFractionDigits: decimals }).format(value)
}

export function metricValue(value: MetricValue | undefined): string {
  if (value === undefined) return '—'
  return typeof value === 'number' ? measure(value) : String(value)
}

const two = (value: number): string => String(value).padStart(2, '0')

/** 08:59:17, local time. */
export function clock(ms: number): string {
  const time = new Date(ms)
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`
}

/** 2026-11-21, local time. */
export function day(ms: number): string {
  const time = new Date(ms)
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`
}

export function dateTime(ms: number): string {
  return `${day(ms)} ${clock(ms)}`
}

/** The time alone when it is today's. */
export function briefTime(ms: number, nowMs: number): string {
  return day(ms) === day(nowMs) ? clock(ms) : dateTime(ms)
}

export function duration(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1_000))
  if (s < 60) return `${s} s`
  if (s < 3_600) return `${Math.floor(s / 60)} min`
  if (s < 86_400) return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`
  return `${Math.floor(s / 86_400)} d`
}

/** "12 s ago", "in 3 min". */
export function age(ms: number, nowMs: number): string {
  const past = nowMs - ms
  if (Math.abs(past) < 1_500) return 'now'
  return past > 0 ? `${duration(past)} ago` : `in ${duration(-past)}`
}

export function bytes(size: number): string {
  if (size < 1_024) return `${size} B`
  return size < 1_048_576 ? `${(size / 1_024).toFixed(1)} KiB` : `${(size / 1_048_576).toFixed(1)} MiB`
}

/** A machine word for people: `severity-changed` → `Severity changed`. */
export function words(text: string): string {
  const plain = text.replaceAll(/[-_]/g, ' ')
  return plain.charAt(0).toUpperCase() + plain.slice(1)
}
