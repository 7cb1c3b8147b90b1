import duckdb, { type Vector } from '@duckdb/node-bindings'
import { BIGINT, BOOLEAN, DOUBLE, INTEGER, VARCHAR, type DuckDBType } from '@duckdb/node-api'
import type { MetricKind } from '../../contracts/device.ts'
import type { MetricValue } from '../../contracts/reading.ts'

/** Rows of one vector, fixed in DuckDB (2048). */
export const CHUNK_ROWS = duckdb.vector_size()

const TWO_TO_32 = 4_294_967_296

/**
 * One column of a chunk being filled: a typed array in DuckDB's own layout, handed over in one copy per 2048 rows.
 * A row that is not put is NULL. Measured against the vectors of node-api (a call, a BigInt and a validity word per value) this costs a fifth.
 */
export abstract class ChunkColumn {
  abstract readonly type: DuckDBType
  protected abstract readonly bytes: ArrayBuffer
  protected abstract readonly rowBytes: number
  readonly #validity = new Uint8Array(CHUNK_ROWS / 8)
  #present = 0

  /** Puts a metric's value; false when it is of another kind than the column. */
  abstract putValue(row: number, value: MetricValue): boolean

  protected markPresent(row: number): void {
    const byte = row >> 3
    this.#validity[byte] = (this.#validity[byte] as number) | (1 << (row & 7))
    this.#present++
  }

  /** Copies the first `rows` rows into the vector and empties this column. */
  copyTo(vector: Vector, rows: number): void {
    duckdb.copy_data_to_vector(vector, 0, this.bytes, 0, rows * this.rowBytes)
    if (this.#present < rows) {
      duckdb.vector_ensure_validity_writable(vector)
      duckdb.copy_data_to_vector_validity(vector, 0, this.#validity.buffer, 0, Math.ceil(rows / 64) * 8)
    }
    this.clear()
  }

  clear(): void {
    if (this.#present > 0) this.#validity.fill(0)
    this.#present = 0
  }
}

/** BIGINT from JavaScript's safe integers, written as two 32-bit halves: no BigInt is made. */
export class Int64Column extends ChunkColumn {
  readonly type = BIGINT
  protected readonly rowBytes = 8
  readonly #halves = new Uint32Array(CHUNK_ROWS * 2)
  protected readonly bytes = this.#halves.buffer

  put(row: number, value: number): void {
    this.#halves[row * 2] = value >>> 0
    this.#halves[row * 2 + 1] = Math.floor(value / TWO_TO_32)
    this.markPresent(row)
  }
  putValue(): boolean {
    return false
  }
}

export class Int32Column extends ChunkColumn {
  readonly type = INTEGER
  protected readonly rowBytes = 4
  readonly #values = new Int32Array(CHUNK_ROWS)
  protected readonly bytes = this.#values.buffer

  put(row: number, value: number): void {
    this.#values[row] = value
    this.markPresent(row)
  }
  putValue(): boolean {
    return false
  }
}

export class DoubleColumn extends ChunkColumn {
  readonly type = DOUBLE
  protected readonly rowBytes = 8
  readonly #values = new Float64Array(CHUNK_ROWS)
  protected readonly bytes = this.#values.buffer

  putValue(row: number, value: MetricValue): boolean {
    if (typeof value !== 'number') return false
    this.#values[row] = value
    this.markPresent(row)
    return true
  }
}

export class BooleanColumn extends ChunkColumn {
  readonly type = BOOLEAN
  protected readonly rowBytes = 1
  readonly #values = new Uint8Array(CHUNK_ROWS)
  protected readonly bytes = this.#values.buffer

  putValue(row: number, value: MetricValue): boolean {
    if (typeof value !== 'boolean') return false
    this.#values[row] = value ? 1 : 0
    this.markPresent(row)
    return true
  }
}

const INLINE_BYTES = 12
const ASCII_END = 0x80

/**
 * VARCHAR. DuckDB keeps texts of up to 12 bytes inside the 16 bytes of the vector (length, then the bytes), so those go by copy; longer ones
 * by one call each.
 */
export class TextColumn extends ChunkColumn {
  readonly type = VARCHAR
  protected readonly rowBytes = 16
  readonly #cells = new Uint8Array(CHUNK_ROWS * 16)
  protected readonly bytes = this.#cells.buffer
  #longRows: number[] = []
  #longTexts: string[] = []

  put(row: number, text: string): void {
    if (!this.#putInline(row * 16, text)) {
      this.#longRows.push(row)
      this.#longTexts.push(text)
    }
    this.markPresent(row)
  }
  putValue(row: number, value: MetricValue): boolean {
    if (typeof value !== 'string') return false
    this.put(row, value)
    return true
  }
  override copyTo(vector: Vector, rows: number): void {
    const longRows = this.#longRows
    const longTexts = this.#longTexts
    super.copyTo(vector, rows)
    for (let i = 0; i < longRows.length; i++) duckdb.vector_assign_string_element(vector, longRows[i] as number, longTexts[i] as string)
  }
  override clear(): void {
    super.clear()
    this.#cells.fill(0)
    if (this.#longRows.length > 0) {
      this.#longRows = []
      this.#longTexts = []
    }
  }

  /** False when the text is longer; the cell is then to be written by DuckDB. */
  #putInline(at: number, text: string): boolean {
    if (text.length > INLINE_BYTES) return false
    const cells = this.#cells
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit >= ASCII_END) return this.#putUtf8(at, text)
      cells[at + 4 + i] = unit
    }
    cells[at] = text.length
    return true
  }
  #putUtf8(at: number, text: string): boolean {
    const utf8 = Buffer.from(text, 'utf8')
    const fits = utf8.length <= INLINE_BYTES
    this.#cells.fill(0, at, at + 16)
    if (fits) {
      this.#cells.set(utf8, at + 4)
      this.#cells[at] = utf8.length
    }
    return fits
  }
}

/** The column that holds values of a metric's kind. */
export function metricColumn(kind: MetricKind): ChunkColumn {
  if (kind === 'number') return new DoubleColumn()
  return kind === 'boolean' ? new BooleanColumn() : new TextColumn()
}
