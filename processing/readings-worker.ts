import type { ReadingOperator, RoadSettings } from '../contracts/operator.ts'
import type { LoggedReading, RejectedReading } from '../contracts/reading.ts'
import { TOPICS } from '../contracts/topics.ts'
import { ConflictError, describeError, TimeoutError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../kernel/metrics.ts'
import { systemRandom } from '../kernel/random.ts'
import { backoffDelayMs } from '../kernel/retry.ts'
import type { Service } from '../kernel/service.ts'
import { every, nextTurn, sleep, type Clock, type Timer } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import type { Consumer, EventLog, LogMessage, LogRecord } from '../storage/event-log/event-log.ts'
import type { ReadingIdentity, SeriesStore } from '../storage/series/series-store.ts'
import type { ProcessingConfig } from './config.ts'
import { DeviceStates, type DeviceState, type Saving } from './device-states.ts'
import { DeviceTicks } from './device-ticks.ts'
import { findDuplicates } from './duplicates.ts'
import type { CountedReading, LedgerCounts } from './ledger.ts'
import { LedgerPublisher } from './ledger-publisher.ts'
import { decodeReadings, decodeRecord, nextOffsets } from './log-decoding.ts'
import { OperatorOutputs } from './operator-outputs.ts'
import { OutputCommitter } from './output-committer.ts'
import type { Partition } from './partition-in-hand.ts'
import { PartitionCheckpoints } from './partition-checkpoints.ts'
import { SeriesWriter } from './series-writer.ts'
import { adoptSettings } from './settings-adoption.ts'

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
  /** What people change meanwhile; absent where no operator goes by anything of the kind. */
  settings?: RoadSettings
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
  readonly #ticks: DeviceTicks
  readonly #partitions = new Map<number, Partition>()
  #committer: OutputCommitter | undefined
  #consumer: Consumer | undefined
  readonly #stopping = new AbortController()
  #loops: Promise<void>[] = []
  #timers: Timer[] = []
  readonly #metrics
  #applying: Promise<void> = Promise.resolve()
  #checkpointing: Promise<void> = Promise.resolve()
  /** Checkpoints that are wanted now, and what wakes the one that rests. */
  #hurried = 0
  #hurry = new AbortController()
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
    this.#states = new DeviceStates({ collection, documents, operators, clock, log, bounds: config })
    this.#checkpoints = new PartitionCheckpoints({ documents, group: this.#group })
    this.#ledger = new LedgerPublisher({ documents, clock, log, flushMs: config.ledgerFlushMs })
    this.#writer = new SeriesWriter({ series, config, clock, log, metrics, onWritten: (rows) => this.#ledger.settled(rows) })
    this.#outputs = new OperatorOutputs(operators, (state, receivedAt) => this.#count(state, receivedAt, 'late'))
    this.#ticks = new DeviceTicks({
      ...{ states: this.#states, operators, outputs: this.#outputs, clock, stopping: this.#stopping.signal },
      owns: (partition) => this.#owns(partition),
      exclusively: (run) => this.#exclusively(run),
    })
    const prefix = this.#stores ? 'processing' : this.#group
    this.#metrics = {
      readings: metrics.counter(`${prefix}_readings_total`, 'Readings taken from the log'),
      duplicates: metrics.counter(`${prefix}_duplicate_readings_total`, 'Readings of an identity already stored'),
      poison: metrics.counter(`${prefix}_dead_letters_total`, 'Log records that could not be decoded'),
      batchSeconds: metrics.histogram(`${prefix}_batch_seconds`, 'One batch through all operators', LATENCY_BUCKETS_S),
    }
    metrics.gaugeOf(`${prefix}_device_states`, 'Device states in memory', () => this.#states.size)
    metrics.gaugeOf(`${prefix}_devices_spilled`, 'Devices out of memory whose time is kept', () => this.#states.spilled.size)
    metrics.gaugeOf(
      `${prefix}_devices_spilled_beyond`,
      'Times a device left memory with no room to keep its time',
      () => this.#states.spilled.beyond,
    )
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
      every(clock, config.tickMs, () => this.#ticks.tick(), report('tick failed')),
      every(clock, config.checkpointMs, () => this.#checkpointInTime(), report('checkpoint failed')),
      every(clock, config.offsetCommitMs, () => this.#committer?.flush(), report('offset commit failed')),
    ]
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#hurry.abort()
    for (const timer of this.#timers) timer.cancel()
    await Promise.all(this.#loops)
    // A tick that is under way.
    await this.#applying
    await this.#writer.stop()
    if (this.#consumer !== undefined && this.#writer.failing === null && !this.#statesBeyondRows && !this.#fenced)
      await this.#lastCheckpoint()
    if (this.#stores) await this.#ledger.stop()
    this.#partitions.clear()
    await this.#consumer?.close()
    this.#consumer = undefined
  }

  /** Another member may have taken over by now: what is not saved it replays, and a stop is a stop. */
  async #lastCheckpoint(): Promise<void> {
    try {
      await this.checkpoint()
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error
      this.#options.log.warn({ error: describeError(error) }, 'stopped without a checkpoint, the next owner replays more')
    }
  }

  /** A large fleet's checkpoint takes long, because it rests after each slice; the next one comes when it is done. */
  async #checkpointInTime(): Promise<void> {
    const { clock, config } = this.#options
    const rest = (workedMs: number): Promise<void> => sleep(clock, workedMs * (1 / config.checkpointShareMax - 1), this.#hurry.signal)
    await this.#checkpointAfterOthers(rest)
  }

  /** Saves changed states, then the offsets from which a restart has to read; one that is under way no longer rests. */
  async checkpoint(): Promise<void> {
    this.#hurried++
    this.#hurry.abort()
    try {
      await this.#checkpointAfterOthers()
    } finally {
      if (--this.#hurried === 0) this.#hurry = new AbortController()
    }
  }

  /** One after the other: an older one must not come last. */
  #checkpointAfterOthers(rest?: Saving['rest']): Promise<void> {
    const mine = this.#checkpointing.then(() => this.#checkpoint(rest))
    this.#checkpointing = mine.catch(() => undefined)
    return mine
  }

  async #checkpoint(rest: Saving['rest']): Promise<void> {
    const committer = this.#committer
    const positions = Array.from(this.#partitions, ([number, partition]) => ({
      number,
      partition,
      next: { readings: partition.nextReading, rejected: partition.nextRejected },
    }))
    try {
      await this.#states.save({ ...this.#saving(), rest })
    } catch (error) {
      // The states are another member's, so the partitions are too.
      if (error instanceof ConflictError) this.#onFenced(error)
      throw error
    }
    // Records that gave outputs and changed no state, those of dead letters.
    await committer?.flush()
    // A partition that was lost meanwhile is another's.
    const held = positions.filter(({ number, partition }) => this.#partitions.get(number) === partition)
    await Promise.all(held.map(({ number, next }) => this.#checkpoints.save(number, next)))
  }

  /** Between two batches. */
  async #makeRoom(): Promise<void> {
    try {
      await this.#states.makeRoom(this.#saving(), this.#ticks.tell)
    } catch (error) {
      if (error instanceof ConflictError) this.#onFenced(error)
      throw error
    }
  }

  /** States are saved once the outputs behind them are committed, by this membership: those of one that was fenced never are. */
  #saving(): Saving {
    const committer = this.#committer
    return {
      exclusively: (run) =>
        this.#exclusively(async () => {
          if (this.#statesBeyondRows) throw new TimeoutError('stopped before the states could be saved')
          await run()
        }),
      settle: async (states) => {
        if (this.#stores) await this.#writer.flush()
        await committer?.flush()
        if (this.#stores) await this.#ledger.flushDevices(states)
      },
    }
  }

  async #join(): Promise<void> {
    const { eventLog, config, clock, log } = this.#options
    const consumer = await eventLog.consume({
      group: this.#group,
      topic: TOPICS.readings,
      from: 'earliest',
      onAssigned: (partitions, consumer) => this.#exclusively(() => this.#take(partitions, consumer)),
      onRevoked: (partitions) => this.#giveBack(partitions),
      onLost: (partitions) => this.#onFenced(new ConflictError(`partitions ${partitions.join(', ')} were lost to another member`)),
    })
    this.#consumer = consumer
    this.#committer = new OutputCommitter({ consumer, config, clock, log, onFenced: (why) => this.#onFenced(why) })
    this.#outputs.committer = this.#committer
  }

  #onFenced(why: ConflictError): void {
    this.#fenced = true
    this.#committer?.fence(why)
  }

  /** Goes on where the last owner's checkpoint is: everything since is in the log and not yet in the states. */
  async #take(partitions: readonly number[], consumer: Consumer): Promise<void> {
    const committed = await consumer.committed()
    await this.#options.settings?.take(this.#group, partitions)
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
    const mine = records.filter((record) => this.#owns(record.partition))
    try {
      await adoptSettings(this.#options.settings, this.#group, this.#partitions)
      await this.#applyReadings(mine)
    } catch (error) {
      this.#committer?.release()
      if (error instanceof ConflictError) this.#onFenced(error)
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

  /** Others have a turn after each slice; the store is asked for the suspects of the whole batch at once. */
  async #applyReadings(records: readonly LogRecord[]): Promise<void> {
    const { sliceReadingsMax } = this.#options.config
    const startedMs = this.#options.clock.monotonicMs()
    const readings = decodeReadings(records, this.#deadLetters)
    const states = await this.#states.of(readings)
    const duplicates = await findDuplicates(readings, states, (identities) => this.#storedAlready(identities))
    const rows: LoggedReading[] = []
    this.#committer?.hold()
    for (let i = 0; i < readings.length; i++) {
      if (i > 0 && i % sliceReadingsMax === 0) await nextTurn()
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
    for (const operator of this.#options.operators) operator.finish?.(this.#outputs.atEnd())
    const next = nextOffsets(records)
    for (const [number, offset] of next) {
      const partition = this.#partitions.get(number) as Partition
      partition.nextReading = offset
      // A replay repeats outputs without giving them again: its offsets must not take back that they were committed.
      if (offset > partition.committedBefore) this.#committer?.advance(number, offset)
    }
    this.#committer?.release()
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
    // The same text in other memory would keep that of each reading alive.
    if (state.type !== reading.type) state.type = reading.type
    for (let i = 0; i < operators.length; i++) (operators[i] as ReadingOperator<unknown>).apply(state.operatorStates[i], reading, out)
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
      if (rejected.seq !== undefined) state.identity.noteRejected(rejected.boot ?? '', rejected.seq)
      this.#count(state, rejected, 'received')
      this.#count(state, rejected, 'rejected')
    }
    const last = records.at(-1)
    if (last !== undefined) partition.nextRejected = last.offset + 1
  }

  readonly #deadLetters = (topic: string, message: LogMessage): void => {
    this.#metrics.poison.inc()
    this.#committer?.add(topic, message)
  }
}
