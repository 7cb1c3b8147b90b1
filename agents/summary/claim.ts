import type { EvidenceKind, TimeWindow } from '../evidence/evidence.ts'

/** Names in the place of names: of devices, of metrics, of evidence, of claims. */
export type DeviceHandle = `D${number}`
export type MetricHandle = `M${number}`
export type EvidenceHandle = `E${number}`
export type ClaimId = `c${number}`

/** What a figure is measured in; `metric`: in the unit of the claim's metric, which only whoever renders it knows. */
export const CLAIM_UNITS = ['metric', 'ms', 'time', 'count', 'score', 'spreads', 'times', 'cosine'] as const
export type ClaimUnit = (typeof CLAIM_UNITS)[number]

interface Op {
  /** The kind of evidence that says it, and only that kind. */
  kind: EvidenceKind
  /** Where in its result. */
  field: string
  unit: ClaimUnit
  /** What it is about, for people. */
  says: string
}

const op = (kind: EvidenceKind, field: string, unit: ClaimUnit, says: string): Op => ({ kind, field, unit, says })

/** Everything that can be claimed: closed, because each is recomputed by the verifier in its own way. */
export const CLAIM_OPS = {
  value: op('reading', 'value', 'metric', 'value'),
  mean: op('window_stats', 'mean', 'metric', 'mean'),
  max: op('window_stats', 'max', 'metric', 'highest value'),
  min: op('window_stats', 'min', 'metric', 'lowest value'),
  readings: op('window_stats', 'count', 'count', 'readings since it began'),
  score: op('model_score', 'score', 'score', "detector's score"),
  onset: op('model_score', 'ts', 'time', 'begin'),
  observed: op('model_score', 'observed', 'metric', 'value that raised it'),
  expected: op('model_score', 'expected', 'metric', 'value that the detector expected'),
  weight: op('attribution', 'weight', 'score', 'share of the largest part of the score'),
  peak: op('deviation', 'peak', 'metric', 'value farthest from the usual'),
  peak_at: op('deviation', 'peakTs', 'time', 'time of that value'),
  peak_spreads: op('deviation', 'peakSpreads', 'spreads', 'distance of that value from the usual'),
  usual: op('deviation', 'usual', 'metric', 'usual value'),
  shift: op('deviation', 'shift', 'metric', 'change of the median'),
  shift_spreads: op('deviation', 'shiftSpreads', 'spreads', 'change of the median'),
  trend_spreads: op('deviation', 'trendSpreads', 'spreads', 'change within the incident'),
  beyond: op('deviation', 'beyond', 'count', 'readings far from the usual'),
  width_ratio: op('deviation', 'widthRatio', 'times', 'scatter, by the usual one'),
  step_ratio: op('deviation', 'stepRatio', 'times', 'step between readings, by the usual one'),
  longest_same: op('deviation', 'longestSame', 'count', 'readings of one value in a row'),
  silent_for: op('gap', 'silentForMs', 'ms', 'time since anything was received'),
  last_seen: op('gap', 'lastSeenAt', 'time', 'last receipt'),
  usual_gap: op('gap', 'usualGapMs', 'ms', 'usual time between readings'),
  longest_gap: op('gap', 'longestGapMs', 'ms', 'longest time between readings'),
  compared: op('peer_comparison', 'seen', 'count', 'others compared'),
  moved: op('peer_comparison', 'moved', 'count', 'others that changed too'),
  together: op('peer_comparison', 'together', 'count', 'others that changed the same way'),
  alerts: op('registry_fact', 'alerts', 'count', 'alerts'),
  devices: op('registry_fact', 'devices', 'count', 'devices'),
  changes: op('registry_fact', 'changes', 'count', 'changes shortly before'),
  firmware_changes: op('registry_fact', 'firmware', 'count', 'changes of firmware shortly before'),
  config_changes: op('registry_fact', 'config', 'count', 'changes of configuration shortly before'),
  change_at: op('registry_fact', 'lastAt', 'time', 'latest of them'),
  findings: op('registry_fact', 'open', 'count', 'open security findings'),
  shared_identity: op('registry_fact', 'shared', 'count', 'findings that its identity is used elsewhere'),
  maintenance: op('registry_fact', 'on', 'count', 'maintenance windows that were on'),
  stored: op('pipeline_health', 'stored', 'count', 'readings stored'),
  rejected: op('pipeline_health', 'rejected', 'count', 'readings set aside'),
  rejected_time: op('pipeline_health', 'rejectedForTime', 'count', 'readings set aside for their time'),
  rejected_content: op('pipeline_health', 'rejectedForContent', 'count', 'readings set aside for their content'),
  late: op('pipeline_health', 'late', 'count', 'readings too late for their windows'),
  late_readings: op('pipeline_health', 'lateReadings', 'count', 'readings that came later than usual'),
  duplicate: op('pipeline_health', 'duplicate', 'count', 'duplicates'),
  missing: op('pipeline_health', 'missing', 'count', 'numbers never received'),
  delay: op('pipeline_health', 'delayMs', 'ms', 'time from reading to receipt'),
  usual_delay: op('pipeline_health', 'usualDelayMs', 'ms', 'usual time from reading to receipt'),
  past_compared: op('history', 'compared', 'count', 'incidents of before that were compared'),
  similar: op('history', 'similar', 'count', 'similar incidents of before'),
  nearest: op('history', 'nearest', 'cosine', 'likeness of the nearest one'),
} as const satisfies Record<string, Op>

export type ClaimOp = keyof typeof CLAIM_OPS
export const CLAIM_OP_NAMES = Object.keys(CLAIM_OPS) as ClaimOp[]

/** A figure, with what it is about and what says so. */
export interface Claim {
  id: ClaimId
  kind: EvidenceKind
  op: ClaimOp
  /** Null: of the incident as a whole. */
  device: DeviceHandle | null
  metric: MetricHandle | null
  value: number
  unit: ClaimUnit
  /** Event time that it is about, where it is about one. */
  window: TimeWindow | null
  evidence: EvidenceHandle[]
  /** A digest without it would leave out what matters. */
  required: boolean
}
