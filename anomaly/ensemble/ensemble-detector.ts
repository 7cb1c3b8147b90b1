import { assess, newAssessment } from '../assessment.ts'
import type { Detector, Finding } from '../detector.ts'
import { learnValue } from '../learning.ts'
import { NUMERIC_DEFAULTS } from '../numeric-parameters.ts'
import { QUANTUM, SEEN as FAST_SEEN } from '../series-state.ts'
import { explainEnsemble } from './ensemble-finding.ts'
import { ENSEMBLE_DEFAULTS, type EnsembleParameters } from './ensemble-parameters.ts'
import {
  createEnsembleState,
  EVENT_LEFT,
  EVENT_PEAK,
  JUDGED_TS,
  layoutOf,
  pointAt,
  RECENT,
  restoreEnsembleState,
  SEEN,
  snapshotEnsembleState,
  type EnsembleLayout,
  type EnsembleState,
} from './ensemble-state.ts'
import type { Sample } from './member.ts'
import { MEMBERS, type Weighted } from './members.ts'
import { fillVerdict, type Verdict } from './verdict.ts'

/** Magnitudes above this are taken as this: differences stay finite. */
const VALUE_MAX = 1e300
/** What is left of the score of a repeat. */
const REPEAT_SHARE = 0.3
const REPEAT_MAX = 0.3
const EVENT_AT = 0.5

/**
 * The members' surprises joined: the root of their weighted sum of squares, half of it as a short mean, on a scale from 0 to 1. It
 * contains the fast tier (`NumericDetector`'s assessment), on which some members build. With one member it is that member's detector.
 * A value that is not finite scores 0 and teaches nothing.
 */
export class EnsembleDetector implements Detector<EnsembleState, number> {
  readonly name: string
  readonly version = 1
  readonly warmUpReadings: number
  readonly members: readonly Weighted[]
  readonly #parameters: Readonly<EnsembleParameters>
  readonly #quantum: number
  readonly #layout: EnsembleLayout
  readonly #verdict: Verdict
  readonly #sample: Sample = { value: 0.5, tsMs: 0.5, assessment: newAssessment(), seen: 0, quantum: 0.5 }
  /** What the verdict is of, so that `learn` after `score` does not judge again. */
  #state: EnsembleState | undefined

  /** `quantum`: smallest change that means anything, where it is known beforehand; 0 = learn it. */
  constructor(options: { name?: string; members?: readonly Weighted[]; parameters?: Readonly<EnsembleParameters>; quantum?: number } = {}) {
    this.name = options.name ?? 'ensemble'
    this.members = options.members ?? MEMBERS
    this.#parameters = options.parameters ?? ENSEMBLE_DEFAULTS
    this.#quantum = options.quantum ?? 0
    this.warmUpReadings = this.#parameters.warmUpReadings
    this.#layout = layoutOf(this.members)
    this.#verdict = { surprises: new Float64Array(this.members.length), combined: 0, recent: 0, joint: 0, novelty: 0 }
  }

  get stateBytes(): number {
    return this.#layout.bytes
  }

  create(): EnsembleState {
    return createEnsembleState(this.#layout, this.members, this.#quantum)
  }

  novelty(state: EnsembleState, value: number, tsMs: number): number {
    if (!Number.isFinite(value)) return 0
    this.#judge(state, clamp(value), tsMs)
    return this.#verdict.novelty
  }

  score(state: EnsembleState, value: number, tsMs: number): number {
    const novelty = this.novelty(state, value, tsMs)
    const { core } = state
    const repeats = core[EVENT_LEFT]! > 0 && this.#verdict.joint <= this.#parameters.eventStep * core[EVENT_PEAK]!
    return repeats ? Math.min(REPEAT_MAX, novelty * REPEAT_SHARE) : novelty
  }

  learn(state: EnsembleState, value: number, tsMs: number): void {
    if (!Number.isFinite(value)) return
    const known = clamp(value)
    this.#judge(state, known, tsMs)
    this.#learnEvent(state.core)
    pointAt(this.#layout, state)
    for (let k = 0; k < this.members.length; k++) this.members[k]!.member.learn(this.#layout.members[k]!, this.#sample)
    learnValue(state.fast, known, tsMs, this.#sample.assessment, NUMERIC_DEFAULTS)
    state.core[RECENT] = this.#verdict.recent
    state.core[SEEN] = state.core[SEEN]! + 1
    state.core[JUDGED_TS] = tsMs
    this.#state = undefined
  }

  explain(state: EnsembleState, value: number, tsMs: number): Finding {
    const known = Number.isFinite(value) ? clamp(value) : 0
    this.#judge(state, known, tsMs)
    const finding = explainEnsemble(state, this.members, this.#layout.members, this.#verdict, this.#sample)
    return { ...finding, detector: this.name, detectorVersion: this.version, parameters: { ...this.#parameters } }
  }

  seen(state: EnsembleState): number {
    return state.fast.core[FAST_SEEN]!
  }

  snapshot(state: EnsembleState): Uint8Array {
    return snapshotEnsembleState(this.#layout, state)
  }

  restore(bytes: Uint8Array): EnsembleState {
    return restoreEnsembleState(this.#layout, this.members, bytes)
  }

  #judge(state: EnsembleState, value: number, tsMs: number): void {
    const sample = this.#sample
    if (this.#state === state && sample.value === value && sample.tsMs === tsMs) return
    pointAt(this.#layout, state)
    assess(state.fast, value, tsMs, sample.assessment, NUMERIC_DEFAULTS)
    sample.value = value
    sample.tsMs = tsMs
    sample.seen = state.fast.core[FAST_SEEN]!
    sample.quantum = state.fast.core[QUANTUM]!
    fillVerdict(this.#verdict, state.core, this.#layout.members, this.members, sample, this.#parameters)
    this.#state = state
  }

  /** Begins an event, or makes it last anew when it grows; otherwise it runs out value by value. */
  #learnEvent(core: Float64Array): void {
    const { joint, novelty } = this.#verdict
    const left = core[EVENT_LEFT]!
    if (novelty >= EVENT_AT && (left <= 0 || joint > core[EVENT_PEAK]!)) {
      const { eventShare, eventReadingsMin, eventReadingsMax } = this.#parameters
      core[EVENT_PEAK] = joint
      core[EVENT_LEFT] = Math.min(eventReadingsMax, Math.max(eventReadingsMin, eventShare * core[SEEN]!))
    } else if (left > 0) {
      core[EVENT_LEFT] = left - 1
    }
  }
}

function clamp(value: number): number {
  return value > VALUE_MAX ? VALUE_MAX : value < -VALUE_MAX ? -VALUE_MAX : value
}
