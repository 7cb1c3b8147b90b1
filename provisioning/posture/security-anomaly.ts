import { ANOMALY, type Anomaly } from '../../contracts/anomaly.ts'
import { spanOf } from '../../contracts/evidence.ts'
import type { Finding } from '../../contracts/finding.ts'
import { deviceKey } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import type { LogMessage } from '../../storage/event-log/event-log.ts'

/** Stands for the platform in alerts; no device can have this id. */
export const PLATFORM_SUBJECT = '_platform'

const VERSION = 1
const SCORES = { critical: 1, high: 0.8, medium: 0.5, low: 0.2 } as const

/** A finding as the alerts take it: raised while it counts, cleared when it is over or suppressed. */
export function securityAnomaly(finding: Finding, phase: Anomaly['phase'], nowMs: number): LogMessage {
  const { id, tenant, check, severity, subject, firstSeenAt, title, remedy, evidence } = finding
  const device = finding.device ?? PLATFORM_SUBJECT
  const isRaised = phase === 'raised'
  const score = isRaised ? SCORES[severity] : 0
  const anomaly: Anomaly = {
    id: `finding-${id}-${firstSeenAt}-${isRaised ? 'raised' : `cleared-${nowMs}`}`,
    tenant,
    device,
    type: '',
    // Of a CA or a setting there may be several: each has its own alert.
    metric: subject.kind === 'device' ? check : `${check} ${subject.id}`.slice(0, 128),
    cause: 'security',
    ts: nowMs,
    receivedAt: nowMs,
    phase,
    score,
    severity: severity === 'critical' ? 'critical' : 'warning',
    explanation: {
      text: `${title}. ${remedy}`,
      observed: null,
      expected: null,
      low: null,
      high: null,
      contributions: isRaised ? [{ part: check, weight: score }] : [],
      detector: 'security-posture',
      detectorVersion: VERSION,
      parameters: { finding: id, ...plain(evidence) },
      readingsSeen: 0,
    },
    partition: -1,
    offset: -1,
    correlationId: `finding-${id}`,
    evidence: {
      readings: [],
      window: spanOf(firstSeenAt, nowMs),
      versions: { detector: 'security-posture', detectorVersion: VERSION, check, finding: id },
    },
  }
  return { key: deviceKey(tenant, device), schema: ANOMALY, value: jsonBytes(anomaly) }
}

function plain(evidence: Record<string, unknown>): Record<string, string | number | boolean> {
  return Object.fromEntries(
    Object.entries(evidence).map(([name, value]) => [
      name,
      typeof value === 'number' || typeof value === 'boolean' ? value : typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  )
}
