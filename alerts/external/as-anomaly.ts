import { EXTERNAL_SUBJECT, type Anomaly } from '../../contracts/anomaly.ts'
import { spanOf } from '../../contracts/evidence.ts'
import { identityOf, type ExternalAlert } from './external-alert.ts'

const VERSION = 1

/** Whom an alert is about: a device that the registry knows, or null. */
export interface Subject {
  device: string
  type: string
}

/**
 * What another system says as an anomaly of ours. What raised it there stands where a rule of ours would: its identity keeps troubles apart,
 * its name is a label that routes match. A trouble that is told again has the id that it had, and so is none.
 */
export function asAnomaly(
  alert: ExternalAlert,
  subject: Subject | null,
  of: { tenant: string; nowMs: number; correlationId: string },
): Anomaly {
  const { identity, phase, name, severity, startsAt, endsAt, summary, description, remedy, source } = alert
  const { tenant, nowMs, correlationId } = of
  const told = identityOf([tenant, identity, startsAt, phase, phase === 'raised' ? severity : ''])
  const labels = Object.entries(alert.labels).map(([label, value]) => [`label.${label}`, value])
  return {
    ...{
      id: `external-${told}`,
      tenant,
      device: subject?.device ?? EXTERNAL_SUBJECT,
      type: subject?.type ?? '',
      metric: '',
      cause: 'external',
    },
    ...{ ts: endsAt ?? startsAt, receivedAt: nowMs, phase, score: severity === 'critical' ? 1 : 0.5, severity },
    explanation: {
      text: summary === '' ? `${name}, said ${source}` : summary,
      ...{ observed: null, expected: null, low: null, high: null, contributions: [] },
      ...{ detector: 'external', detectorVersion: VERSION, readingsSeen: 0 },
      parameters: {
        source,
        ...(alert.device === null ? {} : { device: alert.device }),
        ...(Object.fromEntries(labels) as Record<string, string>),
      },
    },
    ...{ partition: -1, offset: -1, correlationId },
    evidence: {
      readings: [],
      window: spanOf(startsAt, Math.max(startsAt, endsAt ?? nowMs)),
      versions: { detector: 'external', detectorVersion: VERSION },
    },
    rule: { id: identity, version: VERSION, name, summary: description, remedy },
  }
}
