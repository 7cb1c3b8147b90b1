import { authorise, type Principal } from '../../../contracts/authorisation.ts'
import { NotFoundError } from '../../../kernel/errors.ts'
import type { RouteContext } from '../context.ts'
import { readingOf } from './trace.ts'

/** Alerts of one device that are looked through, newest first. */
const ALERTS_MAX = 100

export type TraceSources = Pick<
  RouteContext,
  'alerts' | 'incidents' | 'anomalies' | 'conversations' | 'digests' | 'evidence' | 'webhooks' | 'clock'
>

export interface Found {
  incident: string
  /** Where an alert was asked for: it. */
  alert: string | null
}

/** The incident to which a thing belongs, whatever it is: an alert, incident, conversation, message, evidence, anomaly or a reading. */
export async function findIncident(sources: TraceSources, principal: Principal, id: string): Promise<Found> {
  const found =
    (await byOwnId(sources, principal, id)) ?? (await byAnomaly(sources, principal, id)) ?? (await byReading(sources, principal, id))
  if (found === null) throw new NotFoundError(`nothing that led to an incident has the id ${id}`)
  return found
}

async function byOwnId(
  { alerts, incidents, conversations, evidence }: TraceSources,
  principal: Principal,
  id: string,
): Promise<Found | null> {
  const incident = id.startsWith('msg_')
    ? mayRead(principal, 'conversations')
      ? await conversations.incidentOfMessage(principal, id)
      : null
    : id.startsWith('ev_')
      ? await evidence.incidentOf(principal.tenant, id)
      : ((await orNull(incidents.get(principal, id)))?.id ?? null)
  if (incident !== null) return { incident, alert: null }
  const alert = await orNull(alerts.get(principal, id))
  return alert?.incident == null ? null : { incident: alert.incident.id, alert: alert.id }
}

async function byAnomaly({ alerts, anomalies }: TraceSources, principal: Principal, id: string): Promise<Found | null> {
  const anomaly = mayRead(principal, 'anomalies') ? await orNull(anomalies.get(principal.tenant, id)) : null
  if (anomaly === null) return null
  const { items } = await alerts.list(principal, { device: anomaly.device, limit: ALERTS_MAX })
  const alert = items.find(({ firstAnomalyId, lastAnomalyId }) => firstAnomalyId === id || lastAnomalyId === id)
  return alert?.incident == null ? null : { incident: alert.incident.id, alert: alert.id }
}

/** The newest incident whose evidence, or whose anomaly, rests on this reading. */
async function byReading({ alerts, anomalies, evidence }: TraceSources, principal: Principal, id: string): Promise<Found | null> {
  const reading = readingOf(id)
  if (reading === null) return null
  const { device, ts } = reading
  const { tenant } = principal
  const raised = (await anomalies.list({ tenant, device, fromTs: ts, toTs: ts + 1, limit: ALERTS_MAX })).items.map((anomaly) => anomaly.id)
  const { items } = await alerts.list(principal, { device, limit: ALERTS_MAX })
  const looked = new Set<string>()
  for (const { id: alert, incident, firstAnomalyId, lastAnomalyId } of items) {
    if (incident === null || looked.has(incident.id)) continue
    if (raised.includes(firstAnomalyId) || raised.includes(lastAnomalyId)) return { incident: incident.id, alert }
    looked.add(incident.id)
    if (await evidence.restsOn(tenant, incident.id, reading)) return { incident: incident.id, alert }
  }
  return null
}

/** What may not be read by its own route is not in a trace either. */
export function mayRead(principal: Principal, kind: 'anomalies' | 'conversations' | 'webhooks'): boolean {
  return authorise(principal, 'read', { tenant: principal.tenant, kind })
}

export async function orNull<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof NotFoundError) return null
    throw error
  }
}
