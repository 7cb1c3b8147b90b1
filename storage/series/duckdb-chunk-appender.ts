import duckdb, { type Appender, type Connection, type DataChunk, type Vector } from '@duckdb/node-bindings'
import type { ChunkColumn } from './duckdb-columns.ts'

/**
 * Appends chunks of columns to one table, in the transaction of its connection.
 * Rows reach the transaction at `flush` (and by themselves every 204 800 rows), so a transaction must be open before the first chunk.
 */
export class ChunkAppender {
  readonly #appender: Appender
  readonly #chunk: DataChunk
  readonly #columns: readonly ChunkColumn[]
  readonly #vectors: readonly Vector[]
  #pending = false

  /** `columns` in the order of the table's columns; `catalog` is `temp` for a temporary table. */
  constructor(connection: Connection, catalog: string | null, table: string, columns: readonly ChunkColumn[]) {
    this.#appender = duckdb.appender_create_ext(connection, catalog, null, table)
    this.#chunk = duckdb.create_data_chunk(columns.map((column) => column.type.toLogicalType().logical_type))
    this.#columns = columns
    this.#vectors = columns.map((_, index) => duckdb.data_chunk_get_vector(this.#chunk, index))
  }

  /** Hands over the first `rows` rows of all columns, which are empty afterwards. */
  appendChunk(rows: number): void {
    for (let i = 0; i < this.#columns.length; i++) (this.#columns[i] as ChunkColumn).copyTo(this.#vectors[i] as Vector, rows)
    duckdb.data_chunk_set_size(this.#chunk, rows)
    this.#pending = true
    duckdb.append_data_chunk(this.#appender, this.#chunk)
    duckdb.data_chunk_reset(this.#chunk)
  }

  flush(): void {
    if (!this.#pending) return
    duckdb.appender_flush_sync(this.#appender)
    this.#pending = false
  }

  /** Flushes what is pending into the transaction and frees the appender. */
  close(): void {
    this.flush()
    duckdb.appender_close_sync(this.#appender)
  }

  /** Frees the appender without its pending rows; an appender that is merely dropped would still write them, outside any transaction. */
  discard(): void {
    for (const column of this.#columns) column.clear()
    duckdb.appender_clear(this.#appender)
    duckdb.appender_close_sync(this.#appender)
  }
}
