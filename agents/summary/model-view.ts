import type { AnomalyCause } from '../../contracts/anomaly.ts'
import type { IncidentLevel, Severity } from '../../contracts/alert.ts'
import type { CauseCode, Level } from '../causes/catalogue.ts'
import type { RunbookId } from '../causes/runbooks.ts'
import type { CheckName } from '../checks/check.ts'
import type { CheckStatus, EvidenceKind } from '../evidence/evidence.ts'
import type { ClaimId, ClaimOp, ClaimUnit, DeviceHandle, EvidenceHandle, MetricHandle } from './claim.ts'
import type { GapCode, Investigation } from './investigation.ts'

/** All that a model is shown of an incident: words of ours, figures, and handles in the place of names. No field can hold open text. */
export interface ModelView {
  incident: { cause: AnomalyCause; level: IncidentLevel; severity: Severity }
  devices: DeviceHandle[]
  metrics: MetricHandle[]
  claims: {
    id: ClaimId
    op: ClaimOp
    device: DeviceHandle | null
    metric: MetricHandle | null
    value: number
    unit: ClaimUnit
    evidence: EvidenceHandle[]
    required: boolean
  }[]
  evidence: { handle: EvidenceHandle; kind: EvidenceKind; status: CheckStatus }[]
  checks: { name: CheckName; status: CheckStatus; interesting: boolean }[]
  causes: { code: CauseCode; level: Level; evidence: EvidenceHandle[] }[]
  runbooks: RunbookId[]
  gaps: { code: GapCode; check: CheckName | null }[]
  history: { compared: number; similar: number }
}

/** True where a type has a place for any text at all. */
export type HoldsOpenText<T> = T extends string
  ? string extends T
    ? true
    : false
  : T extends readonly (infer Item)[]
    ? HoldsOpenText<Item>
    : T extends object
      ? true extends { [K in keyof T]: HoldsOpenText<T[K]> }[keyof T]
        ? true
        : false
      : false

/** Does not compile once open text finds a way into the view. */
export const MODEL_VIEW_IS_CLOSED: HoldsOpenText<ModelView> extends true ? never : true = true

export function modelView(investigation: Investigation): ModelView {
  const { incident, names, claims, evidence, checks, causes, runbooks, gaps, history } = investigation
  const { cause, level, severity } = incident
  return {
    incident: { cause, level, severity },
    devices: Object.keys(names.devices) as DeviceHandle[],
    metrics: Object.keys(names.metrics) as MetricHandle[],
    claims: claims.map(({ id, op, device, metric, value, unit, evidence: cited, required }) => {
      return { id, op, device, metric, value, unit, evidence: [...cited], required }
    }),
    evidence: (Object.keys(evidence) as EvidenceHandle[]).flatMap((handle) => {
      const found = evidence[handle]
      return found === undefined ? [] : [{ handle, kind: found.kind, status: found.status }]
    }),
    checks: checks.map(({ name, status, interesting }) => ({ name, status, interesting })),
    causes: causes.map(({ code, level: sure, evidence: cited }) => ({ code, level: sure, evidence: [...cited] })),
    runbooks: [...runbooks],
    gaps: gaps.map(({ code, check }) => ({ code, check })),
    history: { compared: history.compared, similar: history.similar.length },
  }
}
