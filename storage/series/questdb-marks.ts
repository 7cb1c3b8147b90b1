import { InternalError } from '../../kernel/errors.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { Erasures } from './erasures.ts'
import { LineBuffer } from './questdb-lines.ts'
import type { QuestdbSql } from './questdb-sql.ts'

const NEXT_OFFSET = 'next-offset-'
const RECEIVED_BEFORE = 'received-before'
/** Then tenant and device. */
const ERASED = 'erased-'
/** What an erased reading was received at, ms: before everything that is kept. */
export const ERASED_RECEIVED_AT = 0
const BUFFER_BYTES = 4_096

/**
 * Numbers kept beside the readings, a row each in the table of marks: the next offset of every partition, and the instant before which
 * readings are removed. Both only grow; a process that is behind may set an offset back, and what is then written again replaces itself.
 */
export class Marks {
  readonly #table: string
  readonly #nextOffsets = new Map<number, number>()
  readonly #lines = new LineBuffer(BUFFER_BYTES)
  #receivedBefore = 0
  /** Devices whose readings were erased. */
  readonly erasures = new Erasures()

  constructor(table: string) {
    this.#table = table
  }

  /** Next offset to be stored per partition, as last known. */
  get nextOffsets(): ReadonlyMap<number, number> {
    return this.#nextOffsets
  }
  /** Readings received before this instant (epoch ms) are removed; 0 while none are. */
  get receivedBefore(): number {
    return this.erasures.size === 0 ? this.#receivedBefore : Math.max(this.#receivedBefore, ERASED_RECEIVED_AT + 1)
  }

  async load(sql: QuestdbSql): Promise<void> {
    const rows = await sql.rows('read positions', `SELECT mark, value FROM ${this.#table}`)
    for (const [mark, value] of rows as [string, number][]) {
      if (mark === RECEIVED_BEFORE) this.raiseReceivedBefore(value)
      else if (mark.startsWith(ERASED)) {
        const [tenant, device] = mark.slice(ERASED.length).split('/') as [string, string]
        this.erasures.note(tenant, device, value)
      } else if (mark.startsWith(NEXT_OFFSET)) this.advance(new Map([[Number(mark.slice(NEXT_OFFSET.length)), value]]))
    }
  }

  advance(nextOffsets: ReadonlyMap<number, number>): void {
    for (const [partition, next] of this.ahead(nextOffsets)) this.#nextOffsets.set(partition, next)
  }
  raiseReceivedBefore(instant: number): void {
    this.#receivedBefore = Math.max(this.#receivedBefore, instant)
  }

  /** Those that are beyond what is known. */
  ahead(nextOffsets: ReadonlyMap<number, number>): Map<number, number> {
    return new Map([...nextOffsets].filter(([partition, next]) => next > (this.#nextOffsets.get(partition) ?? 0)))
  }

  /**
   * The rows at or after the remembered offset of their partition; the very same array when that is all of them, as it nearly always is.
   * InternalError for a row that its next offset does not cover: a replay would bring it again.
   */
  fresh(rows: readonly LoggedReading[], nextOffsets: ReadonlyMap<number, number>): readonly LoggedReading[] {
    let stale = 0
    let partition = -1
    let position = 0
    let next = 0
    for (const row of rows) {
      if (row.partition !== partition) {
        partition = row.partition
        position = this.#nextOffsets.get(partition) ?? 0
        next = nextOffsets.get(partition) ?? 0
      }
      if (row.offset < position) stale++
      else if (row.offset >= next) {
        throw new InternalError(
          `row at offset ${row.offset} of partition ${partition} is not covered by its next offset ${next}: a replay would store it twice`,
        )
      }
    }
    return stale === 0 ? rows : rows.filter((row) => row.offset >= (this.#nextOffsets.get(row.partition) ?? 0))
  }

  /** Lines that set next offsets; valid until the next lines. */
  offsetLines(nextOffsets: ReadonlyMap<number, number>): Uint8Array {
    this.#lines.clear()
    for (const [partition, next] of nextOffsets) this.#putLine(`${NEXT_OFFSET}${partition}`, next)
    return this.#lines.written
  }
  receivedBeforeLines(instant: number): Uint8Array {
    this.#lines.clear()
    this.#putLine(RECEIVED_BEFORE, instant)
    return this.#lines.written
  }

  erasedLines(tenant: string, device: string, receivedBefore: number): Uint8Array {
    this.#lines.clear()
    this.#putLine(`${ERASED}${tenant}/${device}`, receivedBefore)
    return this.#lines.written
  }

  #putLine(mark: string, value: number): void {
    this.#lines.putBytes(Buffer.from(`${this.#table} mark="${mark}",value=`))
    this.#lines.putInteger(value)
    this.#lines.putBytes(Buffer.from(' '))
    this.#lines.putTime(0)
    this.#lines.endLine()
  }
}
