import { InternalError } from '../../kernel/errors.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import type { Catalogue } from './questdb-catalogue.ts'
import type { LineSender } from './questdb-http.ts'
import type { Marks } from './questdb-marks.ts'
import { missingMetrics, RowEncoder } from './questdb-row-encoder.ts'
import type { QuestdbTables } from './questdb-tables.ts'

/** A new metric needs one more round; another process may take a name in between, so a few are allowed. */
const ROUNDS_MAX = 5

export interface QuestdbWriterOptions {
  catalogue: Catalogue
  marks: Marks
  tables: QuestdbTables
  sender: LineSender
  requestBytesMax: number
  /** Told which tables were written, once they are. */
  onTable: (table: string) => void
}

/**
 * Writes readings, then the offsets they bring the store to: a crash in between brings the readings again, and they replace themselves.
 * Not re-entrant; the store lets one call in at a time.
 */
export class QuestdbWriter {
  readonly #options: QuestdbWriterOptions
  readonly #encoder: RowEncoder

  constructor(options: QuestdbWriterOptions) {
    this.#options = options
    this.#encoder = new RowEncoder(options.catalogue, options.requestBytesMax)
  }

  /** Returns how many rows were stored; the others are before the remembered position of their partition, or erased. */
  async write(rows: readonly LoggedReading[], nextOffsets: ReadonlyMap<number, number>): Promise<number> {
    const { marks, tables, sender, onTable } = this.#options
    const fresh = marks.erasures.without(marks.fresh(rows, nextOffsets))
    const ahead = marks.ahead(nextOffsets)
    if (ahead.size === 0) return 0
    for (let next = 0; next < fresh.length;) next = await this.#writePart(fresh, next)
    await sender.send(marks.offsetLines(ahead))
    onTable(tables.marksName)
    marks.advance(ahead)
    return fresh.length
  }

  /** Sends rows from number `from` on, as many as one request takes; returns the number of the next. */
  async #writePart(rows: readonly LoggedReading[], from: number): Promise<number> {
    const { catalogue, tables, sender } = this.#options
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const next = this.#encoder.encode(rows, from)
      if (next !== 'incomplete') {
        await sender.send(this.#encoder.written)
        this.#noteTables(rows, from, next)
        return next
      }
      for (const { tenant, type, metrics } of missingMetrics(rows, catalogue)) await catalogue.extend(tables, tenant, type, metrics)
    }
    throw new InternalError('a metric has no column although all were just added')
  }

  #noteTables(rows: readonly LoggedReading[], from: number, to: number): void {
    const { catalogue, onTable } = this.#options
    let type: string | undefined
    let tenant: string | undefined
    for (let i = from; i < to; i++) {
      const row = rows[i] as LoggedReading
      if (row.type === type && row.tenant === tenant) continue
      type = row.type
      tenant = row.tenant
      const table = catalogue.table(tenant, type)
      if (table !== undefined) onTable(table.name)
    }
  }
}
