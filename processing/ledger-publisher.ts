import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { every, type Clock, type Timer } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import type { DeviceState } from './device-states.ts'
import { emptyCounts, type CountedReading, type LedgerCounts, type LedgerHour } from './ledger.ts'
import type { LedgerSummary } from './ledger-documents.ts'
import { gapsOf, LedgerStore } from './ledger-store.ts'
import type { SequenceRanges } from './sequence-ranges.ts'

/** A summary in memory: what the states say, and how much of `stored` is not durable yet. */
interface RunningSummary extends LedgerSummary {
  unsettled: number
  changed: boolean
}

/** What one flush takes, to be put back when it fails. */
interface Batch {
  hours: { state: DeviceState; hour: LedgerHour }[]
  gaps: { state: DeviceState; marks: ReadonlyMap<SequenceRanges, string> }[]
}

/** Devices written per flush: a flush stays short, the rest follows in the next one. */
const DEVICES_PER_FLUSH_MAX = 1_000
/** Least age at which hours and gaps are written, in ms: only the sums are watched from second to second, and a device's hour costs a write. */
const HOURS_AGE_MS = 1_000
/**
 * Largest part of the time that writing hours may take: in a very large fleet they get older, and a reading costs the same. Checkpoints write
 * the hours of the devices they save besides.
 */
const HOURS_SHARE_MAX = 0.01
const COUNTS = ['received', 'stored', 'rejected', 'late', 'duplicate'] as const

export interface LedgerPublisherOptions {
  documents: Documents
  clock: Clock
  log: Logger
  /** How old the summary may be, in ms. */
  flushMs: number
}

/** Writes the ledger to documents, in absolute numbers, so that a repeated write changes nothing. */
export class LedgerPublisher {
  readonly #options: LedgerPublisherOptions
  readonly #store: LedgerStore
  #timer: Timer | undefined
  /** Devices whose hours changed and are not written yet. */
  readonly #changedDevices = new Set<DeviceState>()
  readonly #totals = new Map<string, RunningSummary>()
  /** The one asked for last: nearly always the one asked for next. */
  #latestSummary: RunningSummary | undefined
  /** Missing numbers per device that are in the sum. */
  readonly #countedMissing = new Map<string, { partition: number; missing: number }>()
  /** The gaps of each boot as they were written last. */
  readonly #writtenGaps = new WeakMap<SequenceRanges, string>()
  /** Devices whose missing numbers may have changed since they were summed last. */
  #staleMissing: DeviceState[] = []
  #hoursDueMs = 0
  #running: Promise<void> = Promise.resolve()

  constructor(options: LedgerPublisherOptions) {
    this.#options = options
    this.#store = new LedgerStore(options.documents)
  }

