import type { Service } from '../../kernel/service.ts'

/** A message to be appended. */
export interface LogMessage {
  /** Messages with one key share a partition and keep their order. */
  key: string
  /** Name and integer version, for instance `reading/1`. */
  schema: string
  value: Uint8Array
  /** More headers, small; keys in lower case. */
  headers?: Readonly<Record<string, string>>
}

/** A message at its place in the log. */
export interface LogRecord {
  topic: string
  partition: number
  /** Grows with each message of its partition; there may be gaps (Kafka's transaction markers). */
  offset: number
  /** Epoch ms at which the log took it. */
  appendedAt: number
  key: string
  schema: string
  value: Uint8Array
  headers: Readonly<Record<string, string>>
}

export interface TopicSpec {
  /** Without the prefix. */
  topic: string
  partitions: number
  /** Oldest records go when the topic is larger; 0 = no bound by size. */
  retentionBytes: number
  /** Records older than this go; 0 = no bound by age. */
  retentionMs: number
}

/** Next offset to be read per partition. */
export type Offsets = ReadonlyMap<number, number>

export type StartPosition = 'earliest' | 'latest' | { timestampMs: number }

export interface ConsumerOptions {
  /** Without a group the consumer follows every partition by itself and commits nothing (`commit` throws InvalidInputError). */
  group?: string
  topic: string
  /** Where a group without a committed offset begins, and where a consumer without a group begins; default `earliest`. */
  from?: StartPosition
  /**
   * Called with partitions that are this member's now, before the first of their records is polled: here the owner seeks.
   * `consumer` is the one that `consume` answers, which may not have resolved yet. Polls wait until it resolves.
   */
  onAssigned?: (partitions: readonly number[], consumer: Consumer) => Promise<void>
  /**
   * Called before partitions are given to another member: here the owner flushes and commits. Bounded by the engine's timeout, after which
   * they are gone anyway.
   */
  onRevoked?: (partitions: readonly number[], consumer: Consumer) => Promise<void>
  /** Partitions that another member has by now (this one was silent for too long): nothing of them can be committed any more. */
  onLost?: (partitions: readonly number[]) => void
}

/**
 * One member of a consumer group. Members of a group share the partitions of their topic.
 * Pull only: nothing is fetched that was not asked for, so memory is bounded by the caller.
 */
export interface Consumer {
  /** Resolves with up to `recordsMax` records of any assigned partition, in offset order per partition; empty after `waitMs` or when closed. */
  poll(recordsMax: number, waitMs: number): Promise<LogRecord[]>
  /** Next poll of this partition begins at this offset. */
  seek(partition: number, offset: number): void
  /** Partitions assigned now. */
  assignment(): readonly number[]
  /** Committed offsets of the group for the assigned partitions (absent: never committed). */
  committed(): Promise<Offsets>
  /**
   * Commits offsets and appends `outputs` in one step: after a crash either both are there or neither.
   * Resolves when durable. Rejects with ConflictError LOG_FENCED when a partition is another member's by now: nothing was
   * committed.
   */
  commit(offsets: Offsets, outputs?: readonly TopicMessages[]): Promise<void>
  /**
   * Records between the committed offset (without a group: what was polled) and the end, over the assigned partitions. May count markers of
   * transactions among them.
   */
  lag(): Promise<number>
  close(): Promise<void>
}

export interface TopicMessages {
  topic: string
  messages: readonly LogMessage[]
}

/** Where the first message of an append landed, per partition touched. */
export interface Appended {
  partition: number
  baseOffset: number
  count: number
}

/** The event log: durable, partitioned, replayable. Engines: LMDB (one machine), Apache Kafka. */
export interface EventLog extends Service {
  /** Creates what is missing and applies changed retention; never shrinks a topic. */
  ensureTopics(specs: readonly TopicSpec[]): Promise<void>
  /**
   * Appends messages in order. Resolves only when they would survive kill -9 and power loss; rejects when they may not have been written
   * (EnvironmentError LOG_UNAVAILABLE, StoreError STORE_FULL). Calls made in one turn of the event loop share a commit.
   */
  append(topic: string, messages: readonly LogMessage[]): Promise<Appended[]>
  /** Joins a group; close the consumer to leave it. */
  consume(options: ConsumerOptions): Promise<Consumer>
  /** First and next offset per partition. */
  bounds(topic: string): Promise<ReadonlyMap<number, { first: number; next: number }>>
  /** Reads without a group, for explanations and replays. */
  read(topic: string, partition: number, offset: number, recordsMax: number): Promise<LogRecord[]>
  /** First offset whose record was appended at or after this time, per partition. */
  offsetsAt(topic: string, timestampMs: number): Promise<Offsets>
  /** Removes what retention says; resolves with bytes and records removed. Also run by the engine itself; Kafka's brokers do it all, and nothing is counted. */
  retain(): Promise<{ records: number; bytes: number }>
}
