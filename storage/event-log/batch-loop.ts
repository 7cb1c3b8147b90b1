import { ConflictError, describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Random } from '../../kernel/random.ts'
import { backoffDelayMs } from '../../kernel/retry.ts'
import type { Service } from '../../kernel/service.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Consumer, EventLog, LogRecord, Offsets, TopicMessages } from './event-log.ts'

/** How much at a time, and how soon again; sections of the configuration have it under these names. */
export interface LoopPace {
  batchRecordsMax: number
  pollWaitMs: number
  retryInitialMs: number
  retryMaxMs: number
}

export interface BatchLoopOptions {
  name: string
  group: string
  topic: string
  eventLog: EventLog
  clock: Clock
  random: Random
  log: Logger
  pace: LoopPace
  /**
   * Makes the effects of a batch durable and answers what to append with its commit. `committed` holds the group's offsets, so that a
   * handler knows what a crash would bring back. A throw repeats the batch after a wait: records that cannot succeed must be set aside.
   */
  handle: (records: readonly LogRecord[], committed: Offsets) => Promise<TopicMessages[]>
}

const UNASSIGNED_WAIT_MS = 100

/**
 * Consumes one topic in batches; offsets are committed together with the outputs. Any failure closes the consumer, waits with back-off
 * and goes on from the committed offsets, for as long as it takes.
 */
export class BatchLoop implements Service {
  readonly name: string
  readonly #options: BatchLoopOptions
  #abort = new AbortController()
  #running: Promise<void> | undefined
  #consumer: Consumer | undefined
  #polling = false
  #committed = new Map<number, number>()

  constructor(options: BatchLoopOptions) {
    this.name = options.name
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#running !== undefined) return
    this.#abort = new AbortController()
    await this.#join()
    this.#running = this.#run()
  }

  /** Ends after the batch in hand is committed. */
  async stop(): Promise<void> {
    this.#abort.abort()
    if (this.#polling) await this.#leave()
    await this.#running
    this.#running = undefined
  }

  async #run(): Promise<void> {
    const { log, clock, random, name, pace } = this.#options
    const backoff = { initialMs: pace.retryInitialMs, maxMs: pace.retryMaxMs, factor: 2, jitter: 0.2 }
    let failures = 0
    while (!this.#abort.signal.aborted) {
      try {
        await this.#step(this.#consumer ?? (await this.#join()))
        failures = 0
      } catch (error) {
        failures++
        const delayMs = backoffDelayMs(backoff, failures, random)
        log.error({ loop: name, failures, delayMs, error: describeError(error) }, 'batch failed; going on from the committed offsets')
        await this.#leave()
        await sleep(clock, delayMs, this.#abort.signal)
      }
    }
    await this.#leave()
  }

  async #step(consumer: Consumer): Promise<void> {
    this.#polling = true
    const { batchRecordsMax, pollWaitMs } = this.#options.pace
    const records = await consumer.poll(batchRecordsMax, pollWaitMs).finally(() => (this.#polling = false))
    if (records.length > 0) await this.#process(consumer, records)
    // Without partitions (too many members, or a log that stops) there is nothing to wait for in a poll.
    else if (consumer.assignment().length === 0) await sleep(this.#options.clock, UNASSIGNED_WAIT_MS, this.#abort.signal)
  }

  async #process(consumer: Consumer, records: LogRecord[]): Promise<void> {
    const next = new Map<number, number>()
    for (const record of records) next.set(record.partition, record.offset + 1)
    if ([...next.keys()].some((partition) => !this.#committed.has(partition))) {
      this.#committed = new Map(await consumer.committed())
    }
    const outputs = await this.#options.handle(records, this.#committed)
    const told = outputs.filter((output) => output.messages.length > 0)
    try {
      await consumer.commit(next, told)
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error
      this.#options.log.info({ loop: this.name }, 'another member took over part of a batch; the rest is done again')
      rewind(consumer, records)
      return
    }
    for (const [partition, offset] of next) this.#committed.set(partition, offset)
  }

  async #join(): Promise<Consumer> {
    const { eventLog, group, topic } = this.#options
    this.#committed = new Map()
    this.#consumer = await eventLog.consume({ group, topic })
    return this.#consumer
  }

  async #leave(): Promise<void> {
    const consumer = this.#consumer
    this.#consumer = undefined
    try {
      await consumer?.close()
    } catch (error) {
      this.#options.log.warn({ loop: this.name, error: describeError(error) }, 'consumer did not close cleanly')
    }
  }
}

/** Sets the partitions that are still ours back to the beginning of a batch that was not committed. */
function rewind(consumer: Consumer, records: readonly LogRecord[]): void {
  const first = new Map<number, number>()
  for (const record of records) if (!first.has(record.partition)) first.set(record.partition, record.offset)
  for (const partition of consumer.assignment()) {
    const offset = first.get(partition)
    if (offset !== undefined) consumer.seek(partition, offset)
  }
}
