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

/** VARCHAR. DuckDB keeps texts of up to 12 bytes inside the 16 bytes of the vector, so those go by copy; longer ones by one call each. */
export class TextColumn extends ChunkColumn {
  readonly type = VARCHAR
  protected readonly rowBytes = 16
  readonly #words = new Uint32Array(CHUNK_ROWS * 4)
  protected readonly bytes = this.#words.buffer
  readonly #inline: InlineTexts
  #lastText = ''
  #last: Uint32Array | null = new Uint32Array(4)
  #longRows: number[] = []
  #longTexts: string[] = []

  constructor(inline: InlineTexts) {
    super()
    this.#inline = inline
  }

  put(row: number, text: string): void {
    const words = this.#words
    const at = row * 4
    if (text !== this.#lastText) {
      this.#last = this.#inline.encode(text)
      this.#lastText = text
    }
    const encoded = this.#last
    if (encoded === null) {
      words[at] = words[at + 1] = words[at + 2] = words[at + 3] = 0
      this.#longRows.push(row)
      this.#longTexts.push(text)
    } else {
      words[at] = encoded[0] as number
      words[at + 1] = encoded[1] as number
      words[at + 2] = encoded[2] as number
      words[at + 3] = encoded[3] as number
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
    this.#words.fill(0)
    if (this.#longRows.length > 0) {
      this.#longRows = []
      this.#longTexts = []
    }
  }
}

const INLINE_BYTES = 12
/** Texts remembered; devices, boots and modes repeat, free text does not and must not fill memory (about 200 bytes each). */
const INLINE_TEXTS_MAX = 65_536

/** Short texts in DuckDB's layout (length, then up to 12 bytes of UTF-8), remembered because the same ones come again and again. */
export class InlineTexts {
  readonly #known = new Map<string, Uint32Array | null>()

  /** Four 32-bit words, or null when the text is longer. */
  encode(text: string): Uint32Array | null {
    let encoded = this.#known.get(text)
    if (encoded === undefined) {
      encoded = encodeInline(text)
      if (this.#known.size >= INLINE_TEXTS_MAX) this.#known.clear()
      this.#known.set(text, encoded)
    }
    return encoded
  }
}

function encodeInline(text: string): Uint32Array | null {
  const utf8 = Buffer.from(text, 'utf8')
  if (utf8.length > INLINE_BYTES) return null
  const bytes = new Uint8Array(16)
  bytes[0] = utf8.length
  bytes.set(utf8, 4)
  return new Uint32Array(bytes.buffer)
}

/** The column that holds values of a metric's kind. */
export function metricColumn(kind: MetricKind, inline: InlineTexts): ChunkColumn {
  if (kind === 'number') return new DoubleColumn()
  return kind === 'boolean' ? new BooleanColumn() : new TextColumn(inline)
}
