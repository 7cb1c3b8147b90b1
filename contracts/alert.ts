import { Type, type Static } from 'typebox'
import { EvidenceSchema, NO_EVIDENCE, type Evidence } from './evidence.ts'

export const AlertStateSchema = Type.Union([Type.Literal('open'), Type.Literal('acknowledged'), Type.Literal('resolved')])
export type AlertState = Static<typeof AlertStateSchema>

/** What can happen to an alert, as its history and topic `alerts` name it. */
export const ALERT_CHANGES = [
  'opened',
  'repeated',
  'severity-changed',
  'flapping',
  'escalated',
  'acknowledged',
  'resolved',
  'reopened',
  'assigned',
  'commented',
  'silenced',
  'snoozed',
  'woken',
  'suppressed',
  'restored',
  'quieted',
  'resumed',
] as const
export type AlertChangeKind = (typeof ALERT_CHANGES)[number]
export const AlertChangeKindSchema = Type.Unsafe<AlertChangeKind>({ type: 'string', enum: [...ALERT_CHANGES] })

export const AlertHistoryEntrySchema = Type.Object({
  at: Type.Integer(),
  /** `device:ID`, `user:NAME`, `api-key:ID` or `system`. */
  by: Type.String(),
  action: AlertChangeKindSchema,
  note: Type.Optional(Type.String()),
})
export type AlertHistoryEntry = Static<typeof AlertHistoryEntrySchema>

/** Why nobody is told although nobody said so of this alert. */
export const AlertQuietSchema = Type.Object({
  reason: Type.Union([Type.Literal('maintenance'), Type.Literal('dependency')], {
    description: '`maintenance`: within a maintenance window; `dependency`: the gateway behind which the device lies is silent',
  }),
  ref: Type.String({ description: "the window, or the gateway's alert" }),
  until: Type.Union([Type.Integer(), Type.Null()], { description: 'epoch ms; null: as long as the gateway is silent' }),
})
export type AlertQuiet = Static<typeof AlertQuietSchema>

/** How much an incident takes together, narrow to wide. */
export const INCIDENT_LEVELS = ['device', 'group', 'cause'] as const
export type IncidentLevel = (typeof INCIDENT_LEVELS)[number]

export const SeveritySchema = Type.Union([Type.Literal('warning'), Type.Literal('critical')])
export type Severity = Static<typeof SeveritySchema>

const orNull = (inner: ReturnType<typeof Type.Integer> | ReturnType<typeof Type.String>, description: string) =>
  Type.Union([inner, Type.Null()], { description, default: null })

/** The rule as it was when the alert opened: its name is a label, which must not change under way. */
export const AlertRuleSchema = Type.Object({
  id: Type.String(),
  version: Type.Integer(),
  name: Type.String(),
  summary: Type.String({ description: 'what it means; may be empty' }),
  remedy: Type.String({ description: 'what to do; may be empty' }),
})
export type AlertRule = Static<typeof AlertRuleSchema>

