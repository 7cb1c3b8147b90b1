import { NumberSet, type NumberRange } from './number-set.ts'

/** An item of `GET /readings`. */
export interface StoredRow {
  ts: number
  receivedAt: number
  boot: string | null
  seq: number | null
}

const HOUR_MS = 3_600_000
/** Rows stored twice that are remembered one by one; more are a flood whose first ones tell enough. */
const TWICE_MAX = 1_000

/** Counts the stored rows of one device, which come newest event time first: rows of one identity come together. */
export class StoredReadings {
  rows = 0
  /** Rows by hour of receipt, each identity once. */
  readonly byHour = new Map<number, number>()
  /** Those of them that were received before `settledBefore`. */
  readonly settledByHour = new Map<number, number>()
  /** Numbers that were stored twice with one event time; a row without number is named by its event time. */
  readonly twice: (NumberRange & { boot: string })[] = []
  /** Rows whose number is larger than that of the row with the next later event time. */
  disordered = 0
  readonly #settledBefore: number
  readonly #numbers = new Map<string, NumberSet>()
  readonly #lastSeq = new Map<string, number>()
  /** Rows of the event time at hand. */
  #ts: number | undefined
  #sameTs = new Map<string, NumberSet>()
  #unnumbered = 0

  /** `settledBefore`: the ledger has every reading received before this instant, epoch ms. */
  constructor(settledBefore: number) {
    this.#settledBefore = settledBefore
  }

  add(row: StoredRow): void {
    this.rows++
    if (row.ts !== this.#ts) {
      this.#ts = row.ts
      this.#sameTs = new Map()
      this.#unnumbered = 0
    }
    const isNew = row.seq === null ? this.#addUnnumbered(row) : this.#addNumbered(row.boot ?? '', row.seq)
    if (!isNew) return
    const hour = Math.floor(row.receivedAt / HOUR_MS) * HOUR_MS
    count(this.byHour, hour)
    if (row.receivedAt < this.#settledBefore) count(this.settledByHour, hour)
  }

  /** Numbers stored of one boot. */
  numbersOf(boot: string): NumberSet {
    return setOf(this.#numbers, boot)
  }

  #addNumbered(boot: string, seq: number): boolean {
    if (!setOf(this.#sameTs, boot).add(seq)) return this.#note(boot, seq)
    setOf(this.#numbers, boot).add(seq)
    const later = this.#lastSeq.get(boot)
    if (later !== undefined && seq > later) this.disordered++
    this.#lastSeq.set(boot, seq)
    return true
  }

  /** Without number the event time is the identity, unless the device sent none: then two readings of one instant are two. */
  #addUnnumbered(row: StoredRow): boolean {
    return row.ts === row.receivedAt || ++this.#unnumbered === 1 || this.#note('', row.ts)
  }

  /** Notes a row of an identity that was seen before: it makes up for no other. */
  #note(boot: string, seq: number): false {
    const last = this.twice.at(-1)
    if (last?.boot === boot && last.from === seq + 1) last.from = seq
    else if (this.twice.length < TWICE_MAX) this.twice.push({ boot, from: seq, to: seq })
    return false
  }
}

function count(hours: Map<number, number>, hour: number): void {
  hours.set(hour, (hours.get(hour) ?? 0) + 1)
}

function setOf(sets: Map<string, NumberSet>, boot: string): NumberSet {
  let set = sets.get(boot)
  if (set === undefined) sets.set(boot, (set = new NumberSet()))
  return set
}
