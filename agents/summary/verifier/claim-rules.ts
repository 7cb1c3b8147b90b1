import type { EvidenceKind } from '../../evidence/evidence.ts'
import type { ClaimOp, ClaimUnit } from '../claim.ts'

interface Rule {
  kind: EvidenceKind
  unit: ClaimUnit
  /** Of the recounted figures, the one that must be claimed. */
  figure: string
}

/** The verifier's own table of what each claim means: a slip in the other one is caught here. */
const TABLE = `
value            reading          metric   value
mean             window_stats     metric   mean
max              window_stats     metric   max
min              window_stats     metric   min
readings         window_stats     count    count
score            model_score      score    score
onset            model_score      time     ts
observed         model_score      metric   observed
expected         model_score      metric   expected
weight           attribution      score    weight
peak             deviation        metric   peak
peak_at          deviation        time     peakTs
peak_spreads     deviation        spreads  peakSpreads
usual            deviation        metric   usual
shift            deviation        metric   shift
shift_spreads    deviation        spreads  shiftSpreads
trend_spreads    deviation        spreads  trendSpreads
beyond           deviation        count    beyond
width_ratio      deviation        times    widthRatio
step_ratio       deviation        times    stepRatio
longest_same     deviation        count    longestSame
silent_for       gap              ms       silentForMs
last_seen        gap              time     lastSeenAt
usual_gap        gap              ms       usualGapMs
longest_gap      gap              ms       longestGapMs
compared         peer_comparison  count    seen
moved            peer_comparison  count    moved
together         peer_comparison  count    together
alerts           registry_fact    count    alerts
devices          registry_fact    count    devices
changes          registry_fact    count    changes
firmware_changes registry_fact    count    firmware
config_changes   registry_fact    count    config
change_at        registry_fact    time     lastAt
findings         registry_fact    count    open
shared_identity  registry_fact    count    shared
maintenance      registry_fact    count    on
stored           pipeline_health  count    stored
rejected         pipeline_health  count    rejected
rejected_time    pipeline_health  count    rejectedForTime
rejected_content pipeline_health  count    rejectedForContent
late             pipeline_health  count    late
late_readings    pipeline_health  count    lateReadings
duplicate        pipeline_health  count    duplicate
missing          pipeline_health  count    missing
delay            pipeline_health  ms       delayMs
usual_delay      pipeline_health  ms       usualDelayMs
past_compared    history          count    compared
similar          history          count    similar
nearest          history          cosine   nearest
`

export const CLAIM_RULES: ReadonlyMap<string, Rule> = new Map(
  TABLE.trim()
    .split('\n')
    .map((line) => line.split(/ +/) as [ClaimOp, EvidenceKind, ClaimUnit, string])
    .map(([op, kind, unit, figure]) => [op, { kind, unit, figure }]),
)

/** Of the ledger: counts of an hour that is not over only grow. */
export const GROWING: ReadonlySet<string> = new Set([
  'stored',
  'rejected',
  'rejectedForTime',
  'rejectedForContent',
  'late',
  'duplicate',
  'missing',
])
