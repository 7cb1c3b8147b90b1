import { LimitError, TimeoutError, type FleetpulseError } from '../../kernel/errors.ts'
import { withTimeout } from '../../kernel/retry.ts'
import { sleep, type Timer } from '../../kernel/time.ts'
import type { Appended, LogMessage } from './event-log.ts'
import type { EventLogMetrics } from './event-log-metrics.ts'
import type { KafkaCluster, KafkaTopic } from './kafka-cluster.ts'
import { toKafkaError, unavailable } from './kafka-errors.ts'
import { MessageEncoder } from './kafka-message-encoder.ts'
import { IdempotentProducer, type Outcome, type Outgoing } from './kafka-producer.ts'
import { RecordBatch } from './kafka-record-batch.ts'
import { checkedMessageBytes } from './message-bounds.ts'

/** One append on its way: its messages may be in several batches. */
class AppendCall {
  readonly settled: Promise<Appended[]>
  readonly #appended: Appended[] = []
  #open = 0
  #resolve!: (appended: Appended[]) => void
  #reject!: (error: unknown) => void

  constructor() {
    this.settled = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }
  added(): void {
    this.#open++
  }
  stored(appended: Appended): void {
    this.#appended.push(appended)
    if (--this.#open === 0) this.#resolve(this.#appended)
  }
  failed(error: unknown): void {
    this.#reject(error)
  }
}

/** Goes on with the topic, or with why there is none. */
type Lookup = (found: KafkaTopic | Error) => void

/** A part of a batch that belongs to one append. */
interface BatchPart {
  call: AppendCall
  firstDelta: number
  count: number
}

/** A batch and who waits for it. */
interface WaitingBatch extends Outgoing {
  /** Without the prefix. */
  name: string
  parts: BatchPart[]
  deadlineMs: number
  isSettled: boolean
}

interface OpenPartition {
  name: string
  topic: string
  partition: number
  batches: WaitingBatch[]
}

/**
 * Gathers what is appended into batches per partition, and sends them a round at a time: while one is on its way, the next one grows.
 * Every append is answered within `appendTimeoutMs`, whatever Kafka does.
 */
export class KafkaAppendQueue {
  readonly #cluster: KafkaCluster
  readonly #metrics: EventLogMetrics
  readonly #prefix: string
  readonly #producer: IdempotentProducer
  readonly #encoder = new MessageEncoder()
  readonly #topics = new Map<string, OpenPartition[]>()
  readonly #ready = new Set<OpenPartition>()
  /** Appends to topics that are being looked up, in their order. */
  readonly #lookups = new Map<string, Lookup[]>()
  readonly #unsettled = new Set<WaitingBatch>()
  #pendingBytes = 0
  #running: Promise<void> | null = null
  #expiry: Timer | null = null
  #closed: FleetpulseError | null = null

  constructor(options: { cluster: KafkaCluster; metrics: EventLogMetrics; topicPrefix: string }) {
    this.#cluster = options.cluster
    this.#metrics = options.metrics
    this.#prefix = options.topicPrefix
    this.#producer = new IdempotentProducer(options.cluster, options.cluster.connections())
  }

