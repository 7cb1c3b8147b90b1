import type { Principal } from '../../../contracts/authorisation.ts'
import type { Alert } from '../../../contracts/alert.ts'
import type { Incident } from '../../../contracts/incident.ts'
import type { Evidence } from '../../../agents/evidence/evidence.ts'
import { traceIdOf } from '../../../kernel/trace-ids.ts'
import { findIncident, mayRead, orNull, type TraceSources } from './find-incident.ts'
import { readingId, TraceBook, traceKey, type Trace } from './trace.ts'

const ALERTS_MAX = 50
const MESSAGES_MAX = 100
const EVIDENCE_MAX = 200
const REVISIONS_MAX = 20
const DELIVERIES_MAX = 50
/** Readings of one piece of evidence. */
const REFS_MAX = 50
const NODES_MAX = 2_000

/** Everything from the raw readings to what people were told, of the incident to which the thing with this id belongs. Throws NotFoundError. */
export async function followTrace(sources: TraceSources, principal: Principal, id: string): Promise<Trace> {
  const found = await findIncident(sources, principal, id)
  const incident = await sources.incidents.get(principal, found.incident)
  const book = new TraceBook(NODES_MAX)
  const alerts = await alertsOf(sources, principal, incident, found.alert)
  for (const alert of alerts) await addAlert(book, sources, principal, alert)
  const { id: at, title, openedAt, correlationId } = incident
  const opened = { at: openedAt, says: title, correlationId }
  const key = book.add('incident', at, { ...opened, from: alerts.map((alert) => traceKey('alert', alert.id)) })
  const evidence = await sources.evidence.ofIncident(principal.tenant, at, EVIDENCE_MAX)
  for (const one of evidence) addEvidence(book, one, key)
  await addConversation(book, sources, principal, at)
  await addDigests(book, sources, principal, at)
  await addDeliveries(book, sources, principal, { incident: at, alerts: alerts.map((alert) => alert.id), sinceMs: openedAt })
  const isMore = incident.alertCount > alerts.length || evidence.length >= EVIDENCE_MAX
  const truncated = book.truncated || isMore
  return { asked: id, incident: at, correlationId, traceId: traceIdOf(correlationId), truncated, nodes: book.nodes() }
}

/** Some alerts of it, with the first and the one that was asked for among them. */
async function alertsOf({ alerts }: TraceSources, principal: Principal, incident: Incident, asked: string | null): Promise<Alert[]> {
  const { items } = await alerts.list(principal, { incident: incident.id, limit: ALERTS_MAX })
  const known = new Map<string, Alert>(items.map((alert) => [alert.id, alert]))
  for (const id of [incident.firstAlertId, asked]) {
    const alert = id === null || known.has(id) ? null : await orNull(alerts.get(principal, id))
    if (alert !== null) known.set(alert.id, alert)
  }
  return [...known.values()]
}

async function addAlert(book: TraceBook, { anomalies }: TraceSources, principal: Principal, alert: Alert): Promise<void> {
  const from: string[] = []
  for (const id of new Set([alert.firstAnomalyId, alert.lastAnomalyId])) {
    const anomaly = mayRead(principal, 'anomalies') ? await orNull(anomalies.get(principal.tenant, id)) : null
    if (anomaly === null) continue
    const { device, metric, ts, explanation, correlationId } = anomaly
    const reading = book.add('reading', readingId(device, ts), { at: ts, says: `${device} ${metric}`.trim(), correlationId, from: [] })
    from.push(book.add('anomaly', id, { at: ts, says: explanation.text, correlationId, from: [reading] }))
  }
  const { id, title, openedAt, correlationId } = alert
  book.add('alert', id, { at: openedAt, says: title, correlationId, from })
}

function addEvidence(book: TraceBook, { id, kind, status, asOf, query, refs }: Evidence, incident: string): void {
  if (refs.length > REFS_MAX) book.truncated = true
  const readings = refs
    .slice(0, REFS_MAX)
    .map(({ device, metric, ts }) =>
      book.add('reading', readingId(device, ts), { at: ts, says: `${device} ${metric}`, correlationId: null, from: [] }),
    )
  const anomaly = 'anomaly' in query ? [traceKey('anomaly', query.anomaly)] : []
  book.add('evidence', id, { at: asOf, says: `${kind} ${status}`, correlationId: null, from: [...anomaly, ...readings, incident] })
}

async function addConversation(book: TraceBook, { conversations }: TraceSources, principal: Principal, id: string): Promise<void> {
  const conversation = mayRead(principal, 'conversations') ? await orNull(conversations.get(principal, id)) : null
  if (conversation === null) return
  const { title, createdAt, correlationId, messageCount } = conversation
  const key = book.add('conversation', id, { at: createdAt, says: title, correlationId, from: [traceKey('incident', id)] })
  const said = await conversations.messages(principal, id, 0, MESSAGES_MAX)
  if (messageCount > said.length) book.truncated = true
  for (const { id: message, at, from, kind, evidence, correlationId: of } of said)
    book.add('message', message, {
      ...{ at, says: `${from} ${kind}`, correlationId: of },
      from: [key, ...evidence.map((each) => traceKey('evidence', each))],
    })
}

async function addDigests(book: TraceBook, { digests }: TraceSources, { tenant }: Principal, incident: string): Promise<void> {
  const newest = await digests.newest(tenant, incident)
  for (let revision = newest?.revision ?? 0; revision > Math.max(0, (newest?.revision ?? 0) - REVISIONS_MAX); revision--) {
    const found = revision === newest?.revision ? newest : await digests.get(tenant, incident, revision)
    if (found === null) continue
    const { summary, publishedAt } = found
    const cited = Object.values(summary.evidence).map((each) => traceKey('evidence', each))
    book.add('digest', `${incident}/${revision}`, {
      ...{ at: publishedAt, says: `${summary.headline} (${summary.label})`, correlationId: null },
      from: [traceKey('conversation', incident), ...cited],
    })
  }
}

/** What went to webhooks, for those who may see it. */
async function addDeliveries(
  book: TraceBook,
  { webhooks }: TraceSources,
  principal: Principal,
  of: { incident: string; alerts: readonly string[]; sinceMs: number },
): Promise<void> {
  if (!mayRead(principal, 'webhooks')) return
  for (const { id, type, createdAt, correlationId, alertId, incidentId } of await webhooks.about(principal, of, DELIVERIES_MAX)) {
    const told = alertId === null ? traceKey('incident', incidentId ?? of.incident) : traceKey('alert', alertId)
    book.add('delivery', id, { at: createdAt, says: type, correlationId, from: [told] })
  }
}
