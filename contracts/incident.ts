import { Type, type Static } from 'typebox'
import { AlertStateSchema, INCIDENT_LEVELS, SeveritySchema, type IncidentLevel } from './alert.ts'

const textOrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description })
const timeOrNull = (description: string) => Type.Union([Type.Integer(), Type.Null()], { description })

/** Alerts that belong together: of one device, of one type, place and cause, or of one cause, within a time. People are told of incidents. */
export const IncidentSchema = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  level: Type.Unsafe<IncidentLevel>({ type: 'string', enum: [...INCIDENT_LEVELS] }),
  title: Type.String(),
  cause: Type.String({ description: 'of the alert that began it' }),
  device: textOrNull('of level device: which'),
  type: textOrNull('of level device and group: the device type'),
  place: textOrNull('of level device and group: the label `site`, empty without one'),
  labels: Type.Record(Type.String(), Type.String(), { description: 'of the device of its first alert, at level device; of others none' }),
  state: AlertStateSchema,
  severity: SeveritySchema,
  escalation: Type.Integer({ minimum: 0, description: 'the highest step any of its alerts took' }),
  announced: Type.Boolean({ description: 'somebody could have been told: false while all its alerts were quiet from the beginning' }),
  acknowledgedBy: textOrNull('who acknowledged it as a whole; alerts that join are acknowledged with it'),
  alertCount: Type.Integer({ description: 'all that joined; at most a few seconds old' }),
  openCount: Type.Integer({ description: 'those that nobody acknowledged' }),
  acknowledgedCount: Type.Integer(),
  devices: Type.Array(Type.String(), { description: 'the first few' }),
  firstAlertId: Type.String(),
  openedAt: Type.Integer({ description: 'epoch ms' }),
  updatedAt: Type.Integer({ description: 'epoch ms' }),
  resolvedAt: timeOrNull('epoch ms'),
  correlationId: Type.String({ description: 'of its first alert' }),
})
export type Incident = Static<typeof IncidentSchema>

export const INCIDENT_CHANGES = ['opened', 'announced', 'severity-changed', 'escalated', 'acknowledged', 'resolved', 'reopened'] as const
export type IncidentChangeKind = (typeof INCIDENT_CHANGES)[number]

/** On topic `alerts` (schema `incident/1`): the incident after the change, and what changed. Counts alone change without a message. */
export const IncidentChangeSchema = Type.Object({
  /** `${incident.id}-${sequence}`: whoever sees it twice has seen a redelivery. */
  id: Type.String({ minLength: 1, maxLength: 200 }),
  sequence: Type.Integer({ minimum: 1 }),
  change: Type.Unsafe<IncidentChangeKind>({ type: 'string', enum: [...INCIDENT_CHANGES] }),
  incident: IncidentSchema,
})
export type IncidentChange = Static<typeof IncidentChangeSchema>
export const INCIDENT = 'incident/1'

/** Key of an incident's messages: one incident's stay in order. */
export function incidentKey({ tenant, id }: Pick<Incident, 'tenant' | 'id'>): string {
  return `${tenant}/incident:${id}`
}

/** Is anybody to be told of this change? */
export function isIncidentNoticed({ incident }: Pick<IncidentChange, 'incident'>): boolean {
  return incident.announced
}

/** What matchers compare. */
export function incidentLabels(incident: Incident): Record<string, string> {
  const { labels, device, type, place, cause, severity, escalation, level } = incident
  return { ...labels, device: device ?? '', type: type ?? '', site: place ?? '', cause, severity, escalation: String(escalation), level }
}
