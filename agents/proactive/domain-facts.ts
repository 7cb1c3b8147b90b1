import type { LabelMatcher } from '../../contracts/label-matcher.ts'

/** An alert as patterns look at it. */
export interface AlertFact {
  id: string
  device: string
  type: string
  cause: string
  metric: string
  labels: Readonly<Record<string, string>>
  /** Epoch ms. */
  openedAt: number
}
/** A device certificate without a successor. */
export interface ExpiryFact {
  device: string
  serial: string
  notAfter: number
  renewAt: number
}
export interface DeviceOf {
  device: string
  type: string
  labels: Readonly<Record<string, string>>
}
/** What somebody said that a metric must not pass. */
export interface LimitFact {
  metric: string
  is: 'above' | 'below'
  raise: number
  matchers: readonly LabelMatcher[]
  /** The threshold rule that says so; null: the condition itself. */
  rule: string | null
}
/** A mean of readings. */
export interface TrendPoint {
  ts: number
  value: number
}

/**
 * The fleet as it is now, as far as patterns look at it. Wired by `app/` to the stores; everything is asked anew at each look, so that a look
 * needs nothing of the one before, and any process can make it.
 */
export interface DomainFacts {
  tenants(): Promise<string[]>
  /** Opened from then on, newest first; `fromMs` of what is complete: later than asked where there were too many. */
  alerts(tenant: string, fromMs: number, limit: number): Promise<{ items: AlertFact[]; fromMs: number }>
  /** Those that end first. */
  expiries(tenant: string, limit: number): Promise<ExpiryFact[]>
  /** By id, in use. */
  devices(tenant: string, after: string, limit: number): Promise<DeviceOf[]>
  /** Of threshold rules in force. */
  limits(tenant: string): Promise<LimitFact[]>
  /** Means over equal parts of time, oldest first; parts without readings are left out. */
  means(ask: { tenant: string; device: string; metric: string; fromMs: number; toMs: number; intervalMs: number }): Promise<TrendPoint[]>
}
