import { labelsOf, type Alert, type AlertChange, type AlertChangeKind } from '../../contracts/alert.ts'
import type { Digest } from '../../contracts/digest.ts'
import { incidentLabels, type Incident, type IncidentChange, type IncidentChangeKind } from '../../contracts/incident.ts'

export type NoticeEvent = `alert.${AlertChangeKind}` | `incident.${IncidentChangeKind}` | typeof DIGEST_PUBLISHED
/** A revision of an incident's digest is out. */
export const DIGEST_PUBLISHED = 'digest.published'

/** A digest as receivers get it. */
export interface DigestTold extends Omit<Digest, 'tenant'> {
  /** False where the whole of it was too long to send: the sections are at `links.digest` then. */
  isWhole: boolean
  /** Where it is read: the API's answer, and the page. Paths, unless `webhooks.publicUrl` says where the platform is. */
  links: { digest: string; page: string }
}

/** What receivers are told: a change of an alert or of an incident, or what agents found out about an incident. */
export interface Notice {
  /** Of the change: the same in every redelivery. */
  changeId: string
  sequence: number
  event: NoticeEvent
  tenant: string
  correlationId: string
  /** Epoch ms of the change. */
  at: number
  labels: Record<string, string>
  /** It was of another severity before: whoever keeps severities apart still has it under that one. */
  severityVaried: boolean
  /** Exactly one of the two; an alert without its history, which grows. */
  alert: Omit<Alert, 'history' | 'historyDropped'> | null
  incident: Incident | null
  /** Of the incident; null: it is told of a change. */
  digest: DigestTold | null
}

export function noticeOfAlert({ id, sequence, change, alert: whole }: AlertChange): Notice {
  const { history, historyDropped, ...alert } = whole
  // A quiet one may have changed without a word, so the event alone does not say.
  const severityVaried = change === 'severity-changed' || historyDropped > 0 || history.some(({ action }) => action === 'severity-changed')
  const { tenant, correlationId, updatedAt } = alert
  return {
    changeId: id,
    sequence,
    event: `alert.${change}`,
    tenant,
    correlationId,
    at: updatedAt,
    labels: labelsOf(alert),
    severityVaried,
    alert,
    incident: null,
    digest: null,
  }
}

export function noticeOfIncident({ id, sequence, change, incident }: IncidentChange): Notice {
  const { tenant, correlationId, updatedAt } = incident
  const labels = incidentLabels(incident)
  const event = `incident.${change}` as const
  const severityVaried = change === 'severity-changed'
  return {
    changeId: id,
    sequence,
    event,
    tenant,
    correlationId,
    at: updatedAt,
    labels,
    severityVaried,
    alert: null,
    incident,
    digest: null,
  }
}

/** `publicUrl`: of the platform, without a slash at its end; empty: links are paths. */
export function noticeOfDigest({ tenant, ...digest }: Digest, incident: Incident, publicUrl: string): Notice {
  const { id, correlationId } = incident
  const links = {
    digest: `${publicUrl}/api/v1/incidents/${encodeURIComponent(id)}/digest?revision=${digest.revision}`,
    page: `${publicUrl}/incidents/${encodeURIComponent(id)}`,
  }
  return {
    ...{ changeId: `${id}-digest-${digest.revision}`, sequence: digest.revision, event: DIGEST_PUBLISHED },
    ...{ tenant, correlationId, at: digest.publishedAt, labels: incidentLabels(incident), severityVaried: false },
    ...{ alert: null, incident, digest: { ...digest, isWhole: true, links } },
  }
}

/** What it is about: fields that both have. */
export function subjectOf({ alert, incident }: Notice): Pick<Alert, 'id' | 'title' | 'severity' | 'state' | 'openedAt' | 'resolvedAt'> {
  return (alert ?? incident) as Alert | Incident
}

/** Text of a digest says who wrote it, whatever template it came from. */
export function withAuthor(text: string, { digest }: Notice): string {
  return digest === null || text.includes(digest.label) ? text : `${text}\n${digest.label}`
}

/** One line for people: what every notifier says where there is no template, or where it erred. */
export function plainText(notice: Notice): string {
  const { title, severity } = subjectOf(notice)
  const [, change = ''] = notice.event.split('.')
  const { incident, digest } = notice
  if (digest !== null) {
    const verdicts = digest.causes.map(({ code, level }) => `${code} ${level}`).join(', ')
    return `[${severity}] ${title} — digest ${digest.revision}: ${digest.headline} (${verdicts === '' ? digest.level : verdicts}). ${digest.label}. ${digest.links.page}`
  }
  const size = incident === null || incident.alertCount <= 1 ? '' : ` (${incident.alertCount} alerts)`
  const explanation = notice.alert?.explanation as { text?: unknown } | null | undefined
  const why = typeof explanation?.text === 'string' ? `: ${explanation.text}` : ''
  return `[${severity}] ${title}${size} — ${change.replaceAll('-', ' ')}${why}`
}
