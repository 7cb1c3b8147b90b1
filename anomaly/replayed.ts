import type { MetricValue } from '../contracts/reading.ts'

/** A stored reading of the device. */
export interface PastReading {
  readonly ts: number
  readonly values: Readonly<Record<string, MetricValue>>
}

/** `changed`: what keeps the score from being the same, or from being recomputed at all. */
export type Replayed =
  { status: 'same'; score: number; readings: number } | { status: 'changed'; score: number | null; readings: number; why: string[] }
