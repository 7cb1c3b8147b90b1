import type { MetricValue, Severity } from './types.ts'

/* What people set up for alerting, and what was sent. */

export interface LabelMatcher {
  label: string
  is?: string
  isNot?: string
  like?: string
  notLike?: string
}

export interface MaintenanceWindow {
  id: string
  name: string
  matchers: LabelMatcher[]
  once?: { from: number; until: number }
  weekly?: { timeZone: string; days: string[]; at: string; durationMs: number }
  createdBy: string
  next: { from: number; until: number } | null
}

export interface Route {
  matchers?: LabelMatcher[]
  receiver?: string
  continue?: boolean
  routes?: Route[]
}

export interface Routing {
  receivers: { name: string; endpoints?: string[]; schedule?: string }[]
  schedules: { name: string; timeZone: string; startsOn: string; changesAt: string; everyDays: number; members: string[] }[]
  route: Route
}

export interface RoutingView {
  routing: Routing | null
  updatedAt: number | null
  updatedBy: string | null
  /** 0 where there is none. */
  version: number
}

export interface RoutingPreview {
  receivers: { receiver: string; path: string }[]
  endpoints: string[]
}

/** What people say of a threshold rule. */
/** Thresholds and impact for some metrics of some devices. */
export interface AnomalyPolicy {
  type: string
  metric: string
  device: string
  matchers?: LabelMatcher[]
  alertThreshold?: number
  criticalThreshold?: number
  impact?: 'low' | 'normal' | 'high'
}

export interface PoliciesView {
  policies: AnomalyPolicy[]
  defaults: { alertThreshold: number; criticalThreshold: number; impact: string }
  version: number
}

export interface RuleSettings {
  name: string
  enabled: boolean
  matchers: LabelMatcher[]
  metric: string
  on: { kind: 'readings' } | { kind: 'windows'; window: string; sizeMs: number; aggregate: string }
  is: 'above' | 'below' | 'equal' | 'not-equal'
  raise: MetricValue
  clear?: number
  forMs: number
  severity: Severity
  summary: string
  remedy: string
}

export interface Rule extends RuleSettings {
  id: string
  ruleVersion: number
  activeFrom: number
  createdBy: string
  createdAt: number
  updatedBy: string
  updatedAt: number
  version: number
}

export interface RulePreview {
  devices: number
  readings: number
  truncated: boolean
  count: number
  devicesFired: number
  fired: { device: string; at: number; until: number | null; text: string }[]
}

/** How an endpoint is told. */
export interface WebhookSettings {
  kind: string
  /** Null: the plain text. */
  template: string | null
  ordered: boolean
}

export interface Webhook extends WebhookSettings {
  id: string
  restsUntil: number | null
  url: string
  events: string[]
  description: string
  enabled: boolean
  disabledReason: string | null
  createdAt: number
  updatedAt: number
  version: number
}

export interface WebhookWithSecret {
  endpoint: Webhook
  secret: string
}

export interface DeliveryAttempt {
  at: number
  durationMs: number
  url: string
  status: number | null
  error: string | null
  responseBody: string
}

export interface Delivery {
  id: string
  endpointId: string
  type: string
  alertId: string | null
  correlationId: string
  state: string
  parkReason: string | null
  attemptsMade: number
  attemptsMax: number
  nextAttemptAt: number | null
  createdAt: number
  updatedAt: number
  body: string
  attempts: DeliveryAttempt[]
}
