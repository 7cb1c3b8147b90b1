import type { MetricValue } from '../contracts/reading.ts'
import type { Detector, Finding } from './detector.ts'
import type { LabelState } from './label-detector.ts'
import type { SeriesState } from './series-state.ts'

export type ValueKind = 'number' | 'boolean' | 'string'

/** An anomaly that is under way on one metric. */
export interface Raised {
  severity: 'warning' | 'critical'
  /** Normal readings in a row since its latest abnormal one. */
  normalReadings: number
  /** Event time of the latest reading that would raise it, epoch ms. */
  abnormalTs: number
}

/** One metric of one device: its kind decides which detector its state belongs to. */
export type MetricTrack =
  { kind: 'number' | 'boolean'; state: SeriesState; raised: Raised | null } | { kind: 'string'; state: LabelState; raised: Raised | null }

/** The detectors in use: one object each for all series of a kind. */
export interface Detectors {
  readonly number: Detector<SeriesState, number>
  readonly boolean: Detector<SeriesState, number>
  readonly string: Detector<LabelState, string>
}

export function kindOf(value: MetricValue): ValueKind {
  return typeof value === 'string' ? 'string' : typeof value === 'boolean' ? 'boolean' : 'number'
}

export function createTrack(detectors: Detectors, kind: ValueKind): MetricTrack {
  return kind === 'string'
    ? { kind, state: detectors.string.create(), raised: null }
    : { kind, state: detectors[kind].create(), raised: null }
}

export function noveltyOf(detectors: Detectors, track: MetricTrack, value: MetricValue, tsMs: number): number {
  return track.kind === 'string'
    ? detectors.string.novelty(track.state, String(value), tsMs)
    : detectors[track.kind].novelty(track.state, Number(value), tsMs)
}

export function learnInto(detectors: Detectors, track: MetricTrack, value: MetricValue, tsMs: number): void {
  if (track.kind === 'string') detectors.string.learn(track.state, String(value), tsMs)
  else detectors[track.kind].learn(track.state, Number(value), tsMs)
}

export function findingOf(detectors: Detectors, track: MetricTrack, value: MetricValue, tsMs: number): Finding {
  return track.kind === 'string'
    ? detectors.string.explain(track.state, String(value), tsMs)
    : detectors[track.kind].explain(track.state, Number(value), tsMs)
}

/** Enough values were learnt for a score to be worth an alert. */
export function isWarm(detectors: Detectors, track: MetricTrack): boolean {
  const seen = track.kind === 'string' ? detectors.string.seen(track.state) : detectors[track.kind].seen(track.state)
  return seen >= detectors[track.kind].warmUpReadings
}

export function snapshotOf(detectors: Detectors, track: MetricTrack): Uint8Array {
  return track.kind === 'string' ? detectors.string.snapshot(track.state) : detectors[track.kind].snapshot(track.state)
}

export function restoreTrack(detectors: Detectors, kind: ValueKind, bytes: Uint8Array, raised: Raised | null): MetricTrack {
  return kind === 'string'
    ? { kind, state: detectors.string.restore(bytes), raised }
    : { kind, state: detectors[kind].restore(bytes), raised }
}
