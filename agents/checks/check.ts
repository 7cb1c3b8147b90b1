import type { AnomalyCause } from '../../contracts/anomaly.ts'
import type { Logger } from '../../kernel/log.ts'
import type { CheckStatus, Evidence, EvidenceQuery, TimeWindow } from '../evidence/evidence.ts'
import type { EvidenceConfig } from '../evidence/config.ts'
import type { Sources } from '../evidence/sources.ts'
import type { ReadingsReader } from '../evidence/readings.ts'
import type { Tools } from '../evidence/tool-spans.ts'
import type { ClaimOp } from '../summary/claim.ts'

export const CHECK_NAMES = [
  'threshold',
  'spike',
  'level_shift',
  'drift',
  'variance',
  'flatline',
  'gap',
  'peers',
  'co_moving',
  'changes',
  'security',
  'pipeline',
] as const
export type CheckName = (typeof CHECK_NAMES)[number]

/** The incident as the checks look at it: its first alert's device and metric. */
export interface CheckSubject {
  tenant: string
  incident: string
  cause: AnomalyCause
  device: string
  type: string
  /** Null for causes that concern the whole device. */
  metric: string | null
  /** The anomaly that began it. */
  anomaly: string
  /** When it began: event time, and wall time of the alert, epoch ms. */
  onsetTs: number
  openedAt: number
  asOf: number
  /** What is compared with what; null where there are no readings to compare. */
  spans: { window: TimeWindow; baseline: TimeWindow } | null
  /** Oldest reading looked at; null without any. */
  oldestTs: number | null
  /** Newest reading of the device that was received by then; null without any. */
  newestTs: number | null
  /** Other metrics of the device, in the order of its readings, and those that tell of its power supply. */
  otherMetrics: readonly string[]
  powerMetrics: readonly string[]
}

export interface CheckContext {
  subject: CheckSubject
  sources: Sources
  reader: ReadingsReader
  config: EvidenceConfig
  log: Logger
  /** What the checks are, and what they use. */
  tools: Tools
  /** Measures as of the watermark; the same question is measured once. */
  ask(query: EvidenceQuery, tools?: Tools): Promise<Evidence>
  /** Other devices of the type that are in use, asked for once. */
  peers(): Promise<readonly string[]>
}

/** A figure worth stating, and where it stands. */
export interface Fact {
  op: ClaimOp
  evidence: Evidence
  /** Of another metric of the device than the subject's. */
  metric?: string
  required?: boolean
}

/** What one check answers. `signals` are what the rules of causes read. */
export interface CheckResult {
  status: CheckStatus
  /** Something that was not usual. */
  interesting: boolean
  facts: Fact[]
  evidence: Evidence[]
  signals: Readonly<Record<string, number>>
}

export interface CheckOutcome extends CheckResult {
  name: CheckName
  /** Why the status is `error`: closed, because the error's own text is others'. */
  failure: 'failed' | 'timed_out' | null
}

export interface Check {
  name: CheckName
  /** Whatever it throws becomes the status `error`. */
  run(context: CheckContext): Promise<CheckResult>
}

export function noData(evidence: Evidence[] = []): CheckResult {
  return { status: 'no_data', interesting: false, facts: [], evidence, signals: {} }
}
