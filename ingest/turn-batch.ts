import type { Clock } from '../kernel/time.ts'
import type { TopicName } from '../contracts/topics.ts'
import type { EventLog, LogMessage } from '../storage/event-log/event-log.ts'

export interface TurnBatchOptions {
  eventLog: EventLog
  clock: Clock
  /** Bytes added and not yet durable; see IngestConfig.pendingBytesMax. */
  pendingBytesMax: number
  onAppended: (seconds: number) => void
}

interface Turn {
  topics: Map<TopicName, LogMessage[]>
  waiting: ((error?: Error) => void)[]
  bytes: number
}

/**
 * Gathers what one turn of the event loop adds, from all connections, into one append per topic, and calls back everyone who waits
 * when all of it is durable. One failed append fails the whole turn: nobody is told "durable" by mistake.
 */
export class TurnBatch {
  readonly #options: TurnBatchOptions
  #turn: Turn | null = null
  #pendingBytes = 0
  #inFlight = new Set<Promise<void>>()

  constructor(options: TurnBatchOptions) {
    this.#options = options
  }

  get pendingBytes(): number {
    return this.#pendingBytes
  }
  get isFull(): boolean {
    return this.#pendingBytes >= this.#options.pendingBytesMax
  }

  add(topic: TopicName, message: LogMessage): void {
    const turn = this.#current()
    const messages = turn.topics.get(topic)
    if (messages === undefined) turn.topics.set(topic, [message])
    else messages.push(message)
    turn.bytes += message.value.length
    this.#pendingBytes += message.value.length
  }

  /** `done` is called when everything added in this turn is durable, or with the error that says it may not be. */
  onDurable(done: (error?: Error) => void): void {
    this.#current().waiting.push(done)
  }

  /** Resolves when nothing is in flight. */
  async drain(): Promise<void> {
    if (this.#turn !== null) await new Promise((resolve) => setImmediate(resolve))
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight)
  }

  #current(): Turn {
    if (this.#turn === null) {
      this.#turn = { topics: new Map(), waiting: [], bytes: 0 }
      setImmediate(() => this.#send())
    }
    return this.#turn
  }

  #send(): void {
    const turn = this.#turn
    if (turn === null) return
    this.#turn = null
    const sending = this.#append(turn).finally(() => this.#inFlight.delete(sending))
    this.#inFlight.add(sending)
  }

  async #append(turn: Turn): Promise<void> {
    const { eventLog, clock, onAppended } = this.#options
    const startedMs = clock.monotonicMs()
    let failure: Error | undefined
    try {
      const appends = Array.from(turn.topics, ([topic, messages]) => eventLog.append(topic, messages))
      await Promise.all(appends)
      onAppended((clock.monotonicMs() - startedMs) / 1000)
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error))
    }
    this.#pendingBytes -= turn.bytes
    for (const done of turn.waiting) done(failure)
  }
}
