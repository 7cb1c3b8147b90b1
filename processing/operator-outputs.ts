import type { OperatorOutput } from '../contracts/operator.ts'
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

  constructor(onLate: (state: DeviceState, receivedAt: number) => void) {
    this.#onLate = onLate
  }

  /** `fresh` is false while a replay repeats what was committed before. */
  of(state: DeviceState, receivedAt: number, fresh: boolean): this {
    this.#state = state
    this.#receivedAt = receivedAt
    this.#fresh = fresh
    return this
  }

  emit(topic: TopicName, schema: string, tenant: string, device: string, value: object): void {
    if (topic === TOPICS.late && this.#state !== undefined) this.#onLate(this.#state, this.#receivedAt)
    if (this.#fresh) this.committer?.add(topic, { key: deviceKey(tenant, device), schema, value: Buffer.from(JSON.stringify(value)) })
  }
}