  async start(): Promise<void> {
    const { clock, log, flushMs } = this.#options
    await this.#store.start()
    this.#timer = every(
      clock,
      flushMs,
      () => this.#flushWhatIsDue(),
      (error) => log.error({ error: describeError(error) }, 'ledger not written'),
    )
  }

  /** A saved state of a partition that is ours now counts in the sums. */
  include(state: DeviceState): void {
    const summary = this.#summaryOf(state.tenant, state.partition)
    for (const field of COUNTS) summary[field] += state.ledger.totals[field]
    summary.changed = true
    advance(summary, state)
    this.#refreshMissing(state)
  }

  /** Another process owns the partition now: nothing more is written about it. */
  dropPartition(partition: number): void {
    for (const [key, summary] of this.#totals) if (summary.partition === partition) this.#totals.delete(key)
    for (const state of this.#changedDevices) if (state.partition === partition) this.#unqueue(state)
    this.#staleMissing = this.#staleMissing.filter((state) => state.partition !== partition)
    for (const [key, counted] of this.#countedMissing) if (counted.partition === partition) this.#countedMissing.delete(key)
    this.#latestSummary = undefined
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    await this.flush()
    while (this.#changedDevices.size > 0) await this.flush()
  }

  /**
   * Counts one reading of a device, in the device's state and in the fleet's sum; `received` first, then what became of it. Where only the time of
   * receipt is at hand (`late`), that is enough; everything else is given whole, so that its number is noted.
   */
  count(state: DeviceState, at: CountedReading | number, field: keyof LedgerCounts): void {
    const { ledger } = state
    ledger.totals[field]++
    const summary = this.#summaryOf(state.tenant, state.partition)
    summary[field]++
    summary.changed = true
    advance(summary, state)
    this.#queue(state)
    if (state.identity.missingMoved && !ledger.isMissingStale) {
      ledger.isMissingStale = true
      this.#staleMissing.push(state)
    }
    if (field === 'stored') summary.unsettled++
    if (field === 'received') return
    const hour = ledger.hourOf(typeof at === 'number' ? at : at.receivedAt, field === 'rejected' ? 'rejected' : 'readings')
    hour[field]++
    hour.unpublished = true
    if (typeof at === 'number') return
    if (at.reason !== undefined) hour.rejectedByReason[at.reason] = (hour.rejectedByReason[at.reason] ?? 0) + 1
    if (at.seq !== undefined) ledger.noteSeq(hour, at.boot ?? '', at.seq)
  }

  /** These rows are durable now. */
  settled(rows: readonly { tenant: string; partition: number }[]): void {
    for (const row of rows) {
      const summary = this.#heldSummary(row.tenant, row.partition)
      if (summary === undefined) continue
      summary.unsettled--
      summary.changed = true
    }
  }

  /**
   * Writes what was counted of these devices before the call. A state is saved after this: a restart that finds it has nothing to replay, and
   * so would never write what the ledger lacks.
   */
  flushDevices(states: readonly DeviceState[]): Promise<void> {
    return this.#afterOthers(() => this.#write(states.filter((state) => this.#changedDevices.has(state))))
  }

  /** Writes everything that changed, up to DEVICES_PER_FLUSH_MAX devices. */
  flush(): Promise<void> {
    return this.#afterOthers(() => this.#write(this.#longestQueued()))
  }

  #flushWhatIsDue(): Promise<void> {
    return this.#afterOthers(async () => {
      const { clock } = this.#options
      const startedMs = clock.monotonicMs()
      if (startedMs < this.#hoursDueMs) return this.#write([])
      try {
        await this.#write(this.#longestQueued())
      } finally {
        const endedMs = clock.monotonicMs()
        this.#hoursDueMs = endedMs + Math.max(HOURS_AGE_MS, (endedMs - startedMs) * (1 / HOURS_SHARE_MAX - 1))
      }
    })
  }

  #afterOthers(run: () => Promise<void>): Promise<void> {
    this.#running = this.#running.catch(() => undefined).then(run)
    return this.#running
  }

  /** Sums, and hours and gaps of these devices. */
  async #write(devices: readonly DeviceState[]): Promise<void> {
    const batch: Batch = { hours: [], gaps: [] }
    this.#refreshAllMissing()
    for (const state of devices) this.#take(state, batch)
    const summaries = [...this.#totals.values()].filter((summary) => summary.changed)
    const writes = [
      this.#store.raiseHours(batch.hours),
      ...batch.gaps.map(({ state, marks }) => this.#writeGaps(state, marks)),
      ...summaries.map((summary) => this.#writeSummary(summary)),
    ]
    const failed = (await Promise.allSettled(writes)).find((outcome) => outcome.status === 'rejected')
    if (failed === undefined) return
    for (const { state, hour } of batch.hours) {
      hour.unpublished = true
      this.#queue(state)
    }
    for (const { state } of batch.gaps) this.#queue(state)
    for (const summary of summaries) summary.changed = true
    throw failed.reason
  }

  #longestQueued(): DeviceState[] {
    const devices: DeviceState[] = []
    for (const state of this.#changedDevices) {
      if (devices.length >= DEVICES_PER_FLUSH_MAX) break
      devices.push(state)
    }
    return devices
  }

  #queue(state: DeviceState): void {
    if (state.ledger.isQueued) return
    state.ledger.isQueued = true
    this.#changedDevices.add(state)
  }

  #unqueue(state: DeviceState): void {
    state.ledger.isQueued = false
    this.#changedDevices.delete(state)
  }

  /** The device's changed hours and gaps. */
  #take(state: DeviceState, batch: Batch): void {
    this.#unqueue(state)
    for (const hour of state.ledger.hours) {
      if (!hour.unpublished) continue
      hour.unpublished = false
      batch.hours.push({ state, hour })
    }
    let marks: Map<SequenceRanges, string> | undefined
    for (const ranges of state.identity.boots.values()) {
      const mark = markOf(ranges)
      if (this.#writtenGaps.get(ranges) !== mark) marks = (marks ?? new Map<SequenceRanges, string>()).set(ranges, mark)
    }
    if (marks !== undefined) batch.gaps.push({ state, marks })
  }

  async #writeGaps(state: DeviceState, marks: ReadonlyMap<SequenceRanges, string>): Promise<void> {
    await this.#store.putGaps(state, positionOf(state), gapsOf(state.identity))
    for (const [ranges, mark] of marks) this.#writtenGaps.set(ranges, mark)
  }

  /** While another process is ahead, its summary stays; ours follows when it has caught up. */
  async #writeSummary(running: RunningSummary): Promise<void> {
    running.changed = false
    const { unsettled, changed: _, ...summary } = running
    if ((await this.#store.putSummary({ ...summary, stored: summary.stored - unsettled })) === 'behind') running.changed = true
  }

  #summaryOf(tenant: string, partition: number): RunningSummary {
    const held = this.#heldSummary(tenant, partition)
    if (held !== undefined) return held
    const summary = { tenant, partition, position: 0, missing: 0, ...emptyCounts(), unsettled: 0, changed: false }
    this.#totals.set(`${tenant}/${partition}`, summary)
    return summary
  }

  #heldSummary(tenant: string, partition: number): RunningSummary | undefined {
    const latest = this.#latestSummary
    if (latest !== undefined && latest.tenant === tenant && latest.partition === partition) return latest
    return (this.#latestSummary = this.#totals.get(`${tenant}/${partition}`))
  }

  #refreshAllMissing(): void {
    for (const state of this.#staleMissing) this.#refreshMissing(state)
    this.#staleMissing = []
  }

  #refreshMissing(state: DeviceState): void {
    state.ledger.isMissingStale = false
    state.identity.missingMoved = false
    const missing = state.identity.missing()
    const change = missing - (this.#countedMissing.get(state.key)?.missing ?? 0)
    if (change === 0) return
    const summary = this.#summaryOf(state.tenant, state.partition)
    summary.missing += change
    summary.changed = true
    if (missing === 0) this.#countedMissing.delete(state.key)
    else this.#countedMissing.set(state.key, { partition: state.partition, missing })
  }
}

/** How far a state has got, over both topics; it only grows, and every owner of the partition comes past the same ones. */
function positionOf(state: DeviceState): number {
  return state.nextOffset + state.nextRejectedOffset
}

function advance(summary: LedgerSummary, state: DeviceState): void {
  const position = positionOf(state)
  if (position > summary.position) summary.position = position
}

/** Tells apart the gaps of a boot at two times. */
function markOf(ranges: SequenceRanges): string {
  const bounds = ranges.bounds()
  return bounds.length <= 2 ? String(ranges.joinedGaps) : `${ranges.joinedGaps}:${bounds.slice(1, -1).join()}`
}
