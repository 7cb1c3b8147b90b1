import type { ReadingOperator } from '../contracts/operator.ts'
import type { LoggedReading, RejectedReading } from '../contracts/reading.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { ConflictError, describeError, TimeoutError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../kernel/metrics.ts'
import { systemRandom } from '../kernel/random.ts'
import { backoffDelayMs } from '../kernel/retry.ts'
import type { Service } from '../kernel/service.ts'
import { every, sleep, type Clock, type Timer } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import type { Consumer, EventLog, LogMessage, LogRecord } from '../storage/event-log/event-log.ts'
import type { ReadingIdentity, SeriesStore } from '../storage/series/series-store.ts'
import type { ProcessingConfig } from './config.ts'
import { DeviceStates, type DeviceState } from './device-states.ts'
import { findDuplicates } from './duplicates.ts'
import type { CountedReading, LedgerCounts } from './ledger.ts'
import { LedgerPublisher } from './ledger-publisher.ts'
import { decodeReadings, decodeRecord, nextOffsets } from './log-decoding.ts'
import { OperatorOutputs } from './operator-outputs.ts'
import { OutputCommitter } from './output-committer.ts'
import { PartitionCheckpoints } from './partition-checkpoints.ts'
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
  /**
   * Consumer group, and name of its saved states. `processing` also writes rows and the ledger; any other group (`anomaly`, when it runs in
   * processes of its own) only applies its operators.
   */
  group?: string
}

/** A partition in hand. */
interface Partition {
  nextReading: number
  nextRejected: number
  /** Outputs of readings below this offset were committed before the partition was taken. */
  committedBefore: number
  /** It is being given back. */
  leaving: boolean
}

/** The group that stores rows and keeps the ledger. */
const PROCESSING = 'processing'

/**
 * The loop over readings: poll, decode, de-duplicate, apply operators, write rows, commit outputs. Several workers of one group share the
 * partitions; a partition comes with its checkpoint and its devices' states, and goes with them.
 * After a crash it replays from the last checkpoint: states that cover a reading already skip it, rows below the store's offset and
 * outputs below the committed offset are not written again. So everything downstream happens once.
 */
export class ReadingsWorker implements Service {
  readonly name: string
  readonly #options: ReadingsWorkerOptions
  readonly #group: string
  /** Rows and ledger are written here. */
  readonly #stores: boolean
  readonly #states: DeviceStates
  readonly #checkpoints: PartitionCheckpoints
  readonly #ledger: LedgerPublisher
  readonly #writer: SeriesWriter
  readonly #outputs: OperatorOutputs
  readonly #partitions = new Map<number, Partition>()
  #committer: OutputCommitter | undefined
  #consumer: Consumer | undefined
  readonly #stopping = new AbortController()
  #loops: Promise<void>[] = []
  #timers: Timer[] = []
  readonly #metrics
  #applying: Promise<void> = Promise.resolve()
  #checkpointing: Promise<void> = Promise.resolve()
  #checkpointDueMs = 0
  /** A stop cut a batch short: the states in memory must not be saved. */
  #statesBeyondRows = false
  /** Another member has a partition of ours: everything in memory is dropped, and the group joined anew. */
  #fenced = false

