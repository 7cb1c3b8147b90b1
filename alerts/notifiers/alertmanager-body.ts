import { subjectOf, type Notice } from './notice.ts'

/**
 * How long an alert that goes on stays active there without another word, in ms. The end is told by itself and tried for days; one that
 * ended there before would be a false all-clear, so a device that is silent for weeks must not reach it.
 */
const ACTIVE_MS = 365 * 86_400_000
const LABEL_LENGTH_MAX = 512

interface PostableAlert {
  labels: Record<string, string>
  annotations: Record<string, string>
  startsAt: string
  endsAt: string
}

/**
 * `postableAlerts` of API v2. Labels are the alert's identity there, so only what stays the same is among them, but for the severity, by
 * which people route: once it has changed, the one of the other severity ends.
 */
export function alertmanagerBody(notice: Notice, text: string): string {
  const { severity, state, openedAt, resolvedAt } = subjectOf(notice)
  const isOver = state === 'resolved'
  const endsAt = isOver ? (resolvedAt ?? notice.at) : notice.at + ACTIVE_MS
  const alerts = [postable(notice, text, { severity, openedAt, endsAt })]
  const other = severity === 'critical' ? 'warning' : 'critical'
  if (notice.severityVaried) alerts.push(postable(notice, text, { severity: other, openedAt, endsAt: notice.at }))
  return JSON.stringify(alerts)
}

export function alertmanagerTest(nowMs: number): string {
  const [startsAt, endsAt] = [new Date(nowMs).toISOString(), new Date(nowMs + 60_000).toISOString()]
  const test: PostableAlert = {
    labels: { alertname: 'fleetpulse_test' },
    annotations: { summary: 'A test of this endpoint.' },
    startsAt,
    endsAt,
  }
  return JSON.stringify([test])
}

function postable(notice: Notice, text: string, of: { severity: string; openedAt: number; endsAt: number }): PostableAlert {
  const { severity: _severity, escalation: _escalation, ...steady } = notice.labels
  const { id, title } = subjectOf(notice)
  const named = Object.entries(steady).map(([name, value]) => [name.replaceAll(/[^A-Za-z0-9_]/g, '_'), value.slice(0, LABEL_LENGTH_MAX)])
  const labels = {
    ...(Object.fromEntries(named.filter(([, value]) => value !== '')) as Record<string, string>),
    alertname: `fleetpulse_${(steady.cause ?? 'alert').replaceAll(/[^A-Za-z0-9_]/g, '_')}`,
    fleetpulse_id: id,
    severity: of.severity,
    tenant: notice.tenant,
  }
  const annotations = { summary: title, description: text, correlation_id: notice.correlationId }
  // An end before the beginning, after a clock was set back, would be refused for good.
  const endsAt = Math.max(of.openedAt, of.endsAt)
  return { labels, annotations, startsAt: new Date(of.openedAt).toISOString(), endsAt: new Date(endsAt).toISOString() }
}
