import type { ByteWriter } from '../kernel/byte-stream.ts'
import type { TopicName } from './topics.ts'
import type { LoggedReading } from './reading.ts'

/** Where an operator's results go. Values are encoded as JSON by the loop and appended in the step that commits the input's offset. */
export interface OperatorOutput {
  /** False while a replay repeats what was committed before: what is emitted then goes nowhere. Absent: true. */
  readonly isFresh?: boolean
  emit(topic: TopicName, schema: string, tenant: string, device: string, value: object): void
}

/** When a device that is out of memory is to be told the time. Epoch ms. */
export interface DueAt {
  dueMs: number
  /** Since when this process may count, for `resume`. */
  sinceMs: number
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
  /** What an operator before this one emitted for the device, before this one's own `apply` or `tick` for the same reading or time. May not throw. */
  observe?(state: S, topic: TopicName, value: object): void
  /**
   * After the last reading of a batch, in the step that commits it: an operator that works on many devices at once does here what it put off
   * in `apply`, and emits what was fresh there. May not throw.
   */
  finish?(out: OperatorOutput): void
  /** About once a second per device in memory, every few seconds in a very large fleet, with wall time: idle windows close, silence is noticed. Returns true when the state changed. */
  tick?(state: S, nowMs: number, out: OperatorOutput): boolean
  /**
   * For an operator with `tick`, asked of a device that leaves memory: from when on `tick` has something to do if nothing is said meanwhile;
   * null: never. May settle in the state what a tick at `nowMs` would have.
   */
  dueAt?(state: S, nowMs: number): DueAt | null
  /**
   * The state was decoded again, and nothing was said while it was out of memory: settles what is not stored as a tick at `sinceMs` would
   * have, and emits nothing. Not called after a restart.
   */
  resume?(state: S, sinceMs: number): void
  /** Writes the state. */
  encode(state: S, into: ByteWriter): void
  decode(bytes: Uint8Array, version: number): S
}

/**
 * What people change while operators go by it. Between two batches the loop writes down from which offset of each partition on the newest
 * changes hold, and only then goes on: whoever replays those readings meets the same changes at the same ones.
 */
export interface RoadSettings {
  /** Is there a change that does not hold in all of these partitions yet? Asked before every batch. */
  isBehind(partitions: Iterable<number>): boolean
  /** Learns where changes hold in partitions that are this process's from now on. */
  take(group: string, partitions: readonly number[]): Promise<void>
  /**
   * From these offsets on the newest changes hold; resolves when that is durable. Rejects with ConflictError when a partition is another
   * process's by now.
   */
  adopt(group: string, next: ReadonlyMap<number, number>): Promise<void>
}
