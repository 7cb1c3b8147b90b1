import { ConflictError, InvalidInputError } from '../../kernel/errors.ts'
import { withTimeout } from '../../kernel/retry.ts'
import type { Clock } from '../../kernel/time.ts'
import type { OffsetCommit } from './append-turn.ts'
import type { ConsumerGroup, GroupMember } from './consumer-group.ts'
import type { Consumer, ConsumerOptions, LogRecord, Offsets, StartPosition, TopicMessages } from './event-log.ts'
import { committedKey, slotOf } from './log-keys.ts'
import type { PartitionCursor } from './partition-cursor.ts'

/** What a consumer needs of its log. */
export interface ConsumerHost {
  readonly clock: Clock
  cursor(group: ConsumerGroup, partition: number, offset: number): PartitionCursor
  /** Moves reads to the newest state. */
  refresh(): void
  /** Oldest offset kept, and the offset after the last durable message. */
  first(group: ConsumerGroup, partition: number): number
  next(group: ConsumerGroup, partition: number): number
  committed(group: ConsumerGroup, partition: number): number | undefined
  startOffset(group: ConsumerGroup, partition: number, from: StartPosition): number
  commit(offsets: readonly OffsetCommit[], outputs: readonly TopicMessages[]): Promise<void>
  onAdvance(group: ConsumerGroup, run: () => void): { cancel(): void }
  lost(group: ConsumerGroup, partition: number, messages: number): void
  closed(group: ConsumerGroup, member: LmdbConsumer): void
}

/** What a consumer is told about its partitions; see the port. */
export type MembershipCallbacks = Pick<ConsumerOptions, 'onAssigned' | 'onRevoked'>

/** Longest time an owner has to give partitions back: as long as Kafka's default session, after which a group goes on without it. */
const REVOKE_TIMEOUT_MS = 10_000

/** A member of a group; see the port. */
export class LmdbConsumer implements Consumer, GroupMember {
  readonly from: StartPosition
  readonly #host: ConsumerHost
  readonly #group: ConsumerGroup
  readonly #callbacks: MembershipCallbacks
  /** Of a group, or one that follows by itself. */
  readonly #commits: boolean
  /** Assigned and not told yet. */
  readonly #untold = new Set<number>()
  /** Being given back: they may still be committed. */
  readonly #leaving = new Set<number>()
  #assigned: readonly number[] = []
  /** One per assigned partition that was begun. */
  readonly #cursors = new Map<number, PartitionCursor>()
  readonly #sought = new Map<number, number>()
  #turn = 0
  #isClosed = false
  #wake: () => void = () => {}

  constructor(
    host: ConsumerHost,
    group: ConsumerGroup,
    options: { from: StartPosition; commits: boolean; callbacks: MembershipCallbacks },
  ) {
    this.#host = host
    this.#group = group
    this.from = options.from
    this.#commits = options.commits
    this.#callbacks = options.callbacks
  }

