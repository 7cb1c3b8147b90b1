import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { every, type Clock, type Timer } from '../kernel/time.ts'
import type { Collection, Documents } from '../storage/documents/documents.ts'
import type { DeviceState, DeviceStates } from './device-states.ts'
import { emptyCounts, type LedgerCounts, type LedgerHour } from './ledger.ts'

/** One device and hour, as the API answers it. */
export interface LedgerEntry extends LedgerHour {
  tenant: string
  device: string
  boots: { boot: string; firstSeq: number; lastSeq: number; missing: number; missingRanges: { from: number; to: number }[] }[]
}

/** Fleet totals of one tenant in one partition of the readings topic; `stored` counts durable rows only. */
export interface LedgerSummary extends LedgerCounts {
  tenant: string
  partition: number
  missing: number
}

/** A summary in memory: what the states say, and how much of `stored` is not durable yet. */
interface RunningSummary extends LedgerSummary {
  unsettled: number
  changed: boolean
}

/** Ranges of missing numbers shown per boot; the count is always whole. */
const MISSING_RANGES_SHOWN = 100
/** Devices written per flush: a flush stays short, the rest follows in the next one. */
const DEVICES_PER_FLUSH_MAX = 1_000
const COUNTS = ['received', 'stored', 'rejected', 'late', 'duplicate'] as const

export interface LedgerPublisherOptions {
  documents: Documents
  states: DeviceStates
  clock: Clock
  log: Logger
  /** How old the summary may be, in ms. */
  flushMs: number
}

/** Writes the ledger to documents, in absolute numbers, so that a repeated write changes nothing. */
export class LedgerPublisher {
  readonly #options: LedgerPublisherOptions
  #entries: Collection<LedgerEntry> | undefined
  #summaries: Collection<LedgerSummary> | undefined
  #timer: Timer | undefined
  /** Devices whose hours changed and are not written yet. */
  readonly #changedDevices = new Set<DeviceState>()
  readonly #totals = new Map<string, RunningSummary>()
  /** The one asked for last: nearly always the one asked for next. */
  #latestSummary: RunningSummary | undefined
  /** Missing numbers per device that are in the sum. */
  readonly #countedMissing = new Map<string, number>()
  #running: Promise<void> = Promise.resolve()

  constructor(options: LedgerPublisherOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { documents, states, clock, log, flushMs } = this.#options
    this.#entries = await documents.collection<LedgerEntry>({ name: 'ledger', indexes: [{ name: 'device-hour', paths: ['tenant', 'device', 'hour'] }] })
    this.#summaries = await documents.collection<LedgerSummary>({ name: 'ledger-summary', indexes: [] })
    for (const state of states.all()) {
      const summary = this.#summaryOf(state.tenant, state.partition)
      for (const field of COUNTS) summary[field] += state.ledger.totals[field]
      this.#refreshMissing(state)
    }
    this.#timer = every(clock, flushMs, () => this.flush(), (error) => log.error({ error: describeError(error) }, 'ledger not written'))
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    await this.flush()
    while (this.#changedDevices.size > 0) await this.flush()
  }

  /** Counts one reading of a device, in the device's state and in the fleet's sum. */
  count(state: DeviceState, receivedAt: number, field: keyof LedgerCounts): void {
    state.ledger.totals[field]++
    const hour = state.ledger.hourOf(receivedAt)
    hour[field]++
    state.ledger.dirty.add(hour)
    const summary = this.#summaryOf(state.tenant, state.partition)
    summary[field]++
    if (field === 'stored') summary.unsettled++
    summary.changed = true
    this.#changedDevices.add(state)
  }

  /** These rows are durable now. */
  settled(rows: readonly { tenant: string; partition: number }[]): void {
    for (const row of rows) {
      const summary = this.#summaryOf(row.tenant, row.partition)
      summary.unsettled--
      summary.changed = true
    }
  }

  /**
   * Writes everything counted before the call. A state is saved after this: a restart that finds it has nothing to replay, and so would
   * never write what the ledger lacks.
   */
  async flushAll(): Promise<void> {
    // Devices counted meanwhile go to the end of the set.
    for (let left = this.#changedDevices.size; left > 0; left -= DEVICES_PER_FLUSH_MAX) await this.flush()
    await this.flush()
  }

  flush(): Promise<void> {
    this.#running = this.#running.catch(() => undefined).then(() => this.#write())
    return this.#running
  }

  async #write(): Promise<void> {
    if (this.#entries === undefined || this.#summaries === undefined) return
    const writes: Promise<unknown>[] = []
    const hours: { state: DeviceState; hour: LedgerHour }[] = []
    let devices = 0
    for (const state of this.#changedDevices) {
      if (++devices > DEVICES_PER_FLUSH_MAX) break
      this.#changedDevices.delete(state)
      this.#refreshMissing(state)
      for (const hour of state.ledger.dirty) {
        hours.push({ state, hour })
        writes.push(this.#entries.put(`${state.key}/${hour.hour}`, entryOf(state, hour)))
      }
      state.ledger.dirty.clear()
    }
    const summaries = [...this.#totals.values()].filter((summary) => summary.changed)
    for (const summary of summaries) {
      summary.changed = false
      const { unsettled, changed: _, ...published } = summary
      writes.push(this.#summaries.put(`${summary.tenant}/${summary.partition}`, { ...published, stored: summary.stored - unsettled }))
    }
    try {
      await Promise.all(writes)
    } catch (error) {
      for (const { state, hour } of hours) {
        state.ledger.dirty.add(hour)
        this.#changedDevices.add(state)
      }
      for (const summary of summaries) summary.changed = true
      throw error
    }
  }

  #summaryOf(tenant: string, partition: number): RunningSummary {
    const latest = this.#latestSummary
    if (latest !== undefined && latest.tenant === tenant && latest.partition === partition) return latest
    const key = `${tenant}/${partition}`
    let summary = this.#totals.get(key)
    if (summary === undefined) {
      summary = { tenant, partition, missing: 0, ...emptyCounts(), unsettled: 0, changed: false }
      this.#totals.set(key, summary)
    }
    this.#latestSummary = summary
    return summary
  }

  #refreshMissing(state: DeviceState): void {
    const missing = state.identity.missing()
    this.#summaryOf(state.tenant, state.partition).missing += missing - (this.#countedMissing.get(state.key) ?? 0)
    if (missing === 0) this.#countedMissing.delete(state.key)
    else this.#countedMissing.set(state.key, missing)
  }
}

function entryOf(state: DeviceState, hour: LedgerHour): LedgerEntry {
  const boots = Array.from(state.identity.boots, ([boot, ranges]) => ({
    boot,
    firstSeq: ranges.first ?? 0,
    lastSeq: ranges.last ?? 0,
    missing: ranges.missing(),
    missingRanges: ranges.gaps().slice(0, MISSING_RANGES_SHOWN),
  }))
  return { ...hour, rejectedByReason: { ...hour.rejectedByReason }, tenant: state.tenant, device: state.device, boots }
}
