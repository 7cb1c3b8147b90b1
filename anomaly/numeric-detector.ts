import type { Detector, Finding } from './detector.ts'
import { assess, newAssessment, type Assessment } from './assessment.ts'
import { gated, learnEvent } from './event-gate.ts'
import { learnValue } from './learning.ts'
import { explainAssessment } from './numeric-finding.ts'
import { NUMERIC_DEFAULTS, type NumericParameters } from './numeric-parameters.ts'
import { createSeriesState, restoreSeriesState, SEEN, snapshotSeriesState, type SeriesState } from './series-state.ts'

/** Magnitudes above this are taken as this: differences stay finite. */
const VALUE_MAX = 1e300

/**
 * Detector of numeric series: the root of summed squares of six surprises (see `PART_LIST`), each measured in spreads of what is usual
 * for this very series on an asinh scale, and a short mean of it. Forecasts come from whichever of last value, fast and slow level,
 * time of day, time of week and best lag has lately been least wrong. Booleans are series of 0 and 1.
 * A value that is not finite scores 0 and teaches nothing.
 */
export class NumericDetector implements Detector<SeriesState, number> {
  readonly name = 'robust-online'
  readonly version = 1
  readonly warmUpReadings: number
  readonly #parameters: Readonly<NumericParameters>
  readonly #quantum: number
  readonly #assessment: Assessment = newAssessment()
  /** What the assessment is of, so that `learn` after `score` does not assess again. */
  #state: SeriesState | undefined
  #value = 0
  #tsMs = 0

  /** `quantum`: smallest change that means anything, where it is known beforehand; 0 = learn it. */
  constructor(options: { parameters?: Readonly<NumericParameters>; quantum?: number } = {}) {
    this.#parameters = options.parameters ?? NUMERIC_DEFAULTS
    this.#quantum = options.quantum ?? 0
    this.warmUpReadings = this.#parameters.warmUpReadings
  }

  create(): SeriesState {
    return createSeriesState(this.#quantum)
  }

  novelty(state: SeriesState, value: number, tsMs: number): number {
    if (!Number.isFinite(value)) return 0
    this.#assess(state, clamp(value), tsMs)
    return this.#assessment.novelty
  }

  score(state: SeriesState, value: number, tsMs: number): number {
    return gated(state.core, this.novelty(state, value, tsMs))
  }

  learn(state: SeriesState, value: number, tsMs: number): void {
    if (!Number.isFinite(value)) return
    const known = clamp(value)
    this.#assess(state, known, tsMs)
    learnEvent(state.core, this.#assessment.novelty, this.#parameters.eventReadings)
    learnValue(state, known, tsMs, this.#assessment, this.#parameters)
    this.#state = undefined
  }

  explain(state: SeriesState, value: number, tsMs: number): Finding {
    const known = Number.isFinite(value) ? clamp(value) : 0
    this.#assess(state, known, tsMs)
    const finding = explainAssessment(state, known, this.#assessment)
    return { ...finding, detector: this.name, detectorVersion: this.version, parameters: { ...this.#parameters } }
  }

  seen(state: SeriesState): number {
    return state.core[SEEN]!
  }

  snapshot(state: SeriesState): Uint8Array {
    return snapshotSeriesState(state)
  }

  restore(bytes: Uint8Array): SeriesState {
    return restoreSeriesState(bytes)
  }

  #assess(state: SeriesState, value: number, tsMs: number): void {
    if (this.#state === state && this.#value === value && this.#tsMs === tsMs) return
    assess(state, value, tsMs, this.#assessment, this.#parameters)
    this.#state = state
    this.#value = value
    this.#tsMs = tsMs
  }
}

function clamp(value: number): number {
  return value > VALUE_MAX ? VALUE_MAX : value < -VALUE_MAX ? -VALUE_MAX : value
}
