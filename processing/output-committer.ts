import { ConflictError, describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { systemRandom } from '../kernel/random.ts'
import { backoffDelayMs } from '../kernel/retry.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import type { Consumer, LogMessage } from '../storage/event-log/event-log.ts'
import type { ProcessingConfig } from './config.ts'
import { OutputBytes } from './output-bytes.ts'

/** Tries after which a commit is left to the next one; nothing is dropped by that. */
const ATTEMPTS_MAX = 5

export interface OutputCommitterOptions {
  consumer: Consumer
  config: ProcessingConfig
  clock: Clock
  log: Logger
  /** A commit came too late: what is in memory belongs to another member and must be dropped. */
  onFenced: (why: ConflictError) => void
}

/**
 * Gathers outputs and commits them together with the input's offsets, one commit at a time. Outputs go at once (an alert must not wait),
 * bare offsets when `flush` is called.
 */
export class OutputCommitter {
  readonly #options: OutputCommitterOptions
  #outputs = new Map<string, LogMessage[]>()
  readonly #bytes = new OutputBytes()
  #offsets = new Map<number, number>()
  #dirty = false
  #committing: Promise<void> | null = null
  #held: { released: Promise<void>; release: () => void } | undefined
  /** Why nothing is committed any more. */
  #fencedBy: ConflictError | null = null

  constructor(options: OutputCommitterOptions) {
    this.#options = options
  }

  /** As `add`, a value that is written as JSON here. */
  addJson(topic: string, key: string, schema: string, value: object): void {
    if (this.#fencedBy === null) this.add(topic, { key, schema, value: this.#bytes.write(JSON.stringify(value)) })
  }

  add(topic: string, message: LogMessage): void {
    if (this.#fencedBy !== null) return
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

  /** The partition's input is done up to `next`, its outputs were added. */
  advance(partition: number, next: number): void {
    if (this.#fencedBy !== null) return
    this.#offsets.set(partition, next)
    this.#dirty = true
  }

  /**
   * Nothing is committed until `release`: outputs of a batch that lets others have their turn must not go without the offsets that cover
   * them, or they are made again by a replay.
   */
  hold(): void {
    if (this.#held !== undefined) return
    let release = (): void => undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    this.#held = { released, release }
  }

  release(): void {
    this.#held?.release()
    this.#held = undefined
  }

  /** These partitions are another member's: their offsets are not ours to commit. */
  forget(partitions: readonly number[]): void {
    for (const partition of partitions) this.#offsets.delete(partition)
  }

  /**
   * Drops what was not committed, and takes nothing more: the partitions are another member's, who makes it again. One commit more, even if it
   * succeeded, would move the offsets past outputs that were dropped, and a state saved now would never give them again.
   */
  fence(why: ConflictError): void {
    this.#fencedBy ??= why
    this.#outputs.clear()
    this.#offsets.clear()
    this.#dirty = false
  }

  /** Resolves when everything added so far is durable. Throws ConflictError once another member has the partitions. */
  async flush(): Promise<void> {
    while (this.#dirty || this.#committing !== null) {
      this.#committing ??= this.#commitAll()
      await this.#committing
    }
    if (this.#fencedBy !== null) throw this.#fencedBy
  }

  async #commitAll(): Promise<void> {
    try {
      while (this.#dirty) {
        while (this.#held !== undefined) await this.#held.released
        await this.#commitOnce()
      }
    } finally {
      this.#committing = null
    }
  }

  async #commitOnce(): Promise<void> {
    const { consumer, config, clock, log, onFenced } = this.#options
    const outputs = Array.from(this.#outputs, ([topic, messages]) => ({ topic, messages }))
    const offsets = new Map(this.#offsets)
    const slabs = this.#bytes.take()
    this.#outputs = new Map()
    this.#dirty = false
    for (let attempt = 1; ; attempt++) {
      if (this.#fencedBy !== null) throw this.#fencedBy
      try {
        await consumer.commit(offsets, outputs)
        // A commit that failed may still be under way somewhere: what it reads from is left to the collector.
        if (attempt === 1) this.#bytes.giveBack(slabs)
        return
      } catch (error) {
        if (error instanceof ConflictError) {
          this.fence(error)
          onFenced(error)
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
