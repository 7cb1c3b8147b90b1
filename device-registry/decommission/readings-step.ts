import { createHash } from 'node:crypto'
import type { LoggedReading } from '../../contracts/reading.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { canonicalJson } from '../../kernel/canonical-json.ts'
import type { Clock } from '../../kernel/time.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { MOVED_PARTITION, type SeriesStore, type StoredReading } from '../../storage/series/series-store.ts'
import type { DecommissionConfig } from './config.ts'
import type { Job } from './job.ts'
import { done, type Outcome } from './outcome.ts'
import type { DeviceTraces } from './ports.ts'

/** The part of the log that readings of other tenants seem to come from: above those of earlier logs, and written by this alone. */
export const TRANSFER_PARTITION = MOVED_PARTITION + 16_384

/** Edges' clocks differ by less: whatever was received before the device was cut off is before now plus this. */
const CLOCKS_DIFFER_MS = 60_000

export interface ReadingsStepOptions {
  series: SeriesStore
  eventLog: EventLog
  clock: Clock
  config: DecommissionConfig
  /** Erased together with the readings; absent: there are none. */
  traces?: DeviceTraces
}

interface Progress extends Record<string, unknown> {
  /** Next offset of each partition of readings when the device was cut off. */
  ends?: Record<string, number>
  waitsUntil?: number
  /** All that was stored is counted. */
  counted?: number
  isComplete?: boolean
  copied?: number
  cursor?: string | null
  nextOffset?: number
  digest?: string
  erasesBefore?: number
}

/** What becomes of the stored readings: they stay, are erased, or move to the other tenant. */
export class ReadingsStep {
  readonly #options: ReadingsStepOptions

  constructor(options: ReadingsStepOptions) {
    this.#options = options
  }

  async run(job: Job): Promise<Outcome> {
    const { series, clock, traces } = this.#options
    const progress: Progress = job.progress
    if (progress.counted === undefined) return this.#count(job, progress)
    const found = { rule: job.readings, readings: progress.counted, complete: progress.isComplete === true }
    if (job.readings === 'keep') return done(found)
    if (job.readings === 'move' && progress.cursor !== null) return this.#copy(job, progress)
    if (progress.erasesBefore === undefined) {
      return { status: 'progress', progress: { ...progress, erasesBefore: clock.nowMs() + CLOCKS_DIFFER_MS } }
    }
    await series.erase(job.tenant, job.device, progress.erasesBefore)
    const left = await series.count(job.tenant, job.device)
    if (left > 0) return { status: 'wait', ms: this.#options.config.pollMs, trouble: `${left} readings are still there` }
    const moved = job.readings === 'move' ? { movedTo: job.to, moved: progress.copied, sha256: progress.digest } : {}
    const erased = traces === undefined ? {} : { traces: await traces.erase(job.tenant, job.device) }
    return done({ ...found, ...moved, left, receivedBefore: progress.erasesBefore, ...erased })
  }

  /** Once those that were acknowledged are stored, or after a while without them. */
  async #count(job: Job, progress: Progress): Promise<Outcome> {
    const { series, eventLog, clock, config } = this.#options
    const { ends, waitsUntil } = progress
    if (ends === undefined || waitsUntil === undefined) {
      const bounds = await eventLog.bounds(TOPICS.readings)
      const next = Object.fromEntries([...bounds].map(([partition, bound]) => [String(partition), bound.next]))
      return { status: 'progress', progress: { ends: next, waitsUntil: clock.nowMs() + config.storedTimeoutMs } }
    }
    const positions = await series.positions()
    const isComplete = Object.entries(ends).every(([partition, next]) => next === 0 || (positions.get(Number(partition)) ?? 0) >= next)
    if (!isComplete && clock.nowMs() < waitsUntil) return { status: 'wait', ms: config.pollMs }
    return { status: 'progress', progress: { ...progress, counted: await series.count(job.tenant, job.device), isComplete } }
  }

  /**
   * One page at a time, at offsets that are saved with the place reached: a page that comes again after a crash is before the store's
   * position, and skipped.
   */
  async #copy(job: Job, progress: Progress): Promise<Outcome> {
    const { series, config } = this.#options
    const { to } = job
    if (to === null) return { status: 'progress', progress: { ...progress, cursor: null } }
    const nextOffset = progress.nextOffset ?? (await series.positions()).get(TRANSFER_PARTITION) ?? 0
    if (progress.nextOffset === undefined) return { status: 'progress', progress: { ...progress, nextOffset } }
    const { tenant, device } = job
    const { cursor } = progress
    const page = await series.range({ tenant, device, limit: config.movePageReadings, ...(typeof cursor === 'string' ? { cursor } : {}) })
    const rows = page.items.map((reading, index) => rowOf(reading, to, nextOffset + index))
    if (rows.length > 0) await series.write(rows, new Map([[TRANSFER_PARTITION, nextOffset + rows.length]]))
    const digest = digestOf(progress.digest ?? '', page.items)
    const copied = (progress.copied ?? 0) + rows.length
    return { status: 'progress', progress: { ...progress, nextOffset: nextOffset + rows.length, copied, digest, cursor: page.next } }
  }
}

function rowOf(
  { type, ts, receivedAt, boot, seq, values }: StoredReading,
  to: { tenant: string; device: string },
  offset: number,
): LoggedReading {
  const numbered = { ...(boot === null ? {} : { boot }), ...(seq === null ? {} : { seq }) }
  return { ...to, type, ts, receivedAt, correlationId: 'transfer', ...numbered, values, partition: TRANSFER_PARTITION, offset }
}

/** SHA-256 over the digest so far and the readings that follow, newest first, each as canonical JSON. */
function digestOf(before: string, readings: readonly StoredReading[]): string {
  const hash = createHash('sha256').update(before)
  for (const { ts, receivedAt, boot, seq, values } of readings)
    hash.update(canonicalJson({ ts, receivedAt, boot, seq, values })).update('\n')
  return hash.digest('hex')
}
