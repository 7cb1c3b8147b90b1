import type { ByteWriter } from '../kernel/byte-stream.ts'
import type { TopicName } from './topics.ts'
import type { LoggedReading } from './reading.ts'

/** Where an operator's results go. Values are encoded as JSON by the loop and appended in the step that commits the input's offset. */
export interface OperatorOutput {
  emit(topic: TopicName, schema: string, tenant: string, device: string, value: object): void
}

/**
 * A pure step over the readings of one device at a time. The loop owns consumption, de-duplication, retry, checkpoints and offsets;
 * an operator owns the meaning of one state `S` per device.
 * Deterministic: the same readings in the same order give the same state and the same outputs. Time comes from readings, or from `tick`.
 */
export interface ReadingOperator<S> {
  readonly name: string
  /** Version of the state's encoding; a stored state of another version is migrated by `decode` or dropped with a log line. */
  readonly stateVersion: number
  create(tenant: string, device: string, type: string): S
  /** One reading that is neither rejected nor a duplicate. May not throw on any reading that ingest accepts. Hot path. */
  apply(state: S, reading: LoggedReading, out: OperatorOutput): void
  /** About once a second per device in memory, with wall time: idle windows close, silence is noticed. Returns true when the state changed. */
  tick?(state: S, nowMs: number, out: OperatorOutput): boolean
  /** Writes the state. */
  encode(state: S, into: ByteWriter): void
  decode(bytes: Uint8Array, version: number): S
}
