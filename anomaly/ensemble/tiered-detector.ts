import type { Detector, Finding } from '../detector.ts'
import { NumericDetector } from '../numeric-detector.ts'
import { EnsembleDetector } from './ensemble-detector.ts'
import { JUDGED_TS, type EnsembleState } from './ensemble-state.ts'

/**
 * The two tiers over one state: the fast one judges every value, the whole ensemble at most one value a `fullEveryMs` of event time,
 * so that a series of one reading a second or fewer gets the ensemble every time and a fast one stays cheap.
 */
export class TieredDetector implements Detector<EnsembleState, number> {
  readonly name = 'tiered'
  readonly version = 1
  readonly warmUpReadings: number
  readonly #fast: NumericDetector
  readonly #ensemble: EnsembleDetector
  readonly #fullEveryMs: number | null

  /** `quantum`: smallest change that means anything, where it is known beforehand; 0 = learn it. `fullEveryMs` 0 = always, null = never. */
  constructor(options: { fullEveryMs: number | null; quantum?: number }) {
    const quantum = options.quantum ?? 0
    this.#fast = new NumericDetector({ quantum })
    this.#ensemble = new EnsembleDetector({ quantum, ...(options.fullEveryMs === null ? { members: [] } : {}) })
    this.#fullEveryMs = options.fullEveryMs
    this.warmUpReadings = this.#fast.warmUpReadings
  }

  create(): EnsembleState {
    return this.#ensemble.create()
  }

  novelty(state: EnsembleState, value: number, tsMs: number): number {
    return this.#due(state, tsMs) ? this.#ensemble.novelty(state, value, tsMs) : this.#fast.novelty(state.fast, value, tsMs)
  }

  score(state: EnsembleState, value: number, tsMs: number): number {
    return this.#due(state, tsMs) ? this.#ensemble.score(state, value, tsMs) : this.#fast.score(state.fast, value, tsMs)
  }

  learn(state: EnsembleState, value: number, tsMs: number): void {
    if (this.#due(state, tsMs)) this.#ensemble.learn(state, value, tsMs)
    else this.#fast.learn(state.fast, value, tsMs)
  }

  explain(state: EnsembleState, value: number, tsMs: number): Finding {
    return this.#due(state, tsMs) ? this.#ensemble.explain(state, value, tsMs) : this.#fast.explain(state.fast, value, tsMs)
  }

  seen(state: EnsembleState): number {
    return this.#fast.seen(state.fast)
  }

  snapshot(state: EnsembleState): Uint8Array {
    return this.#ensemble.snapshot(state)
  }

  restore(bytes: Uint8Array): EnsembleState {
    return this.#ensemble.restore(bytes)
  }

  /** A clock that was set back is due at once. */
  #due(state: EnsembleState, tsMs: number): boolean {
    if (this.#fullEveryMs === null) return false
    const since = tsMs - state.core[JUDGED_TS]!
    return since >= this.#fullEveryMs || since < 0 || state.core[JUDGED_TS] === 0
  }
}
