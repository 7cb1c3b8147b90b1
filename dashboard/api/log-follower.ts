import type { TopicName } from '../../contracts/topics.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Consumer, EventLog, LogRecord } from '../../storage/event-log/event-log.ts'

export interface LogFollowerOptions {
  eventLog: EventLog
  clock: Clock
  log: Logger
  topics: readonly TopicName[]
  /** One record that cannot be taken is logged and passed over. */
  take: (record: LogRecord) => void | Promise<void>
  /** A topic is followed from here on: what came before, or while the log was away, was not seen. */
  onPlaced?: () => void
}

interface Following {
  stop: AbortController
  consumers: Set<Consumer>
  loops: Promise<void>[]
}

const POLL_RECORDS_MAX = 2_000
const POLL_WAIT_MS = 1_000
const RETRY_MS = 1_000

/** Follows topics from now on, for as long as somebody watches. Never commits: every follower sees everything. */
export class LogFollower {
  readonly #options: LogFollowerOptions
  #following: Following | null = null

  constructor(options: LogFollowerOptions) {
    this.#options = options
  }

  /** Does nothing where it follows already. */
  start(): void {
    if (this.#following !== null) return
    const stop = new AbortController()
    const consumers = new Set<Consumer>()
    this.#following = { stop, consumers, loops: this.#options.topics.map((topic) => this.#run(topic, consumers, stop.signal)) }
  }

  async stop(): Promise<void> {
    const following = this.#following
    if (following === null) return
    this.#following = null
    following.stop.abort()
    // A closed consumer ends its poll: nobody waits for the next record.
    await Promise.all(Array.from(following.consumers, (consumer) => this.#close(consumer)))
    await Promise.all(following.loops)
  }

  async #run(topic: TopicName, consumers: Set<Consumer>, signal: AbortSignal): Promise<void> {
    const { eventLog, clock, log, onPlaced } = this.#options
    while (!signal.aborted) {
      let consumer: Consumer | undefined
      try {
        consumer = await eventLog.consume({ topic, from: 'latest' })
        consumers.add(consumer)
        if (!signal.aborted) onPlaced?.()
        while (!signal.aborted) for (const record of await consumer.poll(POLL_RECORDS_MAX, POLL_WAIT_MS)) await this.#take(record)
      } catch (error) {
        if (!signal.aborted) log.warn({ topic, error: describeError(error) }, 'live stream interrupted, trying again')
        await sleep(clock, RETRY_MS, signal)
      }
      if (consumer === undefined) continue
      consumers.delete(consumer)
      await this.#close(consumer)
    }
  }

  /** One record that cannot be read must not interrupt the stream. */
  async #take(record: LogRecord): Promise<void> {
    try {
      await this.#options.take(record)
    } catch (error) {
      const { topic, partition, offset } = record
      this.#options.log.warn({ topic, partition, offset, error: describeError(error) }, 'record left out of the live stream')
    }
  }

  /** A consumer that cannot be closed is the log's trouble: nobody waits for it here, and nothing may be thrown into nowhere. */
  async #close(consumer: Consumer): Promise<void> {
    try {
      await consumer.close()
    } catch (error) {
      this.#options.log.warn({ error: describeError(error) }, 'live stream not closed cleanly')
    }
  }
}
