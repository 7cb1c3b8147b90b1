import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Consumer, ConsumerOptions, EventLog, LogRecord } from './event-log.ts'

export interface TopicFollowerOptions {
  eventLog: EventLog
  clock: Clock
  log: Logger
  consumer: ConsumerOptions
  recordsMax: number
  /** Pause after a failure, in ms. */
  retryMs: number
  /** How long a poll may wait for records now, in ms. */
  waitMs: () => number
  /** Called with what was polled, also with nothing; a throw is logged, and the next poll follows after a pause. */
  onRecords: (records: readonly LogRecord[], consumer: Consumer, signal: AbortSignal) => Promise<void>
}

/**
 * An `onRecords` that commits when `noteAll` is through with what was polled, and polls all of it again when that fails. `noteAll` answers
 * false when it was cut short by the signal: then nothing is committed.
 */
export function committing(
  noteAll: (records: readonly LogRecord[], signal: AbortSignal) => Promise<boolean>,
): TopicFollowerOptions['onRecords'] {
  return async (records, consumer, signal) => {
    if (records.length === 0) return
    try {
      if (!(await noteAll(records, signal))) return
      await consumer.commit(new Map(records.map((record) => [record.partition, record.offset + 1])))
    } catch (error) {
      if (!signal.aborted) for (const record of records.toReversed()) consumer.seek(record.partition, record.offset)
      throw error
    }
  }
}

/** A `noteAll` for `committing`: one after the other. */
export function oneByOne(note: (record: LogRecord) => Promise<void>) {
  return async (records: readonly LogRecord[], signal: AbortSignal): Promise<boolean> => {
    for (const record of records) {
      if (signal.aborted) return false
      await note(record)
    }
    return true
  }
}

/** One consumer and its loop: whatever fails is tried again for as long as it takes. */
export class TopicFollower {
  readonly #options: TopicFollowerOptions
  readonly #stopping = new AbortController()
  readonly #consumer: Consumer
  #loop: Promise<void> | undefined

  private constructor(options: TopicFollowerOptions, consumer: Consumer) {
    this.#options = options
    this.#consumer = consumer
  }

  /** Joins the group; nothing is polled before `run`. */
  static async join(options: TopicFollowerOptions): Promise<TopicFollower> {
    return new TopicFollower(options, await options.eventLog.consume(options.consumer))
  }

  run(): void {
    this.#loop ??= this.#run()
  }

  /** Ends after the records in hand. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#consumer.close()
    await this.#loop
  }

  async #run(): Promise<void> {
    const { clock, log, consumer, recordsMax, retryMs, onRecords } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        const waitMs = this.#options.waitMs()
        const startedMs = clock.monotonicMs()
        const records = await this.#consumer.poll(recordsMax, waitMs)
        await onRecords(records, this.#consumer, signal)
        // A consumer that was closed from outside answers at once, and the loop must not spin on it.
        if (records.length === 0 && clock.monotonicMs() - startedMs < waitMs) await sleep(clock, retryMs, signal)
      } catch (error) {
        if (signal.aborted) return
        log.error({ topic: consumer.topic, group: consumer.group, error: describeError(error) }, 'following a topic failed, trying again')
        await sleep(clock, retryMs, signal)
      }
    }
  }
}
