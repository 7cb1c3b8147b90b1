import type { ReadingOperator } from '../contracts/operator.ts'
import type { LoggedReading, RejectedReading } from '../contracts/reading.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { utf8Text } from '../kernel/bytes.ts'
import { describeError, TimeoutError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../kernel/metrics.ts'
import { systemRandom } from '../kernel/random.ts'
import { backoffDelayMs } from '../kernel/retry.ts'
import type { Service } from '../kernel/service.ts'
import { every, sleep, type Clock, type Timer } from '../kernel/time.ts'
import type { Collection, Documents } from '../storage/documents/documents.ts'
import type { Consumer, EventLog, LogRecord } from '../storage/event-log/event-log.ts'
import type { ReadingIdentity, SeriesStore } from '../storage/series/series-store.ts'
import type { ProcessingConfig } from './config.ts'
import { DeviceStates, type DeviceState } from './device-states.ts'
import { findDuplicates } from './duplicates.ts'
import { LedgerPublisher } from './ledger-publisher.ts'
import { OutputCommitter } from './output-committer.ts'
import { SeriesWriter } from './series-writer.ts'

export interface ReadingsWorkerOptions {
  config: ProcessingConfig
  clock: Clock
  log: Logger
  metrics: Metrics
  eventLog: EventLog
  documents: Documents
  series: SeriesStore
  operators: readonly ReadingOperator<unknown>[]
}

interface CheckpointDocument {
  readings: Record<string, number>
  rejected: Record<string, number>
}

const GROUP = 'processing'

/**
 * The loop over readings: poll, decode, de-duplicate, apply operators, write rows, commit outputs.
 * After a crash it replays from the last checkpoint: states that cover a reading already skip it, rows below the store's offset and
 * outputs below the committed offset are not written again. So everything downstream happens once.
 */
export class ReadingsWorker implements Service {
  readonly name = 'readings-worker'
  readonly #options: ReadingsWorkerOptions
  readonly #states: DeviceStates
  readonly #ledger: LedgerPublisher
  readonly #writer: SeriesWriter
  #outputs: OutputCommitter | undefined
  #consumer: Consumer | undefined
  #rejectedConsumer: Consumer | undefined
  #checkpoints: Collection<CheckpointDocument> | undefined
  readonly #stopping = new AbortController()
  #loops: Promise<void>[] = []
  #timers: Timer[] = []
  readonly #next = new Map<number, number>()
  readonly #nextRejected = new Map<number, number>()
  /** Outputs of readings below these offsets were committed before this start. */
  #committedBefore: ReadonlyMap<number, number> = new Map()
  readonly #metrics
  #applying: Promise<void> = Promise.resolve()
  #checkpointing: Promise<void> = Promise.resolve()
  /** A stop cut a batch short: the states in memory must not be saved. */
  #statesBeyondRows = false

  constructor(options: ReadingsWorkerOptions) {
    this.#options = options
    const { config, documents, operators, log, metrics, clock, series } = options
    this.#states = new DeviceStates({ documents, operators, log, bounds: config })
    this.#ledger = new LedgerPublisher({ documents, states: this.#states, clock, log, flushMs: config.ledgerFlushMs })
    this.#writer = new SeriesWriter({ series, config, clock, log, metrics, onWritten: (rows) => this.#ledger.settled(rows) })
    this.#metrics = {
      readings: metrics.counter('processing_readings_total', 'Readings taken from the log'),
      duplicates: metrics.counter('processing_duplicate_readings_total', 'Readings of an identity already stored'),
      poison: metrics.counter('processing_dead_letters_total', 'Log records that could not be decoded'),
      batchSeconds: metrics.histogram('processing_batch_seconds', 'One batch through all operators', LATENCY_BUCKETS_S),
    }
    metrics.gaugeOf('processing_device_states', 'Device states in memory', () => this.#states.size)
  }

  /** Why readings wait, or null when they flow. */
  get failing(): string | null {
    return this.#writer.failing
  }

  async start(): Promise<void> {
    if (this.#consumer !== undefined) return
    const { eventLog, documents, config, clock, log } = this.#options
    await this.#states.start()
    await this.#ledger.start()
    this.#checkpoints = await documents.collection<CheckpointDocument>({ name: 'checkpoints', indexes: [] })
    this.#consumer = await eventLog.consume({ group: GROUP, topic: TOPICS.readings, from: 'earliest' })
    this.#rejectedConsumer = await eventLog.consume({ group: GROUP, topic: TOPICS.rejected, from: 'earliest' })
    this.#committedBefore = await this.#consumer.committed()
    this.#outputs = new OutputCommitter({ consumer: this.#consumer, config, clock, log })
    await this.#rewind(this.#consumer, this.#rejectedConsumer)
    this.#writer.start()
    this.#loops = [this.#run(this.#consumer, (records) => this.#applyReadings(records)), this.#run(this.#rejectedConsumer, (records) => this.#applyRejected(records))]
    const report = (what: string) => (error: unknown) => log.error({ error: describeError(error) }, what)
    this.#timers = [
      every(clock, config.tickMs, () => this.#exclusively(async () => this.#tick()), report('tick failed')),
      every(clock, config.checkpointMs, () => this.checkpoint(), report('checkpoint failed')),
      every(clock, config.offsetCommitMs, () => this.#outputs?.flush(), report('offset commit failed')),
    ]
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    for (const timer of this.#timers) timer.cancel()
    await Promise.all(this.#loops)
    await this.#writer.stop()
    if (this.#consumer !== undefined && this.#writer.failing === null && !this.#statesBeyondRows) await this.checkpoint()
    await this.#ledger.stop()
    await this.#consumer?.close()
    await this.#rejectedConsumer?.close()
    this.#consumer = undefined
  }

  /** Saves changed states, then the offsets from which a restart has to read. One after the other: an older one must not come last. */
  checkpoint(): Promise<void> {
    const mine = this.#checkpointing.then(() => this.#checkpoint())
    this.#checkpointing = mine.catch(() => undefined)
    return mine
  }

  async #checkpoint(): Promise<void> {
    const readings = Object.fromEntries(this.#next)
    const rejected = Object.fromEntries(this.#nextRejected)
    await this.#states.save(
      (run) =>
        this.#exclusively(async () => {
          if (this.#statesBeyondRows) throw new TimeoutError('stopped before the states could be saved')
          await run()
        }),
      async () => {
        await this.#writer.flush()
        await this.#outputs?.flush()
        await this.#ledger.flushAll()
      },
    )
    await this.#checkpoints?.put(GROUP, { readings, rejected })
  }

  /** Goes back to the last checkpoint: everything since is in the log and not yet in the states. */
  async #rewind(consumer: Consumer, rejectedConsumer: Consumer): Promise<void> {
    const checkpoint = await this.#checkpoints?.get(GROUP)
    for (const partition of consumer.assignment()) consumer.seek(partition, checkpoint?.readings[String(partition)] ?? 0)
    for (const partition of rejectedConsumer.assignment()) rejectedConsumer.seek(partition, checkpoint?.rejected[String(partition)] ?? 0)
  }

  async #run(consumer: Consumer, apply: (records: LogRecord[]) => Promise<void>): Promise<void> {
    const { config, clock, log } = this.#options
    while (!this.#stopping.signal.aborted) {
      try {
        const records = await consumer.poll(config.pollRecordsMax, config.pollWaitMs)
        if (records.length > 0) await this.#exclusively(() => this.#applyOrRewind(consumer, records, apply))
      } catch (error) {
        log.error({ error: describeError(error) }, 'readings wait, trying again')
        await sleep(clock, config.retryInitialMs, this.#stopping.signal)
      }
    }
  }

  /** A batch that fails is polled again; states skip what they cover. */
  async #applyOrRewind(consumer: Consumer, records: LogRecord[], apply: (records: LogRecord[]) => Promise<void>): Promise<void> {
    try {
      await apply(records)
    } catch (error) {
      for (const record of records.toReversed()) consumer.seek(record.partition, record.offset)
      throw error
    }
  }

  /** States are touched by one batch, tick or rejected batch at a time. */
  #exclusively(run: () => Promise<void>): Promise<void> {
    const mine = this.#applying.then(run)
    this.#applying = mine.catch(() => undefined)
    return mine
  }

  async #applyReadings(records: readonly LogRecord[]): Promise<void> {
    const startedMs = this.#options.clock.monotonicMs()
    const readings = this.#decode(records)
    const states = await this.#statesOf(readings)
    const duplicates = await findDuplicates(readings, states, (identities) => this.#storedAlready(identities))
    const rows: LoggedReading[] = []
    for (let i = 0; i < readings.length; i++) {
      const reading = readings[i] as LoggedReading
      const state = states[i] as DeviceState
      if (reading.offset < state.nextOffset) continue
      state.nextOffset = reading.offset + 1
      state.changed = true
      this.#ledger.count(state, reading.receivedAt, 'received')
      if (duplicates.has(i)) {
        this.#ledger.count(state, reading.receivedAt, 'duplicate')
        continue
      }
      this.#ledger.count(state, reading.receivedAt, 'stored')
      this.#applyOperators(state, reading)
      rows.push(reading)
    }
    const next = nextOffsets(records)
    for (const [partition, offset] of next) this.#next.set(partition, offset)
    this.#outputs?.advance(next)
    this.#metrics.readings.inc(readings.length)
    this.#metrics.duplicates.inc(duplicates.size)
    this.#metrics.batchSeconds.observe((this.#options.clock.monotonicMs() - startedMs) / 1000)
    await this.#writer.add(rows, next)
  }

  /** Asks the store for as long as it takes: the states have seen this batch already, so it may not be given up half-way. */
  async #storedAlready(identities: readonly ReadingIdentity[]): Promise<boolean[]> {
    const { series, clock, config, log } = this.#options
    await this.#writer.flush()
    for (let attempt = 1; ; attempt++) {
      try {
        return await series.contains(identities)
      } catch (error) {
        log.warn({ error: describeError(error), attempt }, 'series store does not answer, readings wait')
        if (this.#stopping.signal.aborted) {
          this.#statesBeyondRows = true
          throw error
        }
        await sleep(clock, backoffDelayMs({ initialMs: config.retryInitialMs, maxMs: config.retryMaxMs, factor: 2, jitter: 0.5 }, attempt, systemRandom), this.#stopping.signal)
      }
    }
  }

  #applyOperators(state: DeviceState, reading: LoggedReading): void {
    const out = this.#outputFor(state, reading.receivedAt, reading.offset >= (this.#committedBefore.get(reading.partition) ?? 0))
    const { operators } = this.#options
    state.type = reading.type
    for (let i = 0; i < operators.length; i++) (operators[i] as ReadingOperator<unknown>).apply(state.operatorStates[i], reading, out)
  }

  /** Where an operator's results for this device go; `fresh` is false while a replay repeats what was committed before. */
  #outputFor(state: DeviceState, receivedAt: number, fresh: boolean): OutputSink {
    this.#sink.state = state
    this.#sink.receivedAt = receivedAt
    this.#sink.fresh = fresh
    return this.#sink
  }

  readonly #sink: OutputSink = {
    state: undefined,
    receivedAt: 0,
    fresh: true,
    emit: (topic, schema, tenant, device, value) => {
      const { state, receivedAt, fresh } = this.#sink
      if (topic === TOPICS.late && state !== undefined) this.#ledger.count(state, receivedAt, 'late')
      if (fresh) this.#outputs?.add(topic, { key: deviceKey(tenant, device), schema, value: Buffer.from(JSON.stringify(value)) })
    },
  }

  #tick(): void {
    const nowMs = this.#options.clock.nowMs()
    const { operators } = this.#options
    for (const state of this.#states.all()) {
      const out = this.#outputFor(state, nowMs, true)
      for (let i = 0; i < operators.length; i++) {
        if (operators[i]?.tick?.(state.operatorStates[i], nowMs, out) === true) state.changed = true
      }
    }
  }

  async #applyRejected(records: readonly LogRecord[]): Promise<void> {
    for (const record of records) {
      const rejected = this.#parse<RejectedReading>(record)
      if (rejected === null) continue
      const held = this.#states.get(record.key)
      const state = held ?? (await this.#states.load(rejected.tenant, rejected.device, '', record.partition))
      if (record.offset < state.nextRejectedOffset) continue
      state.nextRejectedOffset = record.offset + 1
      state.changed = true
      this.#ledger.count(state, rejected.receivedAt, 'received')
      this.#ledger.count(state, rejected.receivedAt, 'rejected')
      const hour = state.ledger.hourOf(rejected.receivedAt)
      hour.rejectedByReason[rejected.reason] = (hour.rejectedByReason[rejected.reason] ?? 0) + 1
      if (rejected.seq !== undefined) state.identity.noteRejected(rejected.boot ?? '', rejected.seq)
    }
    for (const [partition, offset] of nextOffsets(records)) this.#nextRejected.set(partition, offset)
  }

  async #statesOf(readings: readonly LoggedReading[]): Promise<DeviceState[]> {
    const states: DeviceState[] = []
    // Readings of one device come in runs: the state of the last one is nearly always that of the next.
    let latest: DeviceState | undefined
    for (const { tenant, device, type, partition } of readings) {
      if (latest === undefined || latest.device !== device || latest.tenant !== tenant) {
        latest = this.#states.get(deviceKey(tenant, device)) ?? (await this.#states.load(tenant, device, type, partition))
      }
      states.push(latest)
    }
    return states
  }

  #decode(records: readonly LogRecord[]): LoggedReading[] {
    const readings: LoggedReading[] = []
    for (const record of records) {
      const reading = this.#parse<LoggedReading>(record)
      if (reading === null) continue
      reading.partition = record.partition
      reading.offset = record.offset
      readings.push(reading)
    }
    return readings
  }

  /** A record that is no JSON was written by something else: set aside with its cause, never in the way. */
  #parse<T>(record: LogRecord): T | null {
    try {
      return JSON.parse(utf8Text(record.value)) as T
    } catch (error) {
      this.#metrics.poison.inc()
      this.#outputs?.add(`${record.topic}.dlq`, { key: record.key, schema: record.schema, value: record.value, headers: { cause: describeError(error), offset: String(record.offset) } })
      return null
    }
  }
}

interface OutputSink {
  state: DeviceState | undefined
  receivedAt: number
  fresh: boolean
  emit(topic: string, schema: string, tenant: string, device: string, value: object): void
}

function nextOffsets(records: readonly LogRecord[]): Map<number, number> {
  const next = new Map<number, number>()
  for (const record of records) next.set(record.partition, record.offset + 1)
  return next
}
