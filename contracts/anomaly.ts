import type { Evidence } from './evidence.ts'
import type { AnomalyEvent, Pattern } from './feedback.ts'

/**
 * `peers`: a device is odd among the others of its type. `rule`: a threshold that people set was crossed. `certificate`: a device did not renew its certificate in time. `security`: a security check
 * found a weakness. `rollout`: firmware was not taken as it should be. `model`: the metrics of a device together are unlike what is normal for
 * its type. `model-health`: such a model should be looked at. `platform`: a part of the platform itself does not work. `external`: another
 * system says so.
 */
export const ANOMALY_CAUSES = [
  'value',
  'correlation',
  'peers',
  'model',
  'silence',
  'rule',
  'certificate',
  'security',
  'rollout',
  'model-health',
  'platform',
  'external',
] as const
export type AnomalyCause = (typeof ANOMALY_CAUSES)[number]

/** Stands in alerts of other systems for what is no device of ours; no device can have this id. */
export const EXTERNAL_SUBJECT = '_external'

/** Why a detector said so: what was expected, and how each part contributed. Kept with the anomaly, so that it can be recomputed. */
export interface Explanation {
  /** One sentence in plain words with numbers and units of time. */
  text: string
  observed: number | null
  expected: number | null
  /** Values from `low` to `high` would have been normal. */
  low: number | null
  high: number | null
  /**
   * The value nearest to the observed one that would not have raised this; null where no value would, because of those before it.
   * Absent for causes without a value and in anomalies of earlier releases.
   */
  wouldBeNormal?: number | null
  /** Parts of the score, each ≥ 0, largest first; `error`: standard error of a weight that was sampled. */
  contributions: { part: string; weight: number; error?: number }[]
  detector: string
  detectorVersion: number
  parameters: Record<string, number | string | boolean>
  /** Readings of this series seen before this one; below `warmUpReadings` no anomaly is raised. */
  readingsSeen: number
}

/** On topic `anomalies` (schema `anomaly/1`). */
export interface Anomaly {
  /** Deterministic: the same log gives the same id. */
  id: string
  tenant: string
  device: string
  type: string
  /** Empty for causes that concern the whole device. */
  metric: string
  cause: AnomalyCause
  /** Event time of the reading; for silence the time at which the device should have spoken. */
  ts: number
  /** When the reading was received (for silence: when it was noticed), epoch ms. */
  receivedAt: number
  /** `raised` for an anomaly, `cleared` when the same cause is over. */
  phase: 'raised' | 'cleared'
  /** [0, 1]. */
  score: number
  severity: 'warning' | 'critical'
  explanation: Explanation
  /** [0, 1]: how likely it is true, where that is known: of many such, about this share is. */
  confidence?: number
  /** What it looked like when it was raised, for finding its like; absent for causes without a value and in anomalies of earlier releases. */
  pattern?: Pattern
  /** Of what is over. */
  event?: AnomalyEvent
  /** Id of the feedback that made it come before its time. */
  confirmedBy?: string
  /** Log position of the reading; -1 where there is none. */
  partition: number
  offset: number
  correlationId: string
  /** What it rests on; absent where the fields above say all: the reading at `partition` and `offset`, and the detector. */
  evidence?: Evidence
  /** Of cause `rule`: each rule has alerts of its own. Of cause `external`: what raised it in the other system, in that system's words. */
  rule?: AnomalyRule
  /** Of a clearing: what was raised turned out not to have been, because a window was corrected. */
  retracted?: true
}

/** The rule that was broken, as it was then. */
export interface AnomalyRule {
  id: string
  version: number
  name: string
  /** What it means, and what to do; either may be empty. */
  summary: string
  remedy: string
}
export const ANOMALY = 'anomaly/1'