  /** Rejects with InvalidInputError, NotFoundError, or LOG_UNAVAILABLE when the messages may not have been stored. */
  append(name: string, messages: readonly LogMessage[]): Promise<Appended[]> {
    if (this.#closed !== null) return Promise.reject(this.#closed)
    const topic = this.#prefix + name
    const known = this.#cluster.known(topic)
    if (known !== undefined && !this.#lookups.has(topic)) return this.#add(name, topic, known.leaders.length, messages)
    return this.#afterLookup(topic, (found) => this.#add(name, topic, found.leaders.length, messages))
  }

  /** Takes nothing more; resolves when all that waits is stored, and rejects what is not so in time. */
  async close(timeoutMs: number): Promise<void> {
    this.#closed = unavailable('the event log is stopped')
    try {
      if (this.#running !== null) await withTimeout(this.#cluster.clock, timeoutMs, 'appending what waits', this.#running)
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error
      this.#expire(Infinity, this.#closed)
    }
    this.#expiry?.cancel()
  }

  #afterLookup(topic: string, run: (found: KafkaTopic) => Promise<Appended[]>): Promise<Appended[]> {
    const lookup = this.#lookups.get(topic) ?? this.#lookUp(topic)
    // Those who wait go on in the order in which they came, before anyone who did not have to.
    return new Promise((resolve, reject) => {
      lookup.push((found) => {
        if (found instanceof Error) reject(found)
        else run(found).then(resolve, reject)
      })
    })
  }

  #lookUp(topic: string): Lookup[] {
    const waiting: Lookup[] = []
    this.#lookups.set(topic, waiting)
    const finish = (found: KafkaTopic | Error): void => {
      this.#lookups.delete(topic)
      for (const next of waiting) next(found)
    }
    this.#cluster.topic(topic).then(finish, finish)
    return waiting
  }

  #add(name: string, topic: string, partitions: number, messages: readonly LogMessage[]): Promise<Appended[]> {
    try {
      const { messageBytesMax, pendingBytesMax, batchBytesMax } = this.#cluster.config
      let bytes = this.#pendingBytes
      for (const message of messages) bytes += checkedMessageBytes(message, messageBytesMax)
      if (bytes > pendingBytesMax) throw this.#tooMuch(bytes, pendingBytesMax)
      const call = new AppendCall()
      const open = this.#open(name, topic, partitions)
      for (const message of messages) {
        const partition = open[this.#encoder.place(message, partitions)]!
        let waiting = partition.batches[partition.batches.length - 1]
        if (waiting === undefined || waiting.batch.isSealed || waiting.batch.bytes + this.#encoder.bytes(message) > batchBytesMax)
          waiting = this.#openBatch(partition)
        this.#pendingBytes += this.#encoder.add(waiting.batch, message)
        const part = waiting.parts[waiting.parts.length - 1]
        if (part?.call === call) part.count++
        else {
          waiting.parts.push({ call, firstDelta: waiting.batch.count - 1, count: 1 })
          call.added()
        }
      }
      this.#metrics.pendingBytes.set(this.#pendingBytes)
      this.#running ??= this.#run()
      return call.settled
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #tooMuch(bytes: number, pendingBytesMax: number): FleetpulseError {
    const message = `${bytes} bytes would wait for Kafka, more than kafka.pendingBytesMax (${pendingBytesMax})`
    if (this.#pendingBytes === 0) return new LimitError(message, { remedy: 'Append less at once, or raise kafka.pendingBytesMax.' })
    return unavailable(message)
  }

  #open(name: string, topic: string, partitions: number): OpenPartition[] {
    const open = this.#topics.get(name) ?? []
    if (open.length === 0) this.#topics.set(name, open)
    for (let partition = open.length; partition < partitions; partition++) open.push({ name, topic, partition, batches: [] })
    return open
  }

  #openBatch(open: OpenPartition): WaitingBatch {
    const { clock, config } = this.#cluster
    const { name, topic, partition } = open
    const deadlineMs = clock.monotonicMs() + config.appendTimeoutMs
    const waiting = {
      name,
      topic,
      partition,
      batch: new RecordBatch(clock.nowMs()),
      parts: [],
      deadlineMs,
      isSettled: false,
      isAbandoned: false,
    }
    open.batches.push(waiting)
    this.#ready.add(open)
    this.#unsettled.add(waiting)
    this.#addPending(waiting.batch.bytes)
    this.#armExpiry()
    return waiting
  }

  /** Sends round after round until nothing waits. */
  async #run(): Promise<void> {
    const { clock, config } = this.#cluster
    // What one turn of the event loop appends goes together.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#ready.size > 0) {
      if (config.lingerMs > 0 && this.#closed === null && !this.#hasFullBatch()) await sleep(clock, config.lingerMs)
      const round = this.#takeRound()
      if (round.length === 0) break
      const startedMs = clock.monotonicMs()
      await this.#producer.send(round, (outgoing, outcome) => this.#settle(outgoing as WaitingBatch, outcome))
      this.#metrics.appendSeconds.observe((clock.monotonicMs() - startedMs) / 1_000)
    }
    this.#running = null
  }

  #hasFullBatch(): boolean {
    for (const { batches } of this.#ready) if (batches.length > 1) return true
    return false
  }

  /** One batch of each partition that has any, as long as they fit into a request; partitions left out come first next time. */
  #takeRound(): WaitingBatch[] {
    const { requestBytesMax, compression } = this.#cluster.config
    const round: WaitingBatch[] = []
    let bytes = 0
    for (const open of [...this.#ready]) {
      const next = open.batches[0]!
      if (round.length > 0 && bytes + next.batch.bytes > requestBytesMax) break
      bytes += next.batch.bytes
      open.batches.shift()
      this.#ready.delete(open)
      if (open.batches.length > 0) this.#ready.add(open)
      const uncompressedBytes = next.batch.bytes
      next.batch.seal(compression, false)
      this.#addPending(next.batch.bytes - uncompressedBytes)
      round.push(next)
    }
    return round
  }

  #settle(waiting: WaitingBatch, outcome: Outcome): void {
    if (outcome.status === 'failed') {
      this.#reject(waiting, toKafkaError(outcome.error, `messages for ${waiting.topic} may not have been stored`, this.#cluster.where))
      return
    }
    if (!this.#release(waiting)) return
    this.#cluster.health.worked('append')
    const { partition, name, batch } = waiting
    this.#metrics.appendedMessages.inc({ topic: name }, batch.count)
    this.#metrics.appendedBytes.inc({ topic: name }, batch.bytes)
    for (const { call, firstDelta, count } of waiting.parts) call.stored({ partition, baseOffset: outcome.baseOffset + firstDelta, count })
  }

  #reject(waiting: WaitingBatch, error: FleetpulseError): void {
    if (!this.#release(waiting)) return
    this.#cluster.health.failed('append', error)
    this.#metrics.appendFailures.inc({ code: error.code })
    for (const { call } of waiting.parts) call.failed(error)
  }

  #release(waiting: WaitingBatch): boolean {
    if (waiting.isSettled) return false
    waiting.isSettled = true
    this.#unsettled.delete(waiting)
    this.#addPending(-waiting.batch.bytes)
    return true
  }

