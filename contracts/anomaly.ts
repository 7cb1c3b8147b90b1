/** `certificate`: a device did not renew its certificate in time. `security`: a security check found a weakness. */
export type AnomalyCause = 'value' | 'silence' | 'certificate' | 'security'

/** Why a detector said so: what was expected, and how each part contributed. Kept with the anomaly, so that it can be recomputed. */
export interface Explanation {
  /** One sentence in plain words with numbers and units of time. */
  text: string
  observed: number | null
  expected: number | null
  /** Values from `low` to `high` would have been normal. */
  low: number | null
  high: number | null
  /** Parts of the score, each ≥ 0, largest first. */
  contributions: { part: string; weight: number }[]
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
  /** Log position of the reading; -1 where there is none. */
  partition: number
  offset: number
  correlationId: string
}
export const ANOMALY = 'anomaly/1'
