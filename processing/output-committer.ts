import { ConflictError, describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { systemRandom } from '../kernel/random.ts'
import { backoffDelayMs } from '../kernel/retry.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import type { Consumer, LogMessage } from '../storage/event-log/event-log.ts'
import type { ProcessingConfig } from './config.ts'

/** Tries after which a commit is left to the next one; nothing is dropped by that. */
const ATTEMPTS_MAX = 5

export interface OutputCommitterOptions {
  consumer: Consumer
  config: ProcessingConfig
  clock: Clock
  log: Logger
  /** A commit came too late: what is in memory belongs to another member and must be dropped. */
  onFenced: () => void
}

/**
 * Gathers outputs and commits them together with the input's offsets, one commit at a time. Outputs go at once (an alert must not wait),
 * bare offsets when `flush` is called.
 */
export class OutputCommitter {
  readonly #options: OutputCommitterOptions
  #outputs = new Map<string, LogMessage[]>()
  #offsets = new Map<number, number>()
  #dirty = false
  #committing: Promise<void> | null = null

  constructor(options: OutputCommitterOptions) {
    this.#options = options
  }

  add(topic: string, message: LogMessage): void {
    const messages = this.#outputs.get(topic)
    if (messages === undefined) this.#outputs.set(topic, [message])
    else messages.push(message)
    this.#dirty = true
    if (this.#committing === null) {
      this.#committing = Promise.resolve().then(() => this.#commitAll())
      this.#committing.catch((error: unknown) =>
        this.#options.log.error({ error: describeError(error) }, 'outputs wait for the next commit'),
      )
    }
  }

  /** The input is done up to here, its outputs were added. */
  advance(nextOffsets: ReadonlyMap<number, number>): void {
    for (const [partition, next] of nextOffsets) this.#offsets.set(partition, next)
    this.#dirty = true
  }

  /** These partitions are another member's: their offsets are not ours to commit. */
  forget(partitions: readonly number[]): void {
    for (const partition of partitions) this.#offsets.delete(partition)
  }

  /** Drops what was not committed: the partitions are another member's, who makes it again. */
  abandon(): void {
    this.#outputs.clear()
    this.#offsets.clear()
    this.#dirty = false
  }

  /** Resolves when everything added so far is durable. */
  async flush(): Promise<void> {
    while (this.#dirty || this.#committing !== null) {
      this.#committing ??= this.#commitAll()
      await this.#committing
    }
  }

  async #commitAll(): Promise<void> {
    try {
      while (this.#dirty) await this.#commitOnce()
    } finally {
      this.#committing = null
    }
  }

  async #commitOnce(): Promise<void> {
    const { consumer, config, clock, log, onFenced } = this.#options
    const outputs = Array.from(this.#outputs, ([topic, messages]) => ({ topic, messages }))
    const offsets = new Map(this.#offsets)
    this.#outputs = new Map()
    this.#dirty = false
    for (let attempt = 1; ; attempt++) {
      try {
        await consumer.commit(offsets, outputs)
        return
      } catch (error) {
        if (error instanceof ConflictError) {
          onFenced()
          throw error
        }
        log.warn({ error: describeError(error), attempt }, 'outputs not committed, trying again')
        if (attempt >= ATTEMPTS_MAX) {
          this.#putBack(outputs)
          throw error
        }
        await sleep(
          clock,
          backoffDelayMs({ initialMs: config.retryInitialMs, maxMs: config.retryMaxMs, factor: 2, jitter: 0.5 }, attempt, systemRandom),
        )
      }
    }
  }

  #putBack(outputs: { topic: string; messages: LogMessage[] }[]): void {
    const later = this.#outputs
    this.#outputs = new Map(outputs.map(({ topic, messages }) => [topic, [...messages, ...(later.get(topic) ?? [])]]))
    for (const [topic, messages] of later) if (!this.#outputs.has(topic)) this.#outputs.set(topic, messages)
    this.#dirty = true
  }
}
