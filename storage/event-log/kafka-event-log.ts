import { describeError, InvalidInputError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import { withTimeout } from '../../kernel/retry.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Appended, Consumer, ConsumerOptions, EventLog, LogMessage, LogRecord, Offsets, TopicSpec } from './event-log.ts'
import { eventLogMetrics, type EventLogMetrics } from './event-log-metrics.ts'
import { KafkaAppendQueue } from './kafka-append-queue.ts'
import { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConfig } from './kafka-config.ts'
import type { KafkaConnections } from './kafka-connections.ts'
import { KafkaConsumer } from './kafka-consumer.ts'
import { unavailable } from './kafka-errors.ts'
import { EARLIEST, LATEST, listOffsets } from './kafka-offsets.ts'
import { readKafkaPartition } from './kafka-partition-read.ts'
import { ensureKafkaTopics } from './kafka-topics.ts'
import { GROUP_CHARACTERS_MAX } from './log-keys.ts'

export interface KafkaEventLogOptions {
  config: KafkaConfig
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  /** In front of the names of topics, groups and transactional ids in Kafka, for instance `fleetpulse.`. */
  topicPrefix: string
}

/** What exists while the log runs. */
interface Running {
  cluster: KafkaCluster
  queue: KafkaAppendQueue
  /** For looking things up. */
  connections: KafkaConnections
  consumers: Set<KafkaConsumer>
  timers: Timer[]
}

/**
 * The event log on Apache Kafka, for many processes. In Kafka a group is named `<prefix><group>.<topic>`: members of different topics do not
 * rebalance each other. While Kafka is away appends wait up to `appendTimeoutMs`, consumers get nothing, and all goes on by itself.
 */
export class KafkaEventLog implements EventLog {
  readonly name = 'event-log'
  readonly #options: KafkaEventLogOptions
  readonly #metrics: EventLogMetrics
  #starting: Promise<Running> | null = null
  #running: Running | null = null

  constructor(options: KafkaEventLogOptions) {
    this.#options = options
    this.#metrics = eventLogMetrics(options.metrics)
  }

  /** One sentence on what does not work now; null when the last try of everything worked. */
  get failing(): string | null {
    return this.#running?.cluster.health.failing ?? null
  }

  /** Rejects with LOG_UNAVAILABLE (no broker answers), LOG_ACCESS_DENIED (credentials), LOG_UNSUPPORTED (too old) or ConfigError (TLS files). */
  async start(): Promise<void> {
    this.#starting ??= this.#open()
    try {
      this.#running = await this.#starting
    } catch (error) {
      this.#starting = null
      throw error
    }
  }

  async stop(): Promise<void> {
    if (this.#starting === null) return
    const running = await this.#starting
    this.#starting = null
    for (const timer of running.timers) timer.cancel()
    const { config, clock, log } = this.#options
    const flushing = running.queue.close(config.stopTimeoutMs)
    const leaving = Promise.all([...running.consumers].map((consumer) => consumer.close()))
    try {
      await withTimeout(clock, config.stopTimeoutMs, 'leaving the consumer groups', leaving)
    } catch (error) {
      log.warn({ error: describeError(error) }, 'stopped without leaving every consumer group')
    }
    await flushing
    this.#running = null
    running.cluster.stop()
    await leaving
  }

  async ensureTopics(specs: readonly TopicSpec[]): Promise<void> {
    const { cluster, consumers } = this.#require()
    await ensureKafkaTopics(cluster, this.#options.topicPrefix, specs)
    for (const consumer of consumers) await consumer.follow()
  }

  /** Rejects with LOG_UNAVAILABLE when Kafka did not acknowledge within `appendTimeoutMs`, or `pendingBytesMax` are waiting. */
  append(topic: string, messages: readonly LogMessage[]): Promise<Appended[]> {
    try {
      const { queue } = this.#require()
      return messages.length === 0 ? Promise.resolve([]) : queue.append(topic, messages)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async consume(options: ConsumerOptions): Promise<Consumer> {
    const running = this.#require()
    const { group, topic } = options
    if (group !== undefined && (group.length === 0 || group.length > GROUP_CHARACTERS_MAX))
      throw new InvalidInputError(`a consumer group's name has 1 to ${GROUP_CHARACTERS_MAX} characters, not ${group.length}`)
    await this.#partitions(topic)
    const consumer = new KafkaConsumer({
      cluster: running.cluster,
      connections: running.connections,
      consumer: options,
      topicPrefix: this.#options.topicPrefix,
      membership: group === undefined ? null : this.#membership(running, group, topic),
      onRemoved: (partition, records) => this.#removed(topic, group, partition, records),
      onClosed: (closed) => this.#closed(running, closed),
    })
    running.consumers.add(consumer)
    try {
      await consumer.start()
    } catch (error) {
      await consumer.close()
      throw error
    }
    return consumer
  }

  async bounds(topic: string): Promise<ReadonlyMap<number, { first: number; next: number }>> {
    const partitions = await this.#partitions(topic)
    const [firsts, nexts] = await Promise.all([this.#list(topic, partitions, EARLIEST), this.#list(topic, partitions, LATEST)])
    return new Map(partitions.map((partition) => [partition, { first: firsts.get(partition) ?? 0, next: nexts.get(partition) ?? 0 }]))
  }

  async read(topic: string, partition: number, offset: number, recordsMax: number): Promise<LogRecord[]> {
    const partitions = await this.#partitions(topic)
    if (!partitions.includes(partition)) throw new InvalidInputError(`topic ${topic} has no partition ${partition}`)
    if (!Number.isSafeInteger(offset) || offset < 0) throw new InvalidInputError(`offset ${offset} is not a whole number from 0`)
    const { cluster, connections } = this.#require()
    return readKafkaPartition(
      cluster,
      connections,
      { name: topic, topic: this.#options.topicPrefix + topic, partition },
      offset,
      recordsMax,
    )
  }

  async offsetsAt(topic: string, timestampMs: number): Promise<Offsets> {
    const partitions = await this.#partitions(topic)
    const [found, nexts] = await Promise.all([this.#list(topic, partitions, timestampMs), this.#list(topic, partitions, LATEST)])
    for (const [partition, offset] of found) if (offset < 0) found.set(partition, nexts.get(partition) ?? 0)
    return found
  }

  /** Resolves with nothing removed: the brokers do it, as the topics' retention says. */
  async retain(): Promise<{ records: number; bytes: number }> {
    this.#require()
    return { records: 0, bytes: 0 }
  }

  async #open(): Promise<Running> {
    const { config, clock, log, topicPrefix } = this.#options
    const cluster = new KafkaCluster(this.#options)
    try {
      await cluster.start()
    } catch (error) {
      cluster.stop()
      throw error
    }
    const queue = new KafkaAppendQueue({ cluster, metrics: this.#metrics, topicPrefix })
    const running: Running = { cluster, queue, connections: cluster.connections(), consumers: new Set(), timers: [] }
    const repeat = (intervalMs: number, what: string, run: () => Promise<void>): Timer =>
      every(clock, intervalMs, run, (error) => log.warn({ error: describeError(error) }, what))
    running.timers.push(
      repeat(config.metadataMaxAgeMs, 'Kafka could not be asked for its topics', () => this.#lookAround(running)),
      repeat(config.lagIntervalMs, 'lag could not be measured', () => this.#measureLag(running)),
    )
    return running
  }

  /** Finds new leaders and partitions, and whether Kafka is there at all. */
  async #lookAround({ cluster, consumers }: Running): Promise<void> {
    try {
      await cluster.refresh()
      cluster.health.worked('brokers')
    } catch (error) {
      cluster.health.failed('brokers', unavailable(`Kafka at ${cluster.where} does not answer`, error))
      throw error
    }
    for (const consumer of consumers) await consumer.follow()
  }

  async #measureLag({ consumers }: Running): Promise<void> {
    const lags = new Map<string, { topic: string; group: string; lag: number }>()
    for (const consumer of consumers) {
      const { topic, group } = consumer
      if (group === undefined) continue
      const sum = lags.get(`${group} ${topic}`) ?? { topic, group, lag: 0 }
      sum.lag += await consumer.lag()
      lags.set(`${group} ${topic}`, sum)
    }
    for (const { topic, group, lag } of lags.values()) {
      // A group whose last member left meanwhile is not measured any more.
      if (hasMember(consumers, topic, group)) this.#metrics.lag.set({ topic, group }, lag)
    }
  }

  /** Instance ids are for one member of a group each: a second one of this process gets a number. */
  #membership({ consumers }: Running, group: string, topic: string): { group: string; instanceId: string | null; transactionalId: string } {
    const { config, clock, topicPrefix } = this.#options
    const name = `${topicPrefix}${group}.${topic}`
    const alike = [...consumers].filter((other) => other.topic === topic && other.group === group).length
    const instanceId = config.instanceId === '' ? null : alike === 0 ? config.instanceId : `${config.instanceId}.${alike}`
    return { group: name, instanceId, transactionalId: `${name}.${instanceId ?? newId(clock.nowMs())}` }
  }

  #removed(topic: string, group: string | undefined, partition: number, messages: number): void {
    const labels = { topic, group: group ?? '' }
    this.#metrics.lostMessages.inc(labels, messages)
    this.#options.log.warn({ ...labels, partition, messages }, 'messages were removed by retention before they were read')
  }

  #closed({ consumers }: Running, consumer: KafkaConsumer): void {
    consumers.delete(consumer)
    const { topic, group } = consumer
    if (group !== undefined && !hasMember(consumers, topic, group)) this.#metrics.lag.remove({ topic, group })
  }

  async #partitions(topic: string): Promise<number[]> {
    const { leaders } = await this.#require().cluster.topic(this.#options.topicPrefix + topic)
    return leaders.map((_, partition) => partition)
  }

  #list(topic: string, partitions: readonly number[], timestampMs: number): Promise<Map<number, number>> {
    const { cluster, connections } = this.#require()
    return listOffsets(cluster, connections, this.#options.topicPrefix + topic, partitions, timestampMs)
  }

  #require(): Running {
    if (this.#running === null) throw unavailable('the event log is not started')
    return this.#running
  }
}

function hasMember(consumers: Iterable<KafkaConsumer>, topic: string, group: string): boolean {
  for (const consumer of consumers) if (consumer.topic === topic && consumer.group === group) return true
  return false
}
