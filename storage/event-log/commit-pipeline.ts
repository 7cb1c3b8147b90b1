import { describeError, InternalError, type FleetpulseError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import type { AppendTurn, PartitionAppend } from './append-turn.ts'
import type { DurableHeads } from './durable-heads.ts'
import type { EventLogMetrics } from './event-log-metrics.ts'
import type { DiskReserve } from '../disk-reserve.ts'
import { commitCause } from '../lmdb-commit-cause.ts'
import { diskFull, toLogError, unavailable } from './lmdb-errors.ts'
import type { Commit, LmdbEnvironment } from './lmdb-environment.ts'
import { entryKey, partitionKey, type Slot } from './log-keys.ts'
import { encodeHead, readHead, type Head, type Versioned } from './partition-state.ts'

export interface CommitPipelineOptions {
  environment: LmdbEnvironment
  durableHeads: DurableHeads
  diskReserve: DiskReserve
  metrics: EventLogMetrics
  clock: Clock
  log: Logger
  commitsInFlightMax: number
  /** Called whenever another turn may be submitted. */
  onFree: () => void
}

interface PlannedEntry {
  key: Buffer
  entry: Buffer
}
interface PlannedHead {
  slot: Slot
  expectedVersion: number
  head: Versioned<Head>
}

/**
 * Commits turns, several at a time, in the order they came.
 *
 * A turn's offsets are worked out from the heads as they will be after the turns before it, and written on condition that they are: the
 * condition is checked inside the write transaction, on LMDB's own thread, so no lock is ever held while an event loop is waited for.
 * Where another thread appended in between, nothing of the turn is written; then all commits in flight are let settle and the refused
 * turns are written again, in order, in one transaction that holds the lock and reads the heads itself.
 */
export class CommitPipeline {
  readonly #options: CommitPipelineOptions
  readonly #heads = new Map<Slot, Versioned<Head>>()
  readonly #refused: { order: number; turn: AppendTurn }[] = []
  #inFlight = 0
  #order = 0
  #isRecovering = false
  #failure: FleetpulseError | null = null

  constructor(options: CommitPipelineOptions) {
    this.#options = options
  }

  get isFree(): boolean {
    return !this.#isRecovering && this.#inFlight < this.#options.commitsInFlightMax
  }
  get isIdle(): boolean {
    return !this.#isRecovering && this.#inFlight === 0
  }
  /** Set when the disk failed in a way that leaves unknown what is on it: nothing more is taken. */
  get failure(): FleetpulseError | null {
    return this.#failure
  }

  /** Takes a turn; it is settled when durable or failed. Only while `isFree`. */
  submit(turn: AppendTurn): void {
    this.#inFlight++
    void this.#run(turn, this.#order++)
  }

  async #run(turn: AppendTurn, order: number): Promise<void> {
    const startMs = this.#options.clock.monotonicMs()
    try {
      if (this.#failure !== null) throw this.#failure
      if (this.#options.diskReserve.isShort) throw diskFull(this.#options.environment.directory)
      if (await this.#commit(turn)) {
        this.#succeed(turn, startMs)
      } else {
        this.#options.metrics.conflicts.inc()
        this.#isRecovering = true
        this.#refused.push({ order, turn })
      }
    } catch (error) {
      this.#isRecovering = true
      await this.#fail(turn, error)
    }
    this.#inFlight--
    if (this.#isRecovering && this.#inFlight === 0) await this.#recover()
    this.#options.onFree()
  }

  /** False when another thread was first and nothing was written. */
  async #commit(turn: AppendTurn): Promise<boolean> {
    const { environment } = this.#options
    const entries: PlannedEntry[] = []
    const heads: PlannedHead[] = []
    const nowMs = this.#options.clock.nowMs()
    for (const append of turn.appends.values()) {
      const before = this.#heads.get(append.slot) ?? this.#readHead(append.slot)
      const head = this.#plan(append, before, nowMs, entries)
      heads.push({ slot: append.slot, expectedVersion: before.version, head })
      this.#heads.set(append.slot, head)
    }
    const write = (): void => this.#write(turn, entries, heads)
    const commits: Commit[] = []
    const underConditions = (index: number): void => {
      const condition = heads[index]
      if (condition === undefined) return write()
      commits.push(environment.heads.ifVersion(partitionKey(condition.slot), condition.expectedVersion, () => underConditions(index + 1)))
    }
    if (heads.length === 0) commits.push(environment.offsets.batch(write))
    else underConditions(0)
    const outcomes = await Promise.all(commits)
    if (!outcomes.every(Boolean)) return false
    // The outermost condition is the last pushed; its commit is the one that all the others are part of.
    await commits[commits.length - 1]!.flushed
    return true
  }

  #plan(append: PartitionAppend, before: Head, nowMs: number, entries: PlannedEntry[]): Versioned<Head> {
    const appendedAt = Math.max(nowMs, before.appendedAt)
    let { next, bytes } = before
    for (const builder of append.builders) {
      const entry = builder.seal(next, appendedAt, bytes)
      entries.push({ key: entryKey(append.slot, next), entry })
      next += builder.count
      bytes += entry.length
    }
    append.headVersion = this.#options.environment.nextVersion()
    return { next, bytes, appendedAt, version: append.headVersion }
  }

  #write(turn: AppendTurn, entries: readonly PlannedEntry[], heads: readonly PlannedHead[]): void {
    const { environment } = this.#options
    for (const { key, entry } of entries) void environment.entries.put(key, entry)
    for (const { slot, head } of heads) void environment.heads.put(partitionKey(slot), encodeHead(head), head.version)
    for (const { key, offset } of turn.offsets.values()) void environment.offsets.put(key, encodeOffset(offset))
  }

  async #recover(): Promise<void> {
    const { environment, clock } = this.#options
    this.#heads.clear()
    const turns = this.#refused.splice(0).sort((a, b) => a.order - b.order)
    const startMs = clock.monotonicMs()
    try {
      if (turns.length > 0) {
        await environment.root.childTransaction(() => {
          for (const { turn } of turns) this.#writeLocked(turn)
        })
        await environment.root.flushed
      }
      for (const { turn } of turns) this.#succeed(turn, startMs)
    } catch (error) {
      for (const { turn } of turns) await this.#fail(turn, error)
    }
    this.#heads.clear()
    this.#isRecovering = false
  }

  /** Inside a write transaction. */
  #writeLocked(turn: AppendTurn): void {
    const entries: PlannedEntry[] = []
    const heads: PlannedHead[] = []
    const nowMs = this.#options.clock.nowMs()
    for (const append of turn.appends.values()) {
      const before = this.#readHead(append.slot)
      heads.push({ slot: append.slot, expectedVersion: before.version, head: this.#plan(append, before, nowMs, entries) })
    }
    this.#write(turn, entries, heads)
  }

  #readHead(slot: Slot): Versioned<Head> {
    const { environment } = this.#options
    environment.refresh()
    const head = readHead(environment.heads, slot)
    if (head === undefined) throw new InternalError(`partition ${slot} of the event log has no head`)
    return head
  }

  #succeed(turn: AppendTurn, startMs: number): void {
    const { metrics, durableHeads, clock } = this.#options
    const durable: number[] = []
    for (const { topic, slot, builders } of turn.appends.values()) {
      let messages = 0
      let bytes = 0
      for (const builder of builders) {
        messages += builder.count
        bytes += builder.bytes
      }
      const last = builders[builders.length - 1]!
      durable.push(slot, last.baseOffset + last.count)
      metrics.appendedMessages.inc({ topic: topic.name }, messages)
      metrics.appendedBytes.inc({ topic: topic.name }, bytes)
    }
    metrics.appendSeconds.observe((clock.monotonicMs() - startMs) / 1_000)
    durableHeads.publish(durable)
    turn.resolve()
  }

  async #fail(turn: AppendTurn, error: unknown): Promise<void> {
    const { environment, metrics, log } = this.#options
    const cause = await commitCause(error)
    let mapped = toLogError(cause, environment.directory)
    if (this.#isVisible(turn)) {
      // The commit is in the file but its flush failed: after that the system may have dropped pages that it calls written.
      mapped = unavailable('the disk failed while the event log was flushed; nothing more is taken until a restart', cause)
      this.#failure = mapped
    }
    metrics.appendFailures.inc({ code: mapped.code })
    log.error({ code: mapped.code, error: describeError(mapped) }, 'append failed')
    turn.reject(mapped)
  }

  #isVisible(turn: AppendTurn): boolean {
    const { environment } = this.#options
    try {
      environment.refresh()
      for (const { slot, headVersion } of turn.appends.values()) {
        if (headVersion !== 0 && readHead(environment.heads, slot)?.version === headVersion) return true
      }
    } catch (error) {
      this.#options.log.error({ error: describeError(error) }, 'the event log cannot be read')
    }
    return false
  }
}

function encodeOffset(offset: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(8)
  bytes.writeDoubleLE(offset)
  return bytes
}
