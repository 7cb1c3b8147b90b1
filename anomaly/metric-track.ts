import type { MetricValue } from '../contracts/reading.ts'
import type { Detector, Finding } from './detector.ts'
import type { Course } from './feedback/course.ts'
import type { LabelState } from './label-detector.ts'
import { rememberLatest, type EnsembleState } from './ensemble/ensemble-state.ts'

export type ValueKind = 'number' | 'boolean' | 'string'

/** An anomaly that is under way on one metric. */
export interface Raised {
  severity: 'warning' | 'critical'
  /** Normal readings in a row since its latest abnormal one. */
  normalReadings: number
  /** Event time of the latest reading that would raise it, epoch ms. */
  abnormalTs: number
  /** Event time at which it began, and its largest novelty; states of earlier releases do not have them. */
  sinceTs?: number
  peak?: number
  /** What was a usual distance from the local level then (numbers only), and what the readings since then lay beyond it. */
  reach?: number
  course?: number[]
  /** It is the like of one that was rejected: nobody hears of it while it stays so. */
  quiet?: Quiet
}

export interface Quiet {
  /** Id of the feedback. */
  feedback: string
  /** How the rejected one went on; null where that is not known or does not tell. */
  course: Course | null
  /** Event time, and novelty, beyond which it is not the like of what was rejected. */
  untilTs: number
  peakMax: number
}

/** One metric of one device: its kind decides which detector its state belongs to. */
export type MetricTrack =
  { kind: 'number' | 'boolean'; state: EnsembleState; raised: Raised | null } | { kind: 'string'; state: LabelState; raised: Raised | null }

/** The detectors in use: one object each for all series of a kind. */
export interface Detectors {
  readonly number: Detector<EnsembleState, number>
  readonly boolean: Detector<EnsembleState, number>
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

/** Halvings of the way between an abnormal value and the expected one: to a millionth of it. */
const HALVINGS = 20

/** The value nearest to `value` whose novelty is below `threshold`, on the way to `expected`; null when that is not below it either. */
export function nearestNormal(
  detectors: Detectors,
  track: MetricTrack,
  value: number,
  expected: number,
  tsMs: number,
  threshold: number,
): number | null {
  if (noveltyOf(detectors, track, expected, tsMs) >= threshold) return null
  let abnormal = value
  let normal = expected
  for (let k = 0; k < HALVINGS; k++) {
    const middle = abnormal / 2 + normal / 2
    if (noveltyOf(detectors, track, middle, tsMs) >= threshold) abnormal = middle
    else normal = middle
  }
  return normal
}

export function learnInto(detectors: Detectors, track: MetricTrack, value: MetricValue, tsMs: number): void {
  if (track.kind === 'string') detectors.string.learn(track.state, String(value), tsMs)
  else {
    rememberLatest(track.state, Number(value))
    detectors[track.kind].learn(track.state, Number(value), tsMs)
  }
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
