import { InvalidInputError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import type { AppendQueue } from './append-queue.ts'
import type { OffsetCommit } from './append-turn.ts'
import { ConsumerGroup } from './consumer-group.ts'
import type { DurableHeads } from './durable-heads.ts'
import type { ConsumerOptions, StartPosition, TopicMessages } from './event-log.ts'
import type { EventLogMetrics } from './event-log-metrics.ts'
import { LmdbConsumer, type ConsumerHost } from './lmdb-consumer.ts'
import type { LmdbEnvironment } from './lmdb-environment.ts'
import { committedKey, GROUP_CHARACTERS_MAX, slotOf } from './log-keys.ts'
import { PartitionCursor } from './partition-cursor.ts'
import { readTail } from './partition-state.ts'
import { offsetAtTime } from './time-index.ts'
import type { Topic, TopicCatalog } from './topic-catalog.ts'

export interface ConsumerGroupsOptions {
  environment: LmdbEnvironment
  catalog: TopicCatalog
  durableHeads: DurableHeads
  queue: AppendQueue
  clock: Clock
  log: Logger
  metrics: EventLogMetrics
}

/** The consumer groups of one event log, and what their members need of it. */
export class ConsumerGroups implements ConsumerHost {
  readonly clock: Clock
  readonly #options: ConsumerGroupsOptions
  readonly #groups = new Map<string, ConsumerGroup>()
  readonly #members = new Map<LmdbConsumer, ConsumerGroup>()
  #followers = 0

  constructor(options: ConsumerGroupsOptions) {
    this.#options = options
    this.clock = options.clock
  }

  /** Without a group's name the consumer has a group to itself. */
  join(topic: Topic, options: ConsumerOptions): LmdbConsumer {
    const from = options.from ?? 'earliest'
    const name = options.group ?? `follower-${this.#followers++}`
    if (name.length === 0 || name.length > GROUP_CHARACTERS_MAX) {
      throw new InvalidInputError(`a consumer group's name has 1 to ${GROUP_CHARACTERS_MAX} characters, not ${name.length}`)
    }
    const key = groupKey(name, topic)
    let group = this.#groups.get(key)
    if (group === undefined) this.#groups.set(key, (group = new ConsumerGroup(name, topic)))
    const member = new LmdbConsumer(this, group, { from, commits: options.group !== undefined, callbacks: options })
    this.#members.set(member, group)
    member.fixLatest()
    group.join(member)
    return member
  }

  /** Deals out partitions anew after topics grew. */
  rebalance(topics: readonly Topic[]): void {
    for (const group of this.#groups.values()) if (topics.includes(group.topic)) group.rebalance()
  }

  async measureLag(): Promise<void> {
    const lags = new Map<ConsumerGroup, number>()
    this.refresh()
    for (const [member, group] of this.#members) lags.set(group, (lags.get(group) ?? 0) + (await member.lag()))
    for (const [group, lag] of lags) {
      // A group whose last member left meanwhile is not measured any more.
      if (!group.isEmpty) this.#options.metrics.lag.set({ topic: group.topic.name, group: group.name }, lag)
    }
  }

  async close(): Promise<void> {
    for (const member of [...this.#members.keys()]) await member.close()
  }

  refresh(): void {
    this.#options.environment.refresh()
  }

  cursor(group: ConsumerGroup, partition: number, offset: number): PartitionCursor {
    return new PartitionCursor(this.#options.environment, slotOf(group.topic.id, partition), { topic: group.topic.name, partition }, offset)
  }

  first(group: ConsumerGroup, partition: number): number {
    return readTail(this.#options.environment.tails, slotOf(group.topic.id, partition))?.first ?? 0
  }

  next(group: ConsumerGroup, partition: number): number {
    return this.#options.durableHeads.next(slotOf(group.topic.id, partition))
  }

  committed(group: ConsumerGroup, partition: number): number | undefined {
    const { environment } = this.#options
    environment.refresh()
    return environment.offsets.get(committedKey(slotOf(group.topic.id, partition), group.name))?.readDoubleLE()
  }

  startOffset(group: ConsumerGroup, partition: number, from: StartPosition): number {
    this.refresh()
    const first = this.first(group, partition)
    const next = this.next(group, partition)
    if (from === 'earliest') return first
    if (from === 'latest') return next
    return offsetAtTime(this.#options.environment, group.topic, partition, { first, next }, from.timestampMs)
  }

  async commit(offsets: readonly OffsetCommit[], outputs: readonly TopicMessages[]): Promise<void> {
    const { queue, catalog } = this.#options
    await queue.commit(
      offsets,
      outputs.map(({ topic, messages }) => ({ topic: catalog.get(topic), messages })),
    )
  }

  onAdvance(group: ConsumerGroup, run: () => void): { cancel(): void } {
    return this.#options.durableHeads.onAdvance(group.topic.id, run)
  }

  lost(group: ConsumerGroup, partition: number, messages: number): void {
    const labels = { topic: group.topic.name, group: group.name }
    this.#options.metrics.lostMessages.inc(labels, messages)
    this.#options.log.warn({ ...labels, partition, messages }, 'messages were removed by retention before they were read')
  }

  closed(group: ConsumerGroup, member: LmdbConsumer): void {
    this.#members.delete(member)
    group.leave(member)
    if (!group.isEmpty) return
    this.#options.metrics.lag.remove({ topic: group.topic.name, group: group.name })
    // A member that comes meanwhile has to wait for what the last one was committing as it left.
    void group.idle().then(() => {
      const key = groupKey(group.name, group.topic)
      if (group.isEmpty && this.#groups.get(key) === group) this.#groups.delete(key)
    })
  }
}

function groupKey(name: string, topic: Topic): string {
  return `${topic.id} ${name}`
}
