import { realpathSync } from 'node:fs'
import { describeError, InvalidInputError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import { DiskReserve } from '../disk-reserve.ts'
import { AppendQueue } from './append-queue.ts'
import type { EventLogConfig } from './config.ts'
import { ConsumerGroups } from './consumer-groups.ts'
import { DurableHeads } from './durable-heads.ts'
import type { Appended, Consumer, ConsumerOptions, EventLog, LogMessage, LogRecord, Offsets, TopicSpec } from './event-log.ts'
import { eventLogMetrics, type EventLogMetrics } from './event-log-metrics.ts'
import { unavailable } from './lmdb-errors.ts'
import { LmdbEnvironment } from './lmdb-environment.ts'
import { slotOf } from './log-keys.ts'
import { PartitionCursor } from './partition-cursor.ts'
import { readHead, readTail } from './partition-state.ts'
import { Retention, type Removed } from './retention.ts'
import { offsetAtTime } from './time-index.ts'
import { TopicCatalog, type Topic } from './topic-catalog.ts'

export interface LmdbEventLogOptions {
  /** Folder of the environment; made with mode 0700 when missing. */
  directory: string
  config: EventLogConfig
  clock: Clock
  log: Logger
  metrics: Metrics
  /** In front of every topic's name in the store, for instance `fleetpulse.`. */
  topicPrefix: string
}

/** What exists while the log runs. */
interface Running {
  environment: LmdbEnvironment
  catalog: TopicCatalog
  durableHeads: DurableHeads
  queue: AppendQueue
  groups: ConsumerGroups
  retention: Retention
  diskReserve: DiskReserve
  timers: Timer[]
}

/**
 * The event log on LMDB, for one machine. Several threads of one process may each have one over the same folder; they append to the same
 * topics without gaps and wake each other's consumers. Members of a consumer group share partitions within one of them.
 */
export class LmdbEventLog implements EventLog {
  readonly name = 'event-log'
  readonly #options: LmdbEventLogOptions
  readonly #metrics: EventLogMetrics
  #starting: Promise<Running> | null = null
  #running: Running | null = null
  #retaining: Promise<Removed> | null = null
  #seenHeads: readonly number[] = []

  constructor(options: LmdbEventLogOptions) {
    this.#options = options
    this.#metrics = eventLogMetrics(options.metrics)
  }

  /** Rejects with StoreError STORE_UNUSABLE, STORE_CORRUPT, STORE_NEWER or STORE_FULL; then nothing in the folder was changed. */
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
    running.diskReserve.stop()
    await running.groups.close()
    await running.queue.close(this.#options.config.stopTimeoutMs)
    await this.#retaining?.catch(() => {})
    this.#running = null
    running.durableHeads.stop()
    await running.environment.close()
  }

  async ensureTopics(specs: readonly TopicSpec[]): Promise<void> {
    const { catalog, durableHeads } = this.#require()
    await catalog.ensure(specs)
    this.#refreshTopics()
    durableHeads.publishTopics()
  }

  append(topic: string, messages: readonly LogMessage[]): Promise<Appended[]> {
    try {
      const { queue, catalog } = this.#require()
      if (messages.length === 0) return Promise.resolve([])
      return queue.append(catalog.get(topic), messages)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async consume(options: ConsumerOptions): Promise<Consumer> {
    const { catalog, groups } = this.#require()
    return groups.join(catalog.get(options.topic), options)
  }

  async bounds(topic: string): Promise<ReadonlyMap<number, { first: number; next: number }>> {
    const found = this.#require().catalog.get(topic)
    this.#require().environment.refresh()
    return new Map(Array.from({ length: found.partitions }, (_, partition) => [partition, this.#boundsOf(found, partition)]))
  }

  async read(topic: string, partition: number, offset: number, recordsMax: number): Promise<LogRecord[]> {
    const { catalog, environment } = this.#require()
    const found = catalog.get(topic)
    if (!Number.isInteger(partition) || partition < 0 || partition >= found.partitions)
      throw new InvalidInputError(`topic ${topic} has no partition ${partition}`)
    if (!Number.isSafeInteger(offset) || offset < 0) throw new InvalidInputError(`offset ${offset} is not a whole number from 0`)
    environment.refresh()
    const { first, next } = this.#boundsOf(found, partition)
    const cursor = new PartitionCursor(environment, slotOf(found.id, partition), { topic, partition }, Math.max(first, offset))
    const records: LogRecord[] = []
    cursor.read(records, recordsMax, next)
    return records
  }

  async offsetsAt(topic: string, timestampMs: number): Promise<Offsets> {
    const { catalog, environment } = this.#require()
    const found = catalog.get(topic)
    environment.refresh()
    const offsets = new Map<number, number>()
    for (let partition = 0; partition < found.partitions; partition++) {
      offsets.set(partition, offsetAtTime(environment, found, partition, this.#boundsOf(found, partition), timestampMs))
    }
    return offsets
  }

  async retain(): Promise<Removed> {
    const { retention } = this.#require()
    // One run at a time: a second one would only be refused by the first one's commits.
    while (this.#retaining !== null) await this.#retaining.catch(() => {})
    this.#retaining = retention.run()
    try {
      return await this.#retaining
    } finally {
      this.#retaining = null
    }
  }

  async #open(): Promise<Running> {
    const { directory, config, clock, log, topicPrefix } = this.#options
    const metrics = this.#metrics
    const environment = await LmdbEnvironment.open(directory, config.mapSizeBytes)
    const catalog = new TopicCatalog(environment, topicPrefix)
    const durableHeads = new DurableHeads(() => this.#guard('topics could not be read', () => this.#refreshTopics()))
    catalog.refresh()
    durableHeads.start(`fleetpulse-event-log:${realpathSync(directory)}`)
    const { diskReserveBytes: reserveBytes, diskCheckMs: checkMs } = config
    const diskReserve = new DiskReserve({ directory, reserveBytes, checkMs, log })
    diskReserve.start()
    const queue = new AppendQueue(config, { environment, durableHeads, diskReserve, metrics, clock, log })
    const groups = new ConsumerGroups({ environment, catalog, durableHeads, queue, clock, log, metrics })
    const retention = new Retention({ environment, catalog, clock, log, metrics, entriesPerCommit: config.retentionEntriesPerCommit })
    const running: Running = { environment, catalog, durableHeads, queue, groups, retention, diskReserve, timers: [] }
    const visible = visibleHeads(running)
    await environment.flushAll()
    durableHeads.advance(visible)
    const repeat = (intervalMs: number, what: string, run: () => void | Promise<void>): Timer =>
      every(clock, intervalMs, run, (error) => log.error({ error: describeError(error) }, what))
    running.timers.push(
      repeat(config.retentionIntervalMs, 'retention failed', async () => void (await this.retain())),
      repeat(config.wakeFallbackMs, 'looking for commits of other processes failed', () => this.#lookAround(running)),
      repeat(config.lagIntervalMs, 'lag could not be measured', () => groups.measureLag()),
    )
    return running
  }

  /**
   * Finds what other processes committed, for nobody tells of it. What this process commits is told within the time between two looks;
   * only what was there at the last look and is still not known to be durable is made so.
   */
  async #lookAround(running: Running): Promise<void> {
    this.#refreshTopics()
    const before = this.#seenHeads
    this.#seenHeads = visibleHeads(running)
    const isNews = before.some((next, i) => i % 2 === 1 && next > running.durableHeads.next(before[i - 1]!))
    if (!isNews) return
    await running.environment.flushAll()
    running.durableHeads.advance(before)
  }

  #refreshTopics(): void {
    const running = this.#running
    if (running === null) return
    const grown = running.catalog.refresh()
    running.groups.rebalance(grown)
  }

  #boundsOf(topic: Topic, partition: number): { first: number; next: number } {
    const { environment, durableHeads } = this.#require()
    const slot = slotOf(topic.id, partition)
    return { first: readTail(environment.tails, slot)?.first ?? 0, next: durableHeads.next(slot) }
  }

  #guard(what: string, run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#options.log.error({ error: describeError(error) }, what)
    }
  }

  #require(): Running {
    if (this.#running === null) throw unavailable('the event log is not started')
    return this.#running
  }
}

/** Pairs of slot and next offset of all partitions, durable or not. */
function visibleHeads({ environment, catalog }: Running): number[] {
  environment.refresh()
  const heads: number[] = []
  for (const topic of catalog.all()) {
    for (const slot of catalog.slots(topic)) heads.push(slot, readHead(environment.heads, slot)?.next ?? 0)
  }
  return heads
}
