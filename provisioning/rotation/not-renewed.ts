import { ANOMALY, type Anomaly } from '../../contracts/anomaly.ts'
import { spanOf } from '../../contracts/evidence.ts'
import { deviceKey } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import type { LogMessage } from '../../storage/event-log/event-log.ts'
import { datesOf, type Followed, type RotationPolicy } from './rotation-plan.ts'

export interface NotRenewed {
  record: Followed
  /** The device's type. */
  type: string
  /** `late`: it should have renewed; `ended`: the certificate is over; `cleared`: it renewed, or need not any more. */
  phase: 'late' | 'ended' | 'cleared'
  /** Said for `cleared`: why it is over. */
  because?: string
  nowMs: number
}

const VERSION = 1

/** An anomaly (topic `anomalies`) about a device that did not renew, with dates as evidence. The same occasion has the same id. */
export function notRenewedMessage(occasion: NotRenewed, policy: RotationPolicy): LogMessage {
  const { record, type, phase, nowMs } = occasion
  const { tenant, device, serial, notBefore, notAfter, rotation } = record
  const { renewAt, lateAt } = datesOf(record, policy)
  const score = phase === 'cleared' ? 0 : Math.min(1, Math.max(0, (nowMs - renewAt) / Math.max(1, notAfter - renewAt)))
  const anomaly: Anomaly = {
    id: `certificate-${serial}-${rotation.alarms}-${phase}`,
    tenant,
    device,
    type,
    metric: '',
    cause: 'certificate',
    ts: phase === 'cleared' ? nowMs : phase === 'late' ? lateAt : notAfter,
    receivedAt: nowMs,
    phase: phase === 'cleared' ? 'cleared' : 'raised',
    score,
    severity: phase === 'ended' ? 'critical' : 'warning',
    explanation: {
      text: sentence(occasion, renewAt),
      observed: nowMs - renewAt,
      expected: 0,
      low: 0,
      high: lateAt - renewAt,
      contributions: score > 0 ? [{ part: 'time since it was due', weight: score }] : [],
      detector: 'certificate',
      detectorVersion: VERSION,
      parameters: {
        ...{ serial, notBefore: iso(notBefore), renewAt: iso(renewAt), lateAt: iso(lateAt), notAfter: iso(notAfter) },
        firstUsed: rotation.usedAt === null ? 'not seen' : iso(rotation.usedAt),
      },
      readingsSeen: 0,
    },
    partition: -1,
    offset: -1,
    correlationId: `certificate-${serial}`,
    evidence: {
      readings: [],
      window: spanOf(Math.min(renewAt, nowMs), nowMs),
      versions: { detector: 'certificate', detectorVersion: VERSION, certificate: serial },
    },
  }
  return { key: deviceKey(tenant, device), schema: ANOMALY, value: jsonBytes(anomaly) }
}

function sentence({ record, phase, because }: NotRenewed, renewAt: number): string {
  const certificate = `certificate ${record.serial} of ${record.device}`
  if (phase === 'cleared') return `${certificate}: ${because ?? 'it was renewed'}`
  const due = `was due for renewal on ${iso(renewAt)} and was not renewed`
  if (phase === 'late') return `${certificate} ${due}; it ends on ${iso(record.notAfter)}, and the device cannot connect after that`
  return `${certificate} ${due}; it ended on ${iso(record.notAfter)}: the device cannot connect until it enrols again`
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
