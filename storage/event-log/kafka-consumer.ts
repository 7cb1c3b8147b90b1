import { describeError, InvalidInputError } from '../../kernel/errors.ts'
import type { Consumer, ConsumerOptions, LogRecord, Offsets, StartPosition, TopicMessages } from './event-log.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { KafkaConsumerGroup } from './kafka-consumer-group.ts'
import { fenced } from './kafka-errors.ts'
import { KafkaFetcher } from './kafka-fetcher.ts'
import { EARLIEST, LATEST, listOffsets } from './kafka-offsets.ts'

export interface KafkaConsumerOptions {
  cluster: KafkaCluster
  /** For looking up offsets. */
  connections: KafkaConnections
  consumer: ConsumerOptions
  topicPrefix: string
  /** Null without a group. */
  membership: { group: string; instanceId: string | null; transactionalId: string } | null
  onRemoved: (partition: number, records: number) => void
  onClosed: (consumer: KafkaConsumer) => void
}

/** A partition that is ours. */
interface Held {
  /** Where it began for a group that never committed it. */
  start: number
  /** Where the owner wants it to begin, while it is not read yet. */
  sought: number | null
  isRead: boolean
}

/** A member of a group, or a follower of all partitions; see the port. */
export class KafkaConsumer implements Consumer {
  readonly topic: string
  readonly group: string | undefined
  readonly #options: KafkaConsumerOptions
  readonly #cluster: KafkaCluster
  readonly #topic: string
  readonly #fetcher: KafkaFetcher
  readonly #group: KafkaConsumerGroup | null
  readonly #held = new Map<number, Held>()
  /** Where partitions ended when we came: there `latest` begins. */
  #ends: ReadonlyMap<number, number> | null = null
  #isClosed = false
  #wake: () => void = () => {}

