import type { Assessment } from '../assessment.ts'

/** The series whose turn it is. */
export interface Turn {
  core: Float64Array
  memory: Float32Array
  /** Sum of what was read to fetch them: kept so that no compiler leaves the reading out. */
  fetched: number
}

/** Where a member finds what it knows of a series: its doubles in `core` from `at` on, its floats in `memory` from `from` on. */
export interface MemberState {
  readonly turn: Readonly<Turn>
  readonly at: number
  readonly from: number
  /** What `surprise` found of a value, for `learn`, which is given the same value next: so that nothing is looked for twice. */
  readonly found: Float64Array
}

/** Figures that a member may leave in `found`. */
export const FOUND_FIGURES = 4

/** A value under judgement, and what the fast tier found of it, for members that build on it: one object, filled anew for every value. */
export interface Sample {
  value: number
  tsMs: number
  readonly assessment: Assessment
  /** Values learnt before this one. */
  seen: number
  /** Smallest change between two values so far: the resolution of the sensor; 0 = not known. */
  quantum: number
}

/**
 * One way of being surprised by a series: a member of the ensemble, or a detector of its own as an ensemble of one.
 * Strictly causal and deterministic; answers are finite whatever the value (finite, of magnitude ≤ 1e300) and the timestamps.
 */
export interface Member {
  /** For people, as it stands in contributions. */
  readonly name: string
  /** Doubles and floats it needs per series. */
  readonly doubles: number
  readonly floats: number
  create(state: MemberState): void
  /** How unlike the past, ≥ 0, on a logarithmic scale; 0 while too little is known. Changes nothing but `found`. */
  surprise(state: MemberState, sample: Readonly<Sample>): number
  /** Takes the value into the past, after `surprise` of this very value; told what the fast tier had found of it, before it learnt. */
  learn(state: MemberState, sample: Readonly<Sample>): void
  /** In words, after "but": why `surprise` is what it is. */
  because(state: MemberState, sample: Readonly<Sample>): string
}
