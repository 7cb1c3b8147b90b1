import type { RejectReason } from '../contracts/reading.ts'
import type { SeqSpan } from './ledger-documents.ts'

/** Counts of readings; `received` are those acknowledged, whatever became of them. */
export interface LedgerCounts {
  received: number
  stored: number
  rejected: number
  late: number
  duplicate: number
}

/** What the ledger notes of one reading, taken in (`Reading`) or set aside (`RejectedReading`, which has a reason). */
export interface CountedReading {
  receivedAt: number
  boot?: string
  seq?: number
  reason?: RejectReason
}

/** Readings and rejected readings are counted at their own pace: an hour is over for one of them while the other still counts in it. */
export type LedgerPart = 'readings' | 'rejected'

/** One part of one hour; what does not belong to the part stays 0. */
export interface LedgerHour {
  /** Start of the hour of receipt, epoch ms. */
  hour: number
  part: LedgerPart
  stored: number
  rejected: number
  late: number
  duplicate: number
  rejectedByReason: Record<string, number>
  spans: SeqSpan[]
  bootsTruncated: boolean
  /** Version of the hour's document that this part wrote last and alone, 0 before; SHARED_DOCUMENT when the other part is in it too. */
  documentVersion: number
  /** It changed since it was taken to be written. */
  unpublished: boolean
}

export const SHARED_DOCUMENT = -1

/** An hour as states of version 0.1 hold it: both parts in one, without sequence numbers. */
type Newer = 'part' | 'spans' | 'bootsTruncated' | 'documentVersion' | 'unpublished'
type SavedHour = Omit<LedgerHour, Newer> & Partial<Pick<LedgerHour, Newer>>

const HOUR_MS = 3_600_000
/** Receipt times of several edges differ by less than this many hours: older hours are final. */
const HOURS_HELD = 2
/** Boots listed per hour; a device that restarts more often than once a minute has another trouble. */
const BOOTS_PER_HOUR_MAX = 64

export function emptyCounts(): LedgerCounts {
  return { received: 0, stored: 0, rejected: 0, late: 0, duplicate: 0 }
}

/** One device's part of the ledger: totals since its first reading, and the hours that may still change. */
export class DeviceLedger {
  readonly totals: LedgerCounts
  #hours: LedgerHour[]
  /** The hour asked for last, per part: nearly always the one asked for next. */
  readonly #current: Record<LedgerPart, LedgerHour | undefined> = { readings: undefined, rejected: undefined }
  /** It waits for its turn to be written, and for its missing numbers to be summed: the publisher's marks, so that it need not look them up. */
  isQueued = false
  isMissingStale = false

  constructor(data?: { totals: LedgerCounts; hours: readonly SavedHour[] }) {
    this.totals = data?.totals ?? emptyCounts()
    this.#hours = (data?.hours ?? []).flatMap(hoursOf)
  }

  get hours(): readonly LedgerHour[] {
    return this.#hours
  }

  get hasUnpublished(): boolean {
    return this.#hours.some((hour) => hour.unpublished)
  }

  hourOf(receivedAt: number, part: LedgerPart): LedgerHour {
    const current = this.#current[part]
    if (current !== undefined && receivedAt >= current.hour && receivedAt < current.hour + HOUR_MS) return current
    const start = Math.floor(receivedAt / HOUR_MS) * HOUR_MS
    let hour = this.#hours.find((other) => other.hour === start && other.part === part)
    if (hour === undefined) {
      hour = {
        hour: start,
        part,
        stored: 0,
        rejected: 0,
        late: 0,
        duplicate: 0,
        rejectedByReason: {},
        spans: [],
        bootsTruncated: false,
        documentVersion: 0,
        unpublished: false,
      }
      this.#hours.push(hour)
    }
    this.#current[part] = hour
    return hour
  }

  /** Notes that this number was received in this hour. */
  noteSeq(hour: LedgerHour, boot: string, seq: number): void {
    const { spans } = hour
    let span = spans.at(-1)
    if (span?.boot !== boot) span = spans.find((other) => other.boot === boot)
    if (span !== undefined) {
      if (seq > span.lastSeq) span.lastSeq = seq
      else if (seq < span.firstSeq) span.firstSeq = seq
    } else if (spans.length < BOOTS_PER_HOUR_MAX) {
      spans.push({ boot, seqBefore: this.#largest(boot), firstSeq: seq, lastSeq: seq })
    } else hour.bootsTruncated = true
  }

  /** Forgets hours that are final and flushed: each part by its own newest. */
  prune(): void {
    if (this.#hours.length <= HOURS_HELD) return
    const newest = { readings: 0, rejected: 0 }
    for (const { hour, part } of this.#hours) newest[part] = Math.max(newest[part], hour)
    this.#hours = this.#hours.filter((hour) => hour.hour > newest[hour.part] - HOURS_HELD * HOUR_MS || hour.unpublished)
  }

  /** Largest number of a boot in the hours held, or null. */
  #largest(boot: string): number | null {
    let largest: number | null = null
    for (const { spans } of this.#hours) {
      const span = spans.find((other) => other.boot === boot)
      if (span !== undefined) largest = Math.max(largest ?? 0, span.lastSeq, span.seqBefore ?? 0)
    }
    return largest
  }
}

/** An hour of version 0.1 becomes two parts. */
function hoursOf(saved: SavedHour): LedgerHour[] {
  const { hour, part, stored, rejected, late, duplicate, rejectedByReason, spans, bootsTruncated } = saved
  const common = { hour, spans: spans ?? [], bootsTruncated: bootsTruncated ?? false, documentVersion: 0, unpublished: false }
  if (part !== undefined) return [{ ...common, part, stored, rejected, late, duplicate, rejectedByReason: { ...rejectedByReason } }]
  return [
    { ...common, part: 'readings', stored, late, duplicate, rejected: 0, rejectedByReason: {} },
    { ...common, spans: [], part: 'rejected', stored: 0, late: 0, duplicate: 0, rejected, rejectedByReason: { ...rejectedByReason } },
  ]
}
