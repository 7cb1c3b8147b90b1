import { setImmediate } from 'node:timers/promises'
import { FleetpulseError, LimitError } from '../../kernel/errors.ts'

/** One write of one document that waits for its answer. */
export interface QueuedWrite {
  readonly id: string
  /** Batches hold writes of one kind only. */
  readonly kind: 'save' | 'delete'
  /** Rejects it; one that has its answer already keeps that. */
  fail(error: unknown): void
}

export interface WriteQueueOptions<W extends QueuedWrite> {
  /** Answers every write of the batch; what it throws is the answer of those that have none yet. */
  perform: (batch: readonly W[]) => Promise<void>
  batchMax: number
  waitingMax: number
  collection: string
}

/**
 * The writes of one collection in the order in which they were asked for: what one turn of the event loop asks, and what comes while a
 * batch is under way, goes together. No batch holds a document twice, so that the writes of one document follow each other.
 */
export class WriteQueue<W extends QueuedWrite> {
  readonly #options: WriteQueueOptions<W>
  #waiting: W[] = []
  #running: Promise<void> | undefined

  constructor(options: WriteQueueOptions<W>) {
    this.#options = options
  }

  get waiting(): number {
    return this.#waiting.length
  }

  add(write: W): void {
    const { waitingMax, collection } = this.#options
    if (this.#waiting.length >= waitingMax) {
      const remedy = 'Try again later: MongoDB is slower than what is written, or raise mongodb.waitingWritesMax.'
      write.fail(new LimitError(`${waitingMax} writes of ${collection} wait for MongoDB (mongodb.waitingWritesMax)`, { remedy }))
      return
    }
    this.#waiting.push(write)
    this.#running ??= this.#run()
  }

  /** Resolves when nothing waits and nothing is under way. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  async #run(): Promise<void> {
    await setImmediate()
    for (let batch = this.#take(); batch.length > 0; batch = this.#take()) {
      try {
        await this.#options.perform(batch)
      } catch (error) {
        for (const write of batch) write.fail(error)
        // A server that is away stays away for those behind: each would wait as long again.
        if (error instanceof FleetpulseError && error.retryable) for (const write of this.#waiting.splice(0)) write.fail(error)
      }
    }
    // In the same step as the last look at what waits: a write that is added now begins anew.
    this.#running = undefined
  }

  /** The longest beginning of what waits that is of one kind and names no document twice. */
  #take(): W[] {
    const kind = this.#waiting[0]?.kind
    const ids = new Set<string>()
    for (const write of this.#waiting) {
      if (write.kind !== kind || ids.has(write.id) || ids.size === this.#options.batchMax) break
      ids.add(write.id)
    }
    return this.#waiting.splice(0, ids.size)
  }
}
