import { Type } from 'typebox'
import { ANOMALY, ANOMALY_CAUSES, type Anomaly } from '../contracts/anomaly.ts'
import { AlertRuleSchema } from '../contracts/alert.ts'
import { EvidenceSchema } from '../contracts/evidence.ts'
import { describeError } from '../kernel/errors.ts'
import { compileSchema } from '../kernel/schema.ts'
import type { LogRecord } from '../storage/event-log/event-log.ts'

/** What an alert is made of; other fields of an anomaly pass through unseen. */
const check = compileSchema(
  Type.Object({
    id: Type.String({ minLength: 1, maxLength: 512 }),
    tenant: Type.String({ minLength: 1 }),
    device: Type.String({ minLength: 1 }),
    type: Type.String(),
    metric: Type.String(),
    cause: Type.Unsafe<Anomaly['cause']>({ type: 'string', enum: [...ANOMALY_CAUSES] }),
    ts: Type.Integer(),
    receivedAt: Type.Integer(),
    phase: Type.Union([Type.Literal('raised'), Type.Literal('cleared')]),
    score: Type.Number({ minimum: 0, maximum: 1 }),
    severity: Type.Union([Type.Literal('warning'), Type.Literal('critical')]),
    explanation: Type.Object({ text: Type.String() }),
    correlationId: Type.String(),
    evidence: Type.Optional(EvidenceSchema),
    rule: Type.Optional(AlertRuleSchema),
    retracted: Type.Optional(Type.Boolean()),
  }),
)

export type DecodedAnomaly = { status: 'decoded'; anomaly: Anomaly } | { status: 'poison'; problem: string }

/** Reads one record of topic `anomalies`; what cannot be read says why, in one sentence. */
export function decodeAnomaly(record: LogRecord): DecodedAnomaly {
  if (record.schema !== ANOMALY) return { status: 'poison', problem: `schema is ${record.schema}, not ${ANOMALY}` }
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(record.value).toString('utf8'))
  } catch (error) {
    return { status: 'poison', problem: `not JSON: ${describeError(error)}` }
  }
  const result = check(value)
  if (result.status === 'valid') return { status: 'decoded', anomaly: value as Anomaly }
  return { status: 'poison', problem: result.faults.map((fault) => `${fault.path} ${fault.problem}`).join('; ') }
}