  assign(partitions: readonly number[]): void {
    const revoked = this.#assigned.filter((partition) => !partitions.includes(partition) && !this.#untold.has(partition))
    for (const partition of partitions) if (!this.#assigned.includes(partition)) this.#untold.add(partition)
    for (const partition of this.#untold) if (!partitions.includes(partition)) this.#untold.delete(partition)
    this.#assigned = partitions
    if (revoked.length > 0) this.#giveBack(revoked)
    for (const partition of [...this.#cursors.keys()]) if (!partitions.includes(partition)) this.#cursors.delete(partition)
    for (const partition of [...this.#sought.keys()]) if (!partitions.includes(partition)) this.#sought.delete(partition)
    this.#wake()
  }

  /** The next owner begins when this is over. */
  #giveBack(partitions: readonly number[]): void {
    const { onRevoked } = this.#callbacks
    if (onRevoked === undefined) return
    for (const partition of partitions) this.#leaving.add(partition)
    const over = withTimeout(this.#host.clock, REVOKE_TIMEOUT_MS, 'giving back partitions', onRevoked(partitions, this))
      // Who cannot finish replays more: that is its own log line to write.
      .catch(() => undefined)
      .finally(() => {
        for (const partition of partitions) this.#leaving.delete(partition)
      })
    this.#group.committing(partitions, over)
  }

  assignment(): readonly number[] {
    return this.#assigned
  }

  async poll(recordsMax: number, waitMs: number): Promise<LogRecord[]> {
    if (!Number.isInteger(recordsMax) || recordsMax < 1)
      throw new InvalidInputError(`recordsMax must be a positive integer, not ${recordsMax}`)
    const deadlineMs = this.#host.clock.monotonicMs() + waitMs
    const records: LogRecord[] = []
    while (!this.#isClosed) {
      await this.#begin()
      this.#take(records, recordsMax)
      const restMs = deadlineMs - this.#host.clock.monotonicMs()
      if (records.length > 0 || restMs <= 0 || this.#isClosed) break
      await this.#wait(restMs)
    }
    return records
  }

  seek(partition: number, offset: number): void {
    this.#requireAssigned(partition)
    if (!Number.isSafeInteger(offset) || offset < 0) throw new InvalidInputError(`offset ${offset} is not a whole number from 0`)
    this.#sought.set(partition, offset)
    this.#cursors.delete(partition)
    this.#wake()
  }

  async committed(): Promise<Offsets> {
    const offsets = new Map<number, number>()
    for (const partition of this.#assigned) {
      const offset = this.#host.committed(this.#group, partition)
      if (offset !== undefined) offsets.set(partition, offset)
    }
    return offsets
  }

  async commit(offsets: Offsets, outputs: readonly TopicMessages[] = []): Promise<void> {
    if (!this.#commits) throw new InvalidInputError('a consumer without a group has nothing to commit')
    if (this.#isClosed) throw lostPartition(this.#group, 'the consumer is closed')
    const commits: OffsetCommit[] = []
    for (const [partition, offset] of offsets) {
      this.#requireAssigned(partition)
      if (!Number.isSafeInteger(offset) || offset < 0) throw new InvalidInputError(`offset ${offset} is not a whole number from 0`)
      commits.push({ key: committedKey(slotOf(this.#group.topic.id, partition), this.#group.name), offset })
    }
    const commit = this.#host.commit(commits, outputs)
    this.#group.committing(offsets.keys(), commit)
    await commit
  }

  async lag(): Promise<number> {
    let lag = 0
    for (const partition of this.#assigned) {
      const done = this.#commits ? this.#host.committed(this.#group, partition) : this.#cursors.get(partition)?.position
      const committed = done ?? this.#startOffset(partition)
      const from = Math.max(committed, this.#host.first(this.#group, partition))
      lag += Math.max(0, this.#host.next(this.#group, partition) - from)
    }
    return lag
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#host.closed(this.#group, this)
    this.#assigned = []
    this.#cursors.clear()
    this.#wake()
  }

  /** Places a cursor in every partition that has none. */
  async #begin(): Promise<void> {
    await this.#tellAssigned()
    for (const partition of this.#assigned) {
      if (this.#cursors.has(partition)) continue
      await this.#group.settled(partition)
      // The partition may have gone, or have been sought, while its last owner's commit was waited for.
      if (!this.#assigned.includes(partition) || this.#isClosed) continue
      const sought = this.#sought.get(partition)
      this.#sought.delete(partition)
      if (sought !== undefined) {
        // Seeking behind the beginning is a wish for all there is, not a loss.
        const offset = Math.max(sought, this.#host.first(this.#group, partition))
        this.#cursors.set(partition, this.#host.cursor(this.#group, partition, offset))
        continue
      }
      const offset = this.#host.committed(this.#group, partition) ?? this.#startOffset(partition)
      this.#cursors.set(partition, this.#host.cursor(this.#group, partition, offset))
    }
  }

  async #tellAssigned(): Promise<void> {
    while (this.#untold.size > 0 && !this.#isClosed) {
      const partitions = [...this.#untold]
      for (const partition of partitions) await this.#group.settled(partition)
      const ours = partitions.filter((partition) => this.#untold.has(partition))
      await this.#callbacks.onAssigned?.(ours, this)
      for (const partition of ours) this.#untold.delete(partition)
    }
  }

  /** Remembers where the partitions end that are there when the member comes; those that come later are read from their beginning. */
  fixLatest(): void {
    if (this.from !== 'latest') return
    for (let partition = 0; partition < this.#group.topic.partitions; partition++) {
      if (!this.#group.starts.has(partition)) this.#group.starts.set(partition, this.#host.startOffset(this.#group, partition, 'latest'))
    }
  }

  #startOffset(partition: number): number {
    const known = this.#group.starts.get(partition)
    if (known !== undefined) return known
    const offset = this.#host.startOffset(this.#group, partition, this.from === 'latest' ? 'earliest' : this.from)
    this.#group.starts.set(partition, offset)
    return offset
  }

  /** Takes from each partition in turn, beginning with another one each time. */
  #take(records: LogRecord[], recordsMax: number): void {
    const cursors = [...this.#cursors]
    this.#turn++
    this.#host.refresh()
    for (let i = 0; i < cursors.length && records.length < recordsMax; i++) {
      const [partition, cursor] = cursors[(this.#turn + i) % cursors.length]!
      const next = this.#host.next(this.#group, partition)
      if (cursor.position >= next) continue
      try {
        const { lost } = cursor.read(records, recordsMax - records.length, next)
        if (lost > 0) this.#host.lost(this.#group, partition, lost)
      } catch (error) {
        // What was taken before the damage is handed out first; the damage is met again when its partition's turn comes.
        if (records.length === 0) throw error
        return
      }
    }
  }

  #wait(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel()
        advance.cancel()
        this.#wake = () => {}
        resolve()
      }
      const timer = this.#host.clock.after(waitMs, wake)
      const advance = this.#host.onAdvance(this.#group, wake)
      this.#wake = wake
    })
  }

  #requireAssigned(partition: number): void {
    if (!this.#assigned.includes(partition) && !this.#leaving.has(partition))
      throw lostPartition(this.#group, `partition ${partition} is not assigned to this consumer`)
  }
}

function lostPartition(group: ConsumerGroup, why: string): ConflictError {
  return new ConflictError(`group ${group.name} on ${group.topic.name}: ${why}`, {
    code: 'LOG_FENCED',
    remedy: 'Drop what was read from it and poll again: another member of the group has it now.',
  })
}