/** One alert; there is at most one that is not resolved per fingerprint (tenant, device, metric, cause and, of rules, the rule). */
export const AlertSchema = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  fingerprint: Type.String(),
  device: Type.String(),
  type: Type.String(),
  metric: Type.String(),
  cause: Type.String(),
  labels: Type.Record(Type.String(), Type.String(), { description: "the device's labels when it opened", default: {} }),
  state: AlertStateSchema,
  severity: SeveritySchema,
  title: Type.String(),
  /** Event time of the first anomaly, epoch ms. */
  startedAt: Type.Integer(),
  openedAt: Type.Integer(),
  updatedAt: Type.Integer(),
  resolvedAt: Type.Union([Type.Integer(), Type.Null()]),
  silencedUntil: Type.Union([Type.Integer(), Type.Null()], { description: 'no notices until then, epoch ms' }),
  snoozedUntil: Type.Unsafe<number | null>(
    orNull(Type.Integer(), 'no notices until then; not resolved by then, it is open again and told anew'),
  ),
  suppressedBy: Type.Unsafe<string | null>(orNull(Type.String(), 'who took its notices away until somebody restores them')),
  quiet: Type.Unsafe<AlertQuiet | null>(Type.Union([AlertQuietSchema, Type.Null()], { default: null })),
  incident: Type.Unsafe<{ id: string; level: IncidentLevel } | null>(
    Type.Union(
      [Type.Object({ id: Type.String(), level: Type.Unsafe<IncidentLevel>({ type: 'string', enum: [...INCIDENT_LEVELS] }) }), Type.Null()],
      { default: null, description: 'what it belongs to' },
    ),
  ),
  assignee: Type.Unsafe<string | null>(orNull(Type.String(), 'who looks after it')),
  flapping: Type.Boolean({ default: false, description: 'it comes and goes: held open until it stayed away for longer' }),
  escalation: Type.Integer({ default: 0, minimum: 0, description: 'steps of escalation taken, because nobody acknowledged it' }),
  announced: Type.Boolean({
    default: true,
    description: 'somebody could have been told of it: false while it was quiet from the beginning',
  }),
  /** Anomalies gathered so far and the worst of them. */
  anomalyCount: Type.Integer(),
  maxScore: Type.Number(),
  /** Ids of the first and the latest anomaly: the evidence. */
  firstAnomalyId: Type.String(),
  lastAnomalyId: Type.String(),
  /** The explanation of the anomaly that opened it. */
  explanation: Type.Unknown(),
  evidence: Type.Unsafe<Evidence>({ ...EvidenceSchema, default: NO_EVIDENCE }),
  rule: Type.Unsafe<AlertRule | null>(
    Type.Union([AlertRuleSchema, Type.Null()], { default: null, description: 'the rule that was broken; of cause `external` what raised it in the other system, in its words; null for other causes' }),
  ),
  correlationId: Type.String(),
  /** Latest entries first; bounded, the number dropped is counted. */
  history: Type.Array(AlertHistoryEntrySchema),
  historyDropped: Type.Integer(),
})
export type Alert = Static<typeof AlertSchema>

/** On topic `alerts` (schema `alert/2`): the alert after the change, and what changed. */
export const AlertChangeSchema = Type.Object({
  /** `${alert.id}-${sequence}`: names this change; whoever sees it twice has seen a redelivery. */
  id: Type.String({ minLength: 1, maxLength: 200 }),
  /** 1 for `opened`; grows by one with each published change of the alert, so that consumers can order them. */
  sequence: Type.Integer({ minimum: 1 }),
  change: AlertChangeKindSchema,
  alert: AlertSchema,
})
export type AlertChange = Static<typeof AlertChangeSchema>
export const ALERT = 'alert/2'
/** Still read: the fields that it lacks have defaults. */
export const ALERT_1 = 'alert/1'
export const ALERT_SCHEMAS: readonly string[] = [ALERT_1, ALERT]

/** What matchers compare: the device's labels, and what the alert itself is. */
export function labelsOf(
  alert: Pick<Alert, 'labels' | 'device' | 'type' | 'metric' | 'cause' | 'severity' | 'escalation' | 'rule'>,
): Record<string, string> {
  const { labels, device, type, metric, cause, severity, escalation, rule } = alert
  return { ...labels, device, type, metric, cause, severity, escalation: String(escalation), rule: rule?.name ?? '' }
}

/** Does anything keep notices of it back at this time? */
export function isQuietAt(alert: Pick<Alert, 'silencedUntil' | 'snoozedUntil' | 'suppressedBy' | 'quiet'>, nowMs: number): boolean {
  const { silencedUntil, snoozedUntil, suppressedBy, quiet } = alert
  return suppressedBy !== null || quiet !== null || (silencedUntil ?? 0) > nowMs || (snoozedUntil ?? 0) > nowMs
}

/** What ends or begins the quiet itself: told to whoever was told of the alert. */
const OF_THE_QUIET = new Set<AlertChangeKind>(['resolved', 'silenced', 'snoozed', 'suppressed', 'quieted'])

/** Is anybody to be told of this change? */
export function isNoticed({ change, alert }: Pick<AlertChange, 'change' | 'alert'>): boolean {
  return OF_THE_QUIET.has(change) ? alert.announced : !isQuietAt(alert, alert.updatedAt)
}
