import type { DueAt, ReadingOperator } from '../contracts/operator.ts'
import type { Logger } from '../kernel/log.ts'
import type { Clock } from '../kernel/time.ts'
import { DueTimes, type Due } from './due-times.ts'

/** A device that was taken up is not taken up again before, should reading its state fail or its partition be leaving. */
const AGAIN_MS = 10_000

/** What is needed of a device's state. */
interface SpilledState {
  readonly key: string
  readonly partition: number
  /** One per operator, in their order. */
  readonly operatorStates: readonly unknown[]
}

export interface SpilledDevicesOptions {
  operators: readonly ReadingOperator<unknown>[]
  bounds: { devicesSpilledMax: number }
  clock: Clock
  log: Logger
}

/**
 * When the operators of devices that are out of memory are to be told the time. Those for which there is nothing to do but wait for their
 * next reading are not kept.
 */
export class SpilledDevices {
  readonly #options: SpilledDevicesOptions
  readonly #times: DueTimes
  #beyond = 0

  constructor(options: SpilledDevicesOptions) {
    this.#options = options
    this.#times = new DueTimes(options.bounds.devicesSpilledMax)
  }

  get size(): number {
    return this.#times.size
  }
  /** How often a device was not entered because there was no room. */
  get beyond(): number {
    return this.#beyond
  }

  /** A device left memory, its operators were told the time before. */
  enter(state: SpilledState): void {
    this.#enter(state, undefined)
  }

  /** A saved state that this process sees for the first time, and that does not come into memory: it counts from now on. */
  enterUnseen(state: SpilledState): void {
    this.#enter(state, this.#options.clock.nowMs())
  }

  /** Its state is in memory again, where everything stays as it would have been there. */
  resume(state: SpilledState): void {
    // Most devices are not here, and then this is all that it costs.
    const due = this.#times.get(state.key)
    if (due === undefined) return
    this.#times.delete(state.key)
    this.#resume(state, due.sinceMs)
  }

  /** The earliest device that is due; it is due again some seconds later, unless something else is said of it. */
  take(nowMs: number): Due | undefined {
    const due = this.#times.first()
    if (due === undefined || due.dueMs > nowMs) return undefined
    this.#times.set({ ...due, dueMs: nowMs + AGAIN_MS })
    return due
  }

  /** What was saved of a device that was taken, with what this process knows of its silence. */
  look(state: SpilledState, due: Due): void {
    this.#resume(state, due.sinceMs)
  }

  /** Its operators were told the time, and nothing came of it. */
  again(state: SpilledState, { sinceMs }: Due, nowMs: number): void {
    const dueMs = this.#dueOf(state, nowMs)?.dueMs
    if (dueMs === undefined) this.#times.delete(state.key)
    else this.#times.set({ key: state.key, partition: state.partition, dueMs: Math.max(dueMs, nowMs + 1), sinceMs })
  }

  delete(key: string): void {
    this.#times.delete(key)
  }

  dropPartition(partition: number): void {
    this.#times.dropPartition(partition)
  }

  #enter(state: SpilledState, sinceMs: number | undefined): void {
    const due = this.#dueOf(state, this.#options.clock.nowMs())
    if (due === null) return
    const { key, partition } = state
    if (this.#times.set({ key, partition, dueMs: due.dueMs, sinceMs: sinceMs ?? due.sinceMs })) return
    if (this.#beyond++ > 0) return
    const { devicesSpilledMax } = this.#options.bounds
    this.#options.log.warn({ devicesSpilledMax }, 'more devices are out of memory than processing.devicesSpilledMax: some raise no silence')
  }

  #dueOf({ operatorStates }: SpilledState, nowMs: number): DueAt | null {
    let [dueMs, sinceMs] = [Infinity, Infinity]
    for (const [index, operator] of this.#options.operators.entries()) {
      const due = operator.dueAt?.(operatorStates[index], nowMs) ?? null
      if (due === null) continue
      dueMs = Math.min(dueMs, due.dueMs)
      sinceMs = Math.min(sinceMs, due.sinceMs)
    }
    return dueMs === Infinity ? null : { dueMs, sinceMs }
  }

  #resume({ operatorStates }: SpilledState, sinceMs: number): void {
    for (const [index, operator] of this.#options.operators.entries()) operator.resume?.(operatorStates[index], sinceMs)
  }
}