  #addPending(bytes: number): void {
    this.#pendingBytes = Math.max(0, this.#pendingBytes + bytes)
    this.#metrics.pendingBytes.set(this.#pendingBytes)
  }

  #armExpiry(): void {
    if (this.#expiry !== null) return
    const [oldest] = this.#unsettled
    if (oldest === undefined) return
    const { clock } = this.#cluster
    this.#expiry = clock.after(Math.max(1, oldest.deadlineMs - clock.monotonicMs()), () => {
      this.#expiry = null
      this.#expire(clock.monotonicMs(), unavailable(`Kafka at ${this.#cluster.where} did not store messages within kafka.appendTimeoutMs`))
      this.#armExpiry()
    })
  }

  /** Rejects what is too old: what was not sent yet is dropped, what is on its way is not sent again. */
  #expire(nowMs: number, error: FleetpulseError): void {
    for (const waiting of [...this.#unsettled]) {
      if (waiting.deadlineMs > nowMs) break
      waiting.isAbandoned = true
      this.#reject(waiting, error)
      const open = this.#topics.get(waiting.name)?.[waiting.partition]
      if (open === undefined) continue
      open.batches = open.batches.filter((other) => other !== waiting)
      if (open.batches.length === 0) this.#ready.delete(open)
    }
  }
}
