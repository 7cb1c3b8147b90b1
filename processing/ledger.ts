/** Counts of readings; `received` are those acknowledged, whatever became of them. */
export interface LedgerCounts {
  received: number
  stored: number
  rejected: number
  late: number
  duplicate: number
}

export interface LedgerHour extends LedgerCounts {
  /** Start of the hour of receipt, epoch ms. */
  hour: number
  rejectedByReason: Record<string, number>
}

const HOUR_MS = 3_600_000
/** Receipt times of several edges differ by less than this many hours: older hours are final. */
const HOURS_HELD = 2

export function emptyCounts(): LedgerCounts {
  return { received: 0, stored: 0, rejected: 0, late: 0, duplicate: 0 }
}

/** One device's part of the ledger: totals since its first reading, and the hours that may still change. */
export class DeviceLedger {
  readonly totals: LedgerCounts
  hours: LedgerHour[]
  #current: LedgerHour | undefined
  /** Hours changed since the last flush. */
  readonly dirty = new Set<LedgerHour>()

  constructor(data?: { totals: LedgerCounts; hours: LedgerHour[] }) {
    this.totals = data?.totals ?? emptyCounts()
    this.hours = data?.hours ?? []
  }

  hourOf(receivedAt: number): LedgerHour {
    const current = this.#current
    if (current !== undefined && receivedAt >= current.hour && receivedAt < current.hour + HOUR_MS) return current
    const start = Math.floor(receivedAt / HOUR_MS) * HOUR_MS
    let hour = this.hours.find((other) => other.hour === start)
    if (hour === undefined) {
      hour = { hour: start, ...emptyCounts(), rejectedByReason: {} }
      this.hours.push(hour)
    }
    this.#current = hour
    return hour
  }

  /** Forgets hours that are final and flushed. */
  prune(): void {
    if (this.hours.length <= HOURS_HELD) return
    const newest = Math.max(...this.hours.map((hour) => hour.hour))
    this.hours = this.hours.filter((hour) => hour.hour > newest - HOURS_HELD * HOUR_MS || this.dirty.has(hour))
  }
}
