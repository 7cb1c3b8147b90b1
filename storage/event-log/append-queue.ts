import { LimitError, TimeoutError, type FleetpulseError } from '../../kernel/errors.ts'
import { withTimeout } from '../../kernel/retry.ts'
import type { Clock } from '../../kernel/time.ts'
import { AppendTurn, EntryBuffers, type OffsetCommit } from './append-turn.ts'
import { CommitPipeline, type CommitPipelineOptions } from './commit-pipeline.ts'
import type { EventLogConfig } from './config.ts'
import type { Appended, LogMessage } from './event-log.ts'
import type { EventLogMetrics } from './event-log-metrics.ts'
import { unavailable } from './lmdb-errors.ts'
import { checkedMessageBytes } from './message-bounds.ts'
import type { Topic } from './topic-catalog.ts'

export interface TopicAppend {
  topic: Topic
  messages: readonly LogMessage[]
}

/** Gathers what one turn of the event loop appends, and hands it to the pipeline when that has room. */
export class AppendQueue {
  readonly #config: EventLogConfig
  readonly #clock: Clock
  readonly #metrics: EventLogMetrics
  readonly #pipeline: CommitPipeline
  readonly #buffers: EntryBuffers
  readonly #key = AppendTurn.keyScratch()
  #turn: AppendTurn | null = null
  #isScheduled = false
  #pendingBytes = 0
  #closed: FleetpulseError | null = null
  #onIdle: (() => void)[] = []

  constructor(config: EventLogConfig, options: Omit<CommitPipelineOptions, 'onFree' | 'commitsInFlightMax'>) {
    this.#config = config
    this.#clock = options.clock
    this.#metrics = options.metrics
    this.#buffers = new EntryBuffers(config.entryBytesMax)
    this.#pipeline = new CommitPipeline({ ...options, commitsInFlightMax: config.commitsInFlightMax, onFree: () => this.#flush() })
  }

  /** Rejects with InvalidInputError, LimitError, or what kept the messages from being durable. */
  append(topic: Topic, messages: readonly LogMessage[]): Promise<Appended[]> {
    try {
      const sizes = this.#admit(messages)
      const turn = this.#openTurn()
      const placed = turn.add(topic, messages, sizes)
      return turn.durable.then(placed)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Offsets and outputs become durable together or not at all. */
  async commit(offsets: readonly OffsetCommit[], outputs: readonly TopicAppend[]): Promise<void> {
    const sizes = outputs.map(({ messages }) => this.#admit(messages))
    this.#checkBound(sizes.flat())
    const turn = this.#openTurn()
    outputs.forEach(({ topic, messages }, i) => turn.add(topic, messages, sizes[i]!))
    for (const commit of offsets) turn.offsets.set(commit.key.toString('latin1'), commit)
    await turn.durable
  }

  /** Takes nothing more; resolves when all that waits is durable, and rejects what is not so in time. */
  async close(timeoutMs: number): Promise<void> {
    this.#closed = unavailable('the event log is stopped')
    if (this.#turn === null && this.#pipeline.isIdle) return
    try {
      await withTimeout(this.#clock, timeoutMs, 'writing the waiting appends', new Promise<void>((resolve) => this.#onIdle.push(resolve)))
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error
      this.#turn?.reject(this.#closed)
      this.#turn = null
    }
  }

  /** Sizes of the messages, if all of them may be appended now. */
  #admit(messages: readonly LogMessage[]): number[] {
    const refused = this.#closed ?? this.#pipeline.failure
    if (refused !== null) throw refused
    const sizes: number[] = []
    for (let i = 0; i < messages.length; i++) sizes.push(checkedMessageBytes(messages[i]!, this.#config.messageBytesMax))
    this.#checkBound(sizes)
    return sizes
  }

  #checkBound(sizes: readonly number[]): void {
    let bytes = this.#pendingBytes + (this.#turn?.pendingBytes ?? 0)
    for (const size of sizes) bytes += size
    if (bytes > this.#config.pendingBytesMax) {
      throw new LimitError(
        `${bytes} bytes would wait to be written, more than pendingBytesMax of the event log (${this.#config.pendingBytesMax})`,
        {
          remedy: 'Append less at once, give the log a faster disk, or raise pendingBytesMax.',
        },
      )
    }
  }

  #openTurn(): AppendTurn {
    this.#turn ??= new AppendTurn(this.#buffers, this.#key)
    if (!this.#isScheduled) {
      this.#isScheduled = true
      setImmediate(() => {
        this.#isScheduled = false
        this.#flush()
      })
    }
    return this.#turn
  }

  #flush(): void {
    const turn = this.#turn
    if (turn !== null && !this.#isScheduled && this.#pipeline.isFree) {
      this.#turn = null
      this.#hold(turn)
      this.#pipeline.submit(turn)
    }
    if (this.#turn === null && this.#pipeline.isIdle) for (const run of this.#onIdle.splice(0)) run()
  }

  #hold(turn: AppendTurn): void {
    const add = (bytes: number): void => {
      this.#pendingBytes += bytes
      this.#metrics.pendingBytes.set(this.#pendingBytes)
    }
    add(turn.pendingBytes)
    const release = (): void => add(-turn.pendingBytes)
    turn.durable.then(release, release)
  }
}
