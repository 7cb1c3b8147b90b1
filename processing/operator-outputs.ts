import type { OperatorOutput, ReadingOperator } from '../contracts/operator.ts'
import { deviceKey, TOPICS, type TopicName } from '../contracts/topics.ts'
import type { DeviceState } from './device-states.ts'
import type { OutputCommitter } from './output-committer.ts'

/** Where operators' results for one device at a time go. One object for all, because it is on the hot path. */
export class OperatorOutputs implements OperatorOutput {
  committer: OutputCommitter | undefined
  readonly #onLate: (state: DeviceState, receivedAt: number) => void
  #state: DeviceState | undefined
  #receivedAt = 0
  #fresh = true
  readonly #observers: { operator: ReadingOperator<unknown>; index: number }[]

  constructor(operators: readonly ReadingOperator<unknown>[], onLate: (state: DeviceState, receivedAt: number) => void) {
    this.#onLate = onLate
    this.#observers = operators.map((operator, index) => ({ operator, index })).filter(({ operator }) => operator.observe !== undefined)
  }

  /** `fresh` is false while a replay repeats what was committed before. */
  of(state: DeviceState, receivedAt: number, fresh: boolean): this {
    this.#state = state
    this.#receivedAt = receivedAt
    this.#fresh = fresh
    return this
  }

  /** For what operators emit at the end of a batch, of many devices: they know themselves what of it is fresh, and no other operator observes it. */
  atEnd(): this {
    this.#state = undefined
    this.#fresh = true
    return this
  }

  get isFresh(): boolean {
    return this.#fresh
  }

  emit(topic: TopicName, schema: string, tenant: string, device: string, value: object): void {
    if (topic === TOPICS.late && this.#state !== undefined) this.#onLate(this.#state, this.#receivedAt)
    const state = this.#state
    if (state !== undefined)
      for (const { operator, index } of this.#observers) operator.observe?.(state.operatorStates[index], topic, value)
    if (this.#fresh) this.committer?.addJson(topic, deviceKey(tenant, device), schema, value)
  }
}
