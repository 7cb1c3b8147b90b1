import type { ReadingOperator } from '../contracts/operator.ts'
import type { Clock } from '../kernel/time.ts'
import type { DeviceState, DeviceStates } from './device-states.ts'
import type { OperatorOutputs } from './operator-outputs.ts'

/** Devices in memory whose operators are told the time in one tick, a pause of a few ms: with 100 000 devices each is told every fifth second. */
const DEVICES_PER_TICK_MAX = 20_000
/** Devices out of memory that are looked at in one tick; each costs reading its state, some 0.3 ms. More that are due wait for the next. */
const SPILLED_PER_TICK_MAX = 500
/** Of those, how many while the road waits: a pause of some 10 ms. */
const SPILLED_SLICE = 25

export interface DeviceTicksOptions {
  states: DeviceStates
  operators: readonly ReadingOperator<unknown>[]
  outputs: OperatorOutputs
  clock: Clock
  /** Is the partition in hand, and not about to leave? */
  owns: (partition: number) => boolean
  /** Runs something while no batch is half applied. */
  exclusively: (run: () => Promise<void>) => Promise<void>
  /** Aborted by a stop: nothing more is read then. */
  stopping: AbortSignal
}

/** Tells operators the time: of devices in memory in turn, of those out of memory when they are due. */
export class DeviceTicks {
  readonly #options: DeviceTicksOptions
  /** Where the next tick goes on, when the last one did not come to the end. */
  #ticking: IterableIterator<DeviceState> | undefined

  constructor(options: DeviceTicksOptions) {
    this.#options = options
  }

  async tick(): Promise<void> {
    const { exclusively } = this.#options
    await exclusively(async () => this.#inMemory())
    for (let left = SPILLED_PER_TICK_MAX; left > 0; left -= SPILLED_SLICE) {
      let isMore = false
      await exclusively(async () => {
        isMore = await this.#spilled(Math.min(left, SPILLED_SLICE))
      })
      if (!isMore) return
    }
  }

  /** Tells the operators of one device the time. */
  readonly tell = (state: DeviceState): void => {
    const { operators, outputs, clock, owns } = this.#options
    if (!owns(state.partition)) return
    const nowMs = clock.nowMs()
    const out = outputs.of(state, nowMs, true)
    for (let i = 0; i < operators.length; i++) {
      if (operators[i]?.tick?.(state.operatorStates[i], nowMs, out) === true) state.changed = true
    }
  }

  /** Devices in turn: in a very large fleet one is asked less often than every tick. */
  #inMemory(): void {
    const devices = (this.#ticking ??= this.#options.states.all())
    for (let left = DEVICES_PER_TICK_MAX; left > 0; left--) {
      const next = devices.next()
      if (next.done === true) {
        this.#ticking = undefined
        return
      }
      this.tell(next.value)
    }
  }

  /** A device of which something came is in memory from then on, so that it is saved. False: no more are due, or there is no room for one. */
  async #spilled(most: number): Promise<boolean> {
    const { states, clock, owns, stopping } = this.#options
    for (let left = most; left > 0; left--) {
      // Room is made between two batches.
      if (stopping.aborted || states.isFull) return false
      const due = states.spilled.take(clock.nowMs())
      if (due === undefined) return false
      if (!owns(due.partition)) continue
      const state = await states.look(due)
      if (state === undefined) continue
      this.tell(state)
      if (state.changed) states.admit(state)
      else states.spilled.again(state, due, clock.nowMs())
    }
    return true
  }
}
