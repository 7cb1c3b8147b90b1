import type { TroubleKind } from '../../contracts/platform-trouble.ts'
import type { ProposalKind } from '../../contracts/proposal.ts'
import type { EvidenceKind } from '../evidence/evidence.ts'
import type { RunbookId } from './runbooks.ts'

export const LEVELS = ['INCONCLUSIVE', 'LIKELY', 'CONFIRMED'] as const
/** How sure a cause is; decided by code alone. */
export type Level = (typeof LEVELS)[number]

interface Cause {
  /** In words for people. */
  says: string
  /** Kinds of evidence of which one at least must stand behind it. */
  needs: readonly EvidenceKind[]
  /** Of the registry's facts, the one that says it. */
  fact?: 'changes' | 'findings' | 'maintenance'
  /** Of evidence of the platform's own health: which trouble says so. */
  trouble?: TroubleKind
  runbook: RunbookId
  proposals: readonly ProposalKind[]
}

/** Every cause that a digest can name. The order is that in which rules are tried: what explains the others comes first. */
export const CAUSES = {
  'platform.part': {
    says: 'a part of the platform does not work',
    needs: ['pipeline_health'],
    trouble: 'part',
    runbook: 'RB-018',
    proposals: [],
  },
  'platform.silent': {
    says: 'a process of the platform is not heard of',
    needs: ['pipeline_health'],
    trouble: 'silent',
    runbook: 'RB-019',
    proposals: [],
  },
  'platform.lag': {
    says: 'a consumer of the platform is far behind',
    needs: ['pipeline_health'],
    trouble: 'lag',
    runbook: 'RB-020',
    proposals: [],
  },
  'platform.dead_letters': {
    says: 'more and more is set aside',
    needs: ['pipeline_health'],
    trouble: 'dead-letters',
    runbook: 'RB-021',
    proposals: [],
  },
  'platform.breaker': { says: 'a model is left alone', needs: ['pipeline_health'], trouble: 'breaker', runbook: 'RB-022', proposals: [] },
  'platform.training': {
    says: 'a training goes on without progress',
    needs: ['pipeline_health'],
    trouble: 'training',
    runbook: 'RB-023',
    proposals: [],
  },
  'platform.clock': {
    says: 'a process of the platform has another time than the others',
    needs: ['pipeline_health'],
    trouble: 'clock',
    runbook: 'RB-024',
    proposals: [],
  },
  'pipeline.lag': { says: 'our own pipeline is behind', needs: ['pipeline_health'], runbook: 'RB-014', proposals: [] },
  'security.impersonation': {
    says: 'somebody else uses the identity of the device',
    needs: ['registry_fact'],
    fact: 'findings',
    runbook: 'RB-011',
    proposals: ['device.quarantine', 'certificate.revoke'],
  },
  'security.cert_anomaly': {
    says: 'a certificate is not as it should be',
    needs: ['registry_fact', 'model_score'],
    fact: 'findings',
    runbook: 'RB-010',
    proposals: ['certificate.revoke'],
  },
  'maintenance.window': {
    says: 'planned maintenance',
    needs: ['registry_fact'],
    fact: 'maintenance',
    runbook: 'RB-017',
    proposals: ['alert.silence'],
  },
  'pipeline.clock_skew': {
    says: 'the clock of the device is wrong',
    needs: ['pipeline_health'],
    runbook: 'RB-016',
    proposals: [],
  },
  'security.payload_tamper': {
    says: 'payloads that are not what the device should send',
    needs: ['pipeline_health'],
    runbook: 'RB-012',
    proposals: ['device.quarantine'],
  },
  'pipeline.duplicate': {
    says: 'readings are sent more than once',
    needs: ['pipeline_health'],
    runbook: 'RB-015',
    proposals: [],
  },
  'power.low': { says: 'the power supply of the device is low', needs: ['deviation'], runbook: 'RB-008', proposals: [] },
  'firmware.regression': {
    says: 'a change of firmware shortly before',
    needs: ['registry_fact'],
    fact: 'changes',
    runbook: 'RB-009',
    proposals: [],
  },
  'environment.common_mode': {
    says: 'something that several devices have in common',
    needs: ['peer_comparison'],
    runbook: 'RB-006',
    proposals: ['incident.acknowledge'],
  },
  'config.change': {
    says: 'a change of configuration shortly before',
    needs: ['registry_fact'],
    fact: 'changes',
    runbook: 'RB-013',
    proposals: [],
  },
  'sensor_fault.flatline': {
    says: 'the sensor is stuck',
    needs: ['deviation'],
    runbook: 'RB-001',
    proposals: [],
  },
  'sensor_fault.spike': { says: 'a spike of the sensor', needs: ['deviation'], runbook: 'RB-002', proposals: [] },
  'process.oscillation': { says: 'the process swings', needs: ['deviation'], runbook: 'RB-005', proposals: [] },
  'sensor_fault.noise': { says: 'the sensor is noisy', needs: ['deviation'], runbook: 'RB-004', proposals: [] },
  'sensor_fault.drift': { says: 'the sensor drifts', needs: ['deviation'], runbook: 'RB-003', proposals: [] },
  'process.level_shift': { says: 'the process moved to another level', needs: ['deviation'], runbook: 'RB-005', proposals: [] },
  'connectivity.gap': {
    says: 'the device cannot be heard',
    needs: ['gap'],
    runbook: 'RB-007',
    proposals: [],
  },
  unknown: { says: 'the evidence does not say', needs: [], runbook: 'RB-000', proposals: [] },
} as const satisfies Record<string, Cause>

export type CauseCode = keyof typeof CAUSES
export const CAUSE_CODES = Object.keys(CAUSES) as CauseCode[]

/** Is there anything to propose about a cause that is this sure? */
export function mayBeActedOn({ code, level }: { code: string; level: string }): boolean {
  return level !== 'INCONCLUSIVE' && Object.hasOwn(CAUSES, code) && CAUSES[code as CauseCode].proposals.length > 0
}
