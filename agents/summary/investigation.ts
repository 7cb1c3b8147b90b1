import type { AnomalyCause } from '../../contracts/anomaly.ts'
import type { IncidentLevel, Severity } from '../../contracts/alert.ts'
import type { CauseCode, Level } from '../causes/catalogue.ts'
import type { ProposalKind } from '../../contracts/proposal.ts'
import type { RunbookId } from '../causes/runbooks.ts'
import type { CheckName } from '../checks/check.ts'
import type { CheckStatus, Evidence } from '../evidence/evidence.ts'
import type { Tainted } from '../evidence/tainted.ts'
import type { Claim, DeviceHandle, EvidenceHandle, MetricHandle } from './claim.ts'

/** What could not be looked at, or not wholly: each is said in the digest. */
export const GAP_CODES = [
  'check_failed',
  'check_timed_out',
  'check_no_data',
  'truncated',
  'late_data',
  'few_readings',
  'young_device',
  'store_behind',
  'only_alert_seen',
  'unknown_device',
  'said_elsewhere',
] as const
export type GapCode = (typeof GAP_CODES)[number]
export interface Gap {
  code: GapCode
  /** The check that it concerns; null: the whole. */
  check: CheckName | null
}

/** What a handle stands for. Joined in when it is rendered; never shown to a model. */
export interface Names {
  devices: Record<DeviceHandle, { device: string; name: Tainted }>
  metrics: Record<MetricHandle, { metric: string; name: Tainted; unit: Tainted | null }>
}

export interface CheckReport {
  name: CheckName
  status: CheckStatus
  interesting: boolean
  evidence: EvidenceHandle[]
}

export interface CauseReport {
  code: CauseCode
  level: Level
  evidence: EvidenceHandle[]
}

/** Incidents of before that are like this one, the nearest first. */
export interface SimilarIncident {
  incident: string
  likeness: number
  openedAt: number
  cause: string
  level: string
  resolution: 'operator' | 'by-itself' | 'open'
  rating: { stars: number; verdict: string } | null
}
export interface IncidentHistory {
  compared: number
  similar: SimilarIncident[]
}

/** All that code found about an incident as of one instant: what a digest may say, and what it must. */
export interface Investigation {
  incident: {
    id: string
    tenant: string
    level: IncidentLevel
    cause: AnomalyCause
    metric: MetricHandle | null
    severity: Severity
    openedAt: number
  }
  asOf: number
  names: Names
  evidence: Record<EvidenceHandle, Evidence>
  checks: CheckReport[]
  claims: Claim[]
  causes: CauseReport[]
  runbooks: RunbookId[]
  proposals: ProposalKind[]
  gaps: Gap[]
  history: IncidentHistory
  /** By which incidents are compared. */
  features: number[]
  /** SHA-256, hex: equal when nothing that matters has changed, whatever the watermark. */
  evidenceHash: string
}