  constructor(options: ReadingsWorkerOptions) {
    this.#options = options
    const { config, documents, operators, log, metrics, clock, series } = options
    this.#group = options.group ?? PROCESSING
    this.name = `readings-worker-${this.#group}`
    this.#stores = this.#group === PROCESSING
    const collection = this.#stores ? 'device-states' : `device-states-${this.#group}`
    this.#states = new DeviceStates({ collection, documents, operators, log, bounds: config })
    this.#checkpoints = new PartitionCheckpoints({ documents, group: this.#group })
    this.#ledger = new LedgerPublisher({ documents, clock, log, flushMs: config.ledgerFlushMs })
    this.#writer = new SeriesWriter({ series, config, clock, log, metrics, onWritten: (rows) => this.#ledger.settled(rows) })
    this.#outputs = new OperatorOutputs((state, receivedAt) => this.#count(state, receivedAt, 'late'))
    const prefix = this.#stores ? 'processing' : this.#group
    this.#metrics = {
      readings: metrics.counter(`${prefix}_readings_total`, 'Readings taken from the log'),
      duplicates: metrics.counter(`${prefix}_duplicate_readings_total`, 'Readings of an identity already stored'),
      poison: metrics.counter(`${prefix}_dead_letters_total`, 'Log records that could not be decoded'),
      batchSeconds: metrics.histogram(`${prefix}_batch_seconds`, 'One batch through all operators', LATENCY_BUCKETS_S),
    }
    metrics.gaugeOf(`${prefix}_device_states`, 'Device states in memory', () => this.#states.size)
    metrics.gaugeOf(`${prefix}_partitions`, 'Partitions of the readings topic in hand', () => this.#partitions.size)
  }

  /** Why readings wait, or null when they flow. */
  get failing(): string | null {
    return this.#writer.failing
  }

  async start(): Promise<void> {
    if (this.#consumer !== undefined) return
    const { clock, config, log } = this.#options
    await this.#states.start()
    await this.#checkpoints.start()
    if (this.#stores) {
      await this.#ledger.start()
      this.#writer.start()
    }
    await this.#join()
    this.#loops = [this.#run(), ...(this.#stores ? [this.#followRejected()] : [])]
    const report = (what: string) => (error: unknown) => log.error({ error: describeError(error) }, what)
    this.#timers = [
      every(clock, config.tickMs, () => this.#exclusively(async () => this.#tick()), report('tick failed')),
      every(clock, config.checkpointMs, () => this.#checkpointWhenDue(), report('checkpoint failed')),
      every(clock, config.offsetCommitMs, () => this.#committer?.flush(), report('offset commit failed')),
    ]
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    for (const timer of this.#timers) timer.cancel()
    await Promise.all(this.#loops)
    await this.#writer.stop()
    if (this.#consumer !== undefined && this.#writer.failing === null && !this.#statesBeyondRows && !this.#fenced) await this.checkpoint()
    if (this.#stores) await this.#ledger.stop()
    this.#partitions.clear()
    await this.#consumer?.close()
    this.#consumer = undefined
  }

  /** A large fleet's checkpoint takes long: the next one waits until this one's time is a small part of the whole. */
  async #checkpointWhenDue(): Promise<void> {
    const { clock, config } = this.#options
    const startedMs = clock.monotonicMs()
    if (startedMs < this.#checkpointDueMs) return
    await this.checkpoint()
    const endedMs = clock.monotonicMs()
    this.#checkpointDueMs = endedMs + (endedMs - startedMs) * (1 / config.checkpointShareMax - 1)
  }

  /** Saves changed states, then the offsets from which a restart has to read. One after the other: an older one must not come last. */
  checkpoint(): Promise<void> {
    const mine = this.#checkpointing.then(() => this.#checkpoint())
    this.#checkpointing = mine.catch(() => undefined)
    return mine
  }

  async #checkpoint(): Promise<void> {
    const positions = Array.from(this.#partitions, ([partition, { nextReading, nextRejected }]) => ({
      partition,
      nextReading,
      nextRejected,
    }))
    try {
      await this.#states.save(this.#saveExclusively, () => this.#settle())
    } catch (error) {
      // The states are another member's, so the partitions are too.
      if (error instanceof ConflictError) this.#onFenced()
      throw error
    }
    await Promise.all(
      positions.map(({ partition, nextReading, nextRejected }) =>
        this.#checkpoints.save(partition, { readings: nextReading, rejected: nextRejected }),
      ),
    )
  }

  /** Between two batches; one after the other with checkpoints, which save through the same memory. */
  #makeRoom(): Promise<void> {
    const mine = this.#checkpointing.then(() => this.#states.makeRoom(this.#saveExclusively, () => this.#settle()))
    this.#checkpointing = mine.catch(() => undefined)
    return mine.catch((error: unknown) => {
      if (error instanceof ConflictError) this.#onFenced()
      throw error
    })
  }

  readonly #saveExclusively = (run: () => Promise<void>): Promise<void> =>
    this.#exclusively(async () => {
      if (this.#statesBeyondRows) throw new TimeoutError('stopped before the states could be saved')
      await run()
    })

  /** Resolves when rows, outputs and ledger of everything applied so far are durable. */
  async #settle(): Promise<void> {
    if (this.#stores) await this.#writer.flush()
    await this.#committer?.flush()
    if (this.#stores) await this.#ledger.flushAll()
  }

  async #join(): Promise<void> {
    const { eventLog, config, clock, log } = this.#options
    const consumer = await eventLog.consume({
      group: this.#group,
      topic: TOPICS.readings,
      from: 'earliest',
      onAssigned: (partitions, consumer) => this.#exclusively(() => this.#take(partitions, consumer)),
      onRevoked: (partitions) => this.#giveBack(partitions),
      onLost: () => this.#onFenced(),
    })
    this.#consumer = consumer
    this.#committer = new OutputCommitter({ consumer, config, clock, log, onFenced: () => this.#onFenced() })
    this.#outputs.committer = this.#committer
  }

  #onFenced(): void {
    this.#fenced = true
  }

  /** Goes on where the last owner's checkpoint is: everything since is in the log and not yet in the states. */
  async #take(partitions: readonly number[], consumer: Consumer): Promise<void> {
    const committed = await consumer.committed()
    for (const partition of partitions) {
      const checkpoint = await this.#checkpoints.load(partition, this.#stores ? undefined : PROCESSING)
      await this.#states.loadPartition(partition, (state) => {
        if (this.#stores) this.#ledger.include(state)
      })
      consumer.seek(partition, checkpoint.readings)
      const committedBefore = committed.get(partition) ?? 0
      this.#partitions.set(partition, {
        nextReading: checkpoint.readings,
        nextRejected: checkpoint.rejected,
        committedBefore,
        leaving: false,
      })
    }
    if (partitions.length > 0) this.#options.log.info({ group: this.#group, partitions }, 'partitions taken')
  }

  /** Makes everything durable that the next owner goes on from. Should that fail, it replays from an older checkpoint. */
  async #giveBack(partitions: readonly number[]): Promise<void> {
    const { log } = this.#options
    if (this.#stopping.signal.aborted) return
    // Nothing more is applied to them from here on.
    await this.#exclusively(async () => this.#leave(partitions))
    try {
      await this.checkpoint()
    } catch (error) {
      log.warn({ partitions, error: describeError(error) }, 'partitions given back without a checkpoint, their next owner replays more')
    }
    await this.#exclusively(async () => this.#forget(partitions))
    log.info({ group: this.#group, partitions }, 'partitions given back')
  }

  /** Nothing more is applied to these partitions. */
  #leave(partitions: readonly number[]): void {
    for (const number of partitions) {
      const partition = this.#partitions.get(number)
      if (partition !== undefined) partition.leaving = true
    }
  }

  #forget(partitions: readonly number[]): void {
    this.#committer?.forget(partitions)
    for (const partition of partitions) {
      this.#partitions.delete(partition)
      this.#states.dropPartition(partition)
      this.#ledger.dropPartition(partition)
    }
  }

  /** Drops everything in memory and joins the group again: what was not committed is replayed by whoever owns it now. */
  async #joinAnew(): Promise<void> {
    const { log } = this.#options
    log.warn({ group: this.#group }, 'another member took over; joining the group anew')
    const consumer = this.#consumer
    await this.#exclusively(async () => {
      // Rows in flight are written once whoever writes them; the sums must not count them when they settle.
      if (this.#stores) await this.#writer.flush()
      this.#committer?.abandon()
      this.#forget([...this.#partitions.keys()])
    })
    this.#fenced = false
    await consumer?.close().catch((error: unknown) => log.warn({ error: describeError(error) }, 'the old membership did not close cleanly'))
    await this.#join()
  }

  async #run(): Promise<void> {
    const { config, clock, log } = this.#options
    while (!this.#stopping.signal.aborted) {
      try {
        if (this.#fenced) await this.#joinAnew()
        const consumer = this.#consumer
        if (consumer === undefined) return
        if (this.#states.isFull) await this.#makeRoom()
        const records = await consumer.poll(config.pollRecordsMax, config.pollWaitMs)
        if (records.length > 0) await this.#exclusively(() => this.#applyOrRewind(consumer, records))
        else if (consumer.assignment().length === 0) await sleep(clock, config.rejectedPollMs, this.#stopping.signal)
      } catch (error) {
        log.error({ error: describeError(error) }, 'readings wait, trying again')
        await sleep(clock, config.retryInitialMs, this.#stopping.signal)
      }
    }
  }

  /** A batch that fails is polled again; states skip what they cover. */
  async #applyOrRewind(consumer: Consumer, records: readonly LogRecord[]): Promise<void> {
    if (consumer !== this.#consumer) return
    // What was polled before its partition was given back is another's to apply.
    const mine = records.every((record) => this.#owns(record.partition))
      ? records
      : records.filter((record) => this.#owns(record.partition))
    try {
      await this.#applyReadings(mine)
    } catch (error) {
      for (const record of mine.toReversed()) consumer.seek(record.partition, record.offset)
      throw error
    }
  }

  #owns(partition: number): boolean {
    return this.#partitions.get(partition)?.leaving === false
  }

  /** States are touched by one batch, tick or rejected batch at a time. */
  #exclusively(run: () => Promise<void>): Promise<void> {
    const mine = this.#applying.then(run)
    this.#applying = mine.catch(() => undefined)
    return mine
  }

  async #applyReadings(records: readonly LogRecord[]): Promise<void> {
    const startedMs = this.#options.clock.monotonicMs()
    const readings = decodeReadings(records, this.#deadLetters)
    const states = await this.#statesOf(readings)
    const duplicates = await findDuplicates(readings, states, (identities) => this.#storedAlready(identities))
    const rows: LoggedReading[] = []
    for (let i = 0; i < readings.length; i++) {
      const reading = readings[i] as LoggedReading
      const state = states[i] as DeviceState
      if (reading.offset < state.nextOffset) continue
      state.nextOffset = reading.offset + 1
      state.changed = true
      this.#count(state, reading, 'received')
      if (duplicates.has(i)) {
        this.#count(state, reading, 'duplicate')
        continue
      }
      this.#count(state, reading, 'stored')
      this.#applyOperators(state, reading)
      rows.push(reading)
    }
    const next = nextOffsets(records)
    for (const [partition, offset] of next) (this.#partitions.get(partition) as Partition).nextReading = offset
    this.#committer?.advance(next)
    this.#metrics.readings.inc(readings.length)
    this.#metrics.duplicates.inc(duplicates.size)
    this.#metrics.batchSeconds.observe((this.#options.clock.monotonicMs() - startedMs) / 1000)
    if (this.#stores) await this.#writer.add(rows, next)
  }

  #count(state: DeviceState, at: CountedReading | number, field: keyof LedgerCounts): void {
    if (this.#stores) this.#ledger.count(state, at, field)
  }

  /** Asks the store for as long as it takes: the states have seen this batch already, so it may not be given up half-way. */
  async #storedAlready(identities: readonly ReadingIdentity[]): Promise<boolean[]> {
    const { series, clock, config, log } = this.#options
    if (this.#stores) await this.#writer.flush()
    for (let attempt = 1; ; attempt++) {
      try {
        return await series.contains(identities)
      } catch (error) {
        log.warn({ error: describeError(error), attempt }, 'series store does not answer, readings wait')
        if (this.#stopping.signal.aborted) {
          this.#statesBeyondRows = true
          throw error
        }
        const backoff = { initialMs: config.retryInitialMs, maxMs: config.retryMaxMs, factor: 2, jitter: 0.5 }
        await sleep(clock, backoffDelayMs(backoff, attempt, systemRandom), this.#stopping.signal)
      }
    }
  }

  #applyOperators(state: DeviceState, reading: LoggedReading): void {
    const committedBefore = this.#partitions.get(reading.partition)?.committedBefore ?? 0
    const out = this.#outputs.of(state, reading.receivedAt, reading.offset >= committedBefore)
    const { operators } = this.#options
    state.type = reading.type
    for (let i = 0; i < operators.length; i++) (operators[i] as ReadingOperator<unknown>).apply(state.operatorStates[i], reading, out)
  }

  #tick(): void {
    const nowMs = this.#options.clock.nowMs()
    const { operators } = this.#options
    for (const state of this.#states.all()) {
      if (!this.#owns(state.partition)) continue
      const out = this.#outputs.of(state, nowMs, true)
      for (let i = 0; i < operators.length; i++) {
        if (operators[i]?.tick?.(state.operatorStates[i], nowMs, out) === true) state.changed = true
      }
    }
  }

  /**
   * Rejected readings are counted where the device's readings are: both topics have the same keys and partitions, and this follows the
   * partitions in hand instead of sharing them out a second time.
   */
  async #followRejected(): Promise<void> {
    const { eventLog, clock, config, log } = this.#options
    while (!this.#stopping.signal.aborted) {
      try {
        const bounds = await eventLog.bounds(TOPICS.rejected)
        for (const [number, { first, next }] of bounds) {
          const partition = this.#partitions.get(number)
          if (partition === undefined || partition.leaving || partition.nextRejected >= next) continue
          const records = await eventLog.read(TOPICS.rejected, number, Math.max(first, partition.nextRejected), config.rejectedReadMax)
          await this.#exclusively(() => this.#applyRejected(number, partition, records))
        }
      } catch (error) {
        log.error({ error: describeError(error) }, 'rejected readings are not counted, trying again')
        await sleep(clock, config.retryInitialMs, this.#stopping.signal)
      }
      await sleep(clock, config.rejectedPollMs, this.#stopping.signal)
    }
  }

  async #applyRejected(number: number, partition: Partition, records: readonly LogRecord[]): Promise<void> {
    if (this.#partitions.get(number) !== partition || partition.leaving) return
    for (const record of records) {
      const rejected = decodeRecord<RejectedReading>(record, this.#deadLetters)
      if (rejected === null) continue
      const held = this.#states.get(record.key)
      const state = held ?? (await this.#states.load(rejected.tenant, rejected.device, '', record.partition))
      if (record.offset < state.nextRejectedOffset) continue
      state.nextRejectedOffset = record.offset + 1
      state.changed = true
      this.#count(state, rejected, 'received')
      this.#count(state, rejected, 'rejected')
      if (rejected.seq !== undefined) state.identity.noteRejected(rejected.boot ?? '', rejected.seq)
    }
    const last = records.at(-1)
    if (last !== undefined) partition.nextRejected = last.offset + 1
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

  readonly #deadLetters = (topic: string, message: LogMessage): void => {
    this.#metrics.poison.inc()
    this.#committer?.add(topic, message)
  }
}
