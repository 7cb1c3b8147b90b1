import { isQuietAt, type Alert, type AlertChange, type IncidentLevel, type Severity } from '../../contracts/alert.ts'
import { EXTERNAL_SUBJECT, type AnomalyCause } from '../../contracts/anomaly.ts'
import { PLACE_LABEL } from '../../contracts/device-facts.ts'
import type { IncidentDocument } from './incident-document.ts'
import { withChange } from './incident-store.ts'

/** Pure steps of an incident's life. */

/** Devices named in the incident; all of them are behind its alerts. */
const DEVICES_NAMED_MAX = 20

/** What an incident of this cause is, before where it is. */
const TROUBLES: Readonly<Record<AnomalyCause, string>> = {
  value: 'unusual values',
  peers: 'values odd among devices of the type',
  correlation: 'metrics that no longer go together',
  model: 'metrics unusual together',
  silence: 'silence',
  rule: 'a rule broken',
  certificate: 'certificate not renewed',
  security: 'security finding',
  rollout: 'firmware not taken',
  'model-health': 'trouble of a model',
  platform: 'trouble',
  external: 'alert of another system',
}

const troubleOf = (cause: string): string => (Object.hasOwn(TROUBLES, cause) ? TROUBLES[cause as AnomalyCause] : cause)

const TITLES: Record<IncidentLevel, (alert: Alert) => string> = {
  // Troubles of the platform itself have one subject, so that a storm of them is one incident; so has what is said of no device of ours.
  device: ({ device, cause, rule }) => {
    if (cause === 'platform') return 'trouble of the platform itself'
    return device === EXTERNAL_SUBJECT ? 'alerts of other systems' : `${rule?.name ?? troubleOf(cause)} at ${device}`
  },
  group: ({ cause, type, labels }) =>
    `${troubleOf(cause)} at several devices of type ${type}${labels[PLACE_LABEL] === undefined ? '' : `, ${labels[PLACE_LABEL]}`}`,
  cause: ({ cause }) => `${troubleOf(cause)} across the fleet`,
}

/** The incident that this alert begins. */
export function openIncident(id: string, level: IncidentLevel, changes: readonly AlertChange[], nowMs: number): IncidentDocument {
  const { alert } = changes[0] as AlertChange
  const isDevice = level === 'device'
  const incident: IncidentDocument = {
    ...{ id, level, tenant: alert.tenant, title: TITLES[level](alert), cause: alert.cause },
    device: isDevice ? alert.device : null,
    type: level === 'cause' ? null : alert.type,
    place: level === 'cause' ? null : (alert.labels[PLACE_LABEL] ?? ''),
    labels: isDevice ? alert.labels : {},
    ...{ state: 'open', severity: 'warning', escalation: 0, announced: false, acknowledgedBy: null },
    ...{ alertCount: 0, openCount: 0, acknowledgedCount: 0, devices: [] },
    firstAlertId: alert.id,
    ...{ openedAt: nowMs, updatedAt: nowMs, resolvedAt: null, correlationId: alert.correlationId },
    ...{ sequence: 0, outbox: [], unpublishedSince: null, taken: 0, spread: null, dueAt: null },
  }
  const ids = new Set(changes.map((change) => change.alert.id))
  const begun = { ...incident, ...comeTo(changes), devices: devicesOf(incident, changes), alertCount: ids.size, openCount: ids.size }
  return withChange(begun, 'opened', nowMs)
}

/** What happened to its alerts: at most one change of each kind is told, however many they are. What quiet alerts come to tells nobody. */
export function takeChanges(
  incident: IncidentDocument,
  changes: readonly AlertChange[],
  nowMs: number,
  recountAt: number,
): IncidentDocument {
  const devices = devicesOf(incident, changes)
  const taken: IncidentDocument = { ...incident, devices, taken: incident.taken + 1, dueAt: incident.dueAt ?? recountAt }
  const now = comeTo(changes)
  if (incident.state === 'resolved' && changes.some(({ change }) => change === 'opened' || change === 'reopened')) {
    // What it had come to before says nothing of what begins now.
    return withChange({ ...taken, ...now, state: 'open', resolvedAt: null, acknowledgedBy: null, spread: null }, 'reopened', nowMs)
  }
  if (now.announced && !incident.announced) return withChange({ ...taken, ...now }, 'announced', nowMs)
  if (incident.announced && !now.announced) return taken
  let next = taken
  if (now.severity === 'critical' && incident.severity !== 'critical')
    next = withChange({ ...next, severity: now.severity }, 'severity-changed', nowMs)
  if (now.escalation > incident.escalation) next = withChange({ ...next, escalation: now.escalation }, 'escalated', nowMs)
  return next
}

/** After its alerts were counted. */
export function recounted(
  incident: IncidentDocument,
  counts: { all: number; open: number; acknowledged: number },
  nowMs: number,
): IncidentDocument {
  const counted = {
    ...incident,
    alertCount: counts.all,
    openCount: counts.open,
    acknowledgedCount: counts.acknowledged,
    dueAt: null,
    spread: null,
  }
  if (counts.open + counts.acknowledged === 0) {
    if (incident.state === 'resolved' || counts.all === 0) return counted
    return withChange({ ...counted, state: 'resolved', resolvedAt: nowMs }, 'resolved', nowMs)
  }
  const state = counts.open === 0 || incident.acknowledgedBy !== null ? 'acknowledged' : 'open'
  if (state === 'acknowledged' && incident.state === 'open') return withChange({ ...counted, state }, 'acknowledged', nowMs)
  return { ...counted, state, resolvedAt: null }
}

function devicesOf(incident: IncidentDocument, changes: readonly AlertChange[]): string[] {
  const devices = new Set(incident.devices)
  for (const { alert } of changes) if (devices.size < DEVICES_NAMED_MAX) devices.add(alert.device)
  return [...devices]
}

/** The worst of these alerts: of those that are told, or of all where none is. */
function comeTo(changes: readonly AlertChange[]): { severity: Severity; escalation: number; announced: boolean } {
  const active = changes.map(({ alert }) => alert).filter(({ state }) => state !== 'resolved')
  const told = active.filter((alert) => !isQuietAt(alert, alert.updatedAt))
  const announced = told.length > 0
  const counted = announced ? told : active
  const severity = counted.some((alert) => alert.severity === 'critical') ? 'critical' : 'warning'
  return { severity, escalation: Math.max(0, ...counted.map(({ escalation }) => escalation)), announced }
}
