import type { Connection } from '@duckdb/node-bindings'
import { InvalidInputError } from '../../kernel/errors.ts'
import type { LoggedReading, MetricValue } from '../../contracts/reading.ts'
import type { TypeTable } from './duckdb-catalogue.ts'
import { ChunkAppender } from './duckdb-chunk-appender.ts'
import { CHUNK_ROWS, Int32Column, Int64Column, metricColumn, TextColumn, type ChunkColumn } from './duckdb-columns.ts'

/** Fills a wide table's columns from readings. The hot path of the whole store: one pass over the readings, no allocation per reading. */
export class TableAppender {
  readonly table: TypeTable
  readonly columnCount: number
  readonly #tenant: TextColumn
  readonly #device: TextColumn
  readonly #ts = new Int64Column()
  readonly #receivedAt = new Int64Column()
  readonly #boot: TextColumn
  readonly #seq = new Int64Column()
  readonly #partition = new Int32Column()
  readonly #offset = new Int64Column()
  readonly #metrics = new Map<string, ChunkColumn>()
  readonly #chunks: ChunkAppender

  constructor(connection: Connection, table: TypeTable) {
    this.table = table
    this.#tenant = new TextColumn()
    this.#device = new TextColumn()
    this.#boot = new TextColumn()
    for (const { metric, kind } of table.metrics.values()) this.#metrics.set(metric, metricColumn(kind))
    const fixed = [this.#tenant, this.#device, this.#ts, this.#receivedAt, this.#boot, this.#seq, this.#partition, this.#offset]
    const columns = [...fixed, ...this.#metrics.values()]
    this.columnCount = columns.length
    this.#chunks = new ChunkAppender(connection, null, table.name, columns)
  }

  /** False when a metric has no column yet: what was appended so far must then be discarded. */
  append(readings: readonly LoggedReading[]): boolean {
    for (let begin = 0; begin < readings.length; begin += CHUNK_ROWS) {
      const rows = Math.min(CHUNK_ROWS, readings.length - begin)
      for (let row = 0; row < rows; row++) {
        if (!this.#put(row, readings[begin + row] as LoggedReading)) return false
      }
      this.#chunks.appendChunk(rows)
    }
    return true
  }

  #put(row: number, reading: LoggedReading): boolean {
    this.#tenant.put(row, reading.tenant)
    this.#device.put(row, reading.device)
    this.#ts.put(row, reading.ts)
    this.#receivedAt.put(row, reading.receivedAt)
    if (reading.boot !== undefined) this.#boot.put(row, reading.boot)
    if (reading.seq !== undefined) this.#seq.put(row, reading.seq)
    this.#partition.put(row, reading.partition)
    this.#offset.put(row, reading.offset)
    const values = reading.values
    for (const metric in values) {
      const column = this.#metrics.get(metric)
      if (column === undefined) return false
      if (!column.putValue(row, values[metric] as MetricValue)) throw this.#kindChanged(reading, metric)
    }
    return true
  }

  flush(): void {
    this.#chunks.flush()
  }
  close(): void {
    this.#chunks.close()
  }
  discard(): void {
    this.#chunks.discard()
  }

  #kindChanged(reading: LoggedReading, metric: string): InvalidInputError {
    const { kind } = this.table.metrics.get(metric) as { kind: string }
    const { device, type, partition, offset } = reading
    return new InvalidInputError(
      `metric ${JSON.stringify(metric)} of type ${type} holds values of kind ${kind}, device ${device} sent another`,
      {
        code: 'METRIC_KIND_CHANGED',
        remedy: 'Rename the metric, or give the device a type of its own.',
        details: { type, metric, kind, device, partition, offset },
      },
    )
  }
}

/** The appenders in use, at most `openColumnsMax` columns of them, the least recently used closed first. */
export class TableAppenders {
  readonly #connection: Connection
  readonly #openColumnsMax: number
  readonly #open = new Map<string, TableAppender>()
  #columns = 0

  constructor(connection: Connection, openColumnsMax: number) {
    this.#connection = connection
    this.#openColumnsMax = openColumnsMax
  }

  /** The appender of a table as it is now; one made for fewer columns is replaced. */
  of(table: TypeTable): TableAppender {
    const open = this.#open.get(table.key)
    if (open !== undefined) {
      this.#open.delete(table.key)
      if (open.table === table) {
        this.#open.set(table.key, open)
        return open
      }
      this.#columns -= open.columnCount
      open.close()
    }
    const appender = new TableAppender(this.#connection, table)
    this.#open.set(table.key, appender)
    this.#columns += appender.columnCount
    this.#closeOldest()
    return appender
  }

  flush(): void {
    for (const appender of this.#open.values()) appender.flush()
  }

  close(): void {
    for (const appender of this.#take()) appender.close()
  }

  /** Drops all appenders with whatever is pending in them. */
  discard(): void {
    for (const appender of this.#take()) appender.discard()
  }

  #take(): TableAppender[] {
    const all = [...this.#open.values()]
    this.#open.clear()
    this.#columns = 0
    return all
  }

  #closeOldest(): void {
    for (const [type, appender] of this.#open) {
      if (this.#columns <= this.#openColumnsMax || this.#open.size === 1) return
      this.#open.delete(type)
      this.#columns -= appender.columnCount
      appender.close()
    }
  }
}