  constructor(options: KafkaConsumerOptions) {
    const { cluster, consumer, topicPrefix, membership } = options
    this.#options = options
    this.#cluster = cluster
    this.topic = consumer.topic
    this.group = consumer.group
    this.#topic = topicPrefix + consumer.topic
    this.#fetcher = new KafkaFetcher({
      cluster,
      name: this.topic,
      topic: this.#topic,
      onSettled: () => this.#wake(),
      onRemoved: options.onRemoved,
    })
    this.#group =
      membership === null
        ? null
        : new KafkaConsumerGroup({
            cluster,
            topic: this.#topic,
            topicPrefix,
            ...membership,
            onAssigned: (partitions) => this.#take(partitions),
            onRevoked: (partitions) => this.#giveBack(partitions),
            onLost: (partitions) => this.#lose(partitions),
          })
  }

  /** Joins the group, or begins to follow. */
  async start(): Promise<void> {
    if (this.#options.consumer.from === 'latest') this.#ends = await this.#list(await this.#partitions(), LATEST)
    if (this.#group !== null) this.#group.member.start()
    else void this.#take(await this.#partitions())
  }

  /** Without a group: begins partitions that the topic got meanwhile. */
  async follow(): Promise<void> {
    if (this.#group !== null || this.#isClosed) return
    const added = (await this.#partitions()).filter((partition) => !this.#held.has(partition))
    if (added.length > 0) await this.#take(added)
  }

  async poll(recordsMax: number, waitMs: number): Promise<LogRecord[]> {
    if (!Number.isInteger(recordsMax) || recordsMax < 1)
      throw new InvalidInputError(`recordsMax must be a positive integer, not ${recordsMax}`)
    const { clock } = this.#cluster
    const deadlineMs = clock.monotonicMs() + waitMs
    const records: LogRecord[] = []
    while (!this.#isClosed) {
      this.#fetcher.take(records, recordsMax)
      this.#fetcher.want()
      if (records.length > 0) break
      const failure = this.#group?.member.failure ?? this.#fetcher.failure
      if (failure !== null) throw failure
      const restMs = deadlineMs - clock.monotonicMs()
      if (restMs <= 0) break
      await this.#wait(restMs)
    }
    return records
  }

  seek(partition: number, offset: number): void {
    const held = this.#require(partition)
    checkOffset(offset)
    if (held.isRead) this.#fetcher.seek(partition, offset, true)
    else held.sought = offset
    this.#wake()
  }

  assignment(): readonly number[] {
    return [...this.#held.keys()].sort((a, b) => a - b)
  }

  async committed(): Promise<Offsets> {
    return this.#group === null ? new Map<number, number>() : this.#group.offsets.committed(this.assignment())
  }

  async commit(offsets: Offsets, outputs: readonly TopicMessages[] = []): Promise<void> {
    if (this.#group === null) throw new InvalidInputError(`a consumer of ${this.topic} without a group has nothing to commit`)
    if (this.#isClosed) throw fenced(`group ${this.group}: the consumer is closed`)
    const held = new Map<number, Held>()
    for (const [partition, offset] of offsets) {
      held.set(partition, this.#require(partition))
      checkOffset(offset)
    }
    await this.#group.commit(offsets, outputs, () => [...held].every(([partition, one]) => this.#held.get(partition) === one))
  }

  async lag(): Promise<number> {
    const partitions = this.assignment()
    if (partitions.length === 0) return 0
    const [committed, ends] = await Promise.all([this.committed(), this.#list(partitions, LATEST)])
    let lag = 0
    for (const partition of partitions) lag += Math.max(0, (ends.get(partition) ?? 0) - this.#doneUpTo(partition, committed.get(partition)))
    return lag
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#wake()
    this.#fetcher.close()
    await this.#group?.close()
    this.#held.clear()
    this.#options.onClosed(this)
  }

  /** Markers behind the last record that was handed out and committed are not waited for by anybody. */
  #doneUpTo(partition: number, committed: number | undefined): number {
    const position = this.#fetcher.position(partition)
    const start = this.#held.get(partition)?.start ?? 0
    const done = this.#group === null ? (position?.handedOut ?? start) : (committed ?? start)
    return position !== undefined && done >= position.handedOut ? Math.max(done, position.next) : done
  }

  /** Finds out where new partitions begin, lets the owner prepare, and then reads them. */
  async #take(partitions: readonly number[]): Promise<void> {
    const taken = new Map<number, Held>(partitions.map((partition) => [partition, { start: 0, sought: null, isRead: false }]))
    for (const [partition, held] of taken) this.#held.set(partition, held)
    const isStillOurs = (): boolean => !this.#isClosed && [...taken].some(([partition, held]) => this.#held.get(partition) === held)
    for (let attempt = 1; isStillOurs(); attempt++) {
      try {
        const begins = await this.#begins(taken)
        const ours = partitions.filter((partition) => this.#held.get(partition) === taken.get(partition))
        await this.#options.consumer.onAssigned?.(ours, this)
        for (const partition of ours) this.#read(partition, taken.get(partition)!, begins.get(partition) ?? 0)
        break
      } catch (error) {
        if (!isStillOurs()) break
        const details = { topic: this.topic, group: this.group, partitions, error: describeError(error) }
        this.#cluster.log.warn(details, 'partitions could not be begun, trying again')
        await this.#cluster.pause(attempt)
      }
    }
    this.#wake()
  }

  #read(partition: number, held: Held, begin: number): void {
    if (this.#held.get(partition) !== held || held.isRead) return
    held.isRead = true
    this.#fetcher.seek(partition, held.sought ?? begin, held.sought !== null)
  }

  /** What the group committed, else where it is to begin; that is committed at once, for a crash must not move it. */
  async #begins(taken: ReadonlyMap<number, Held>): Promise<Map<number, number>> {
    const partitions = [...taken.keys()]
    const begins = new Map(this.#group === null ? [] : await this.#group.offsets.committed(partitions))
    const never = partitions.filter((partition) => !begins.has(partition))
    if (never.length === 0) return begins
    const starts = await this.#starts(never, this.#options.consumer.from ?? 'earliest')
    for (const [partition, start] of starts) {
      taken.get(partition)!.start = start
      begins.set(partition, start)
    }
    if (this.#group !== null && this.#options.consumer.from !== undefined && this.#options.consumer.from !== 'earliest') {
      await this.#group.commit(starts, [], () => never.every((partition) => this.#held.get(partition) === taken.get(partition)))
    }
    return begins
  }

  async #starts(partitions: readonly number[], from: StartPosition): Promise<Map<number, number>> {
    if (from === 'earliest') return this.#list(partitions, EARLIEST)
    // A partition that was not there when we came is read from its beginning.
    if (from === 'latest') return new Map(partitions.map((partition) => [partition, this.#ends?.get(partition) ?? 0]))
    const found = await this.#list(partitions, from.timestampMs)
    const ends = await this.#list(partitions, LATEST)
    return new Map(partitions.map((partition) => [partition, offsetOr(found.get(partition), ends.get(partition) ?? 0)]))
  }

  async #giveBack(partitions: readonly number[]): Promise<void> {
    // Not read any more, but still ours to commit.
    for (const partition of partitions) this.#fetcher.remove(partition)
    try {
      await this.#options.consumer.onRevoked?.(partitions, this)
    } finally {
      for (const partition of partitions) this.#held.delete(partition)
      this.#wake()
    }
  }

  #lose(partitions: readonly number[]): void {
    for (const partition of partitions) {
      this.#fetcher.remove(partition)
      this.#held.delete(partition)
    }
    this.#wake()
    this.#options.consumer.onLost?.(partitions)
  }

  #wait(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel()
        this.#wake = () => {}
        resolve()
      }
      const timer = this.#cluster.clock.after(waitMs, wake)
      this.#wake = wake
    })
  }

  async #partitions(): Promise<number[]> {
    const { leaders } = await this.#cluster.topic(this.#topic)
    return leaders.map((_, partition) => partition)
  }

  #list(partitions: readonly number[], timestampMs: number): Promise<Map<number, number>> {
    return listOffsets(this.#cluster, this.#options.connections, this.#topic, partitions, timestampMs)
  }

  #require(partition: number): Held {
    const held = this.#held.get(partition)
    if (held === undefined)
      throw fenced(`group ${this.group ?? '(none)'} on ${this.topic}: partition ${partition} is not assigned to this consumer`)
    return held
  }
}

/** Kafka answers -1 where no record is that young. */
function offsetOr(offset: number | undefined, end: number): number {
  return offset === undefined || offset < 0 ? end : offset
}

function checkOffset(offset: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0) throw new InvalidInputError(`offset ${offset} is not a whole number from 0`)
}
