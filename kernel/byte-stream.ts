import { StoreError } from './errors.ts'

/** Grows as it is written: variable-length unsigned integers (7 bits a byte), doubles and length-prefixed UTF-8. */
export class ByteWriter {
  #buffer = Buffer.allocUnsafe(512)
  #length = 0

  /** Non-negative safe integers only. */
  integer(value: number): void {
    this.#reserve(8)
    let rest = value
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#buffer[this.#length++] = rest
  }
  double(value: number): void {
    this.#reserve(8)
    this.#length = this.#buffer.writeDoubleLE(value, this.#length)
  }
  /** Four bytes, little-endian. */
  uint32(value: number): void {
    this.#reserve(4)
    this.#length = this.#buffer.writeUInt32LE(value, this.#length)
  }
  /** Writes over four bytes that `uint32` wrote at this place. */
  uint32At(at: number, value: number): void {
    this.#buffer.writeUInt32LE(value, at)
  }
  text(value: string): void {
    this.integer(Buffer.byteLength(value))
    this.characters(value)
  }
  /** UTF-8 without its length. */
  characters(value: string): void {
    // Three bytes for each UTF-16 unit at most.
    this.#reserve(value.length * 3)
    this.#length += this.#buffer.write(value, this.#length)
  }
  bytes(value: Uint8Array): void {
    this.#reserve(value.byteLength)
    this.#buffer.set(value, this.#length)
    this.#length += value.byteLength
  }
  /** Bytes written so far. */
  get length(): number {
    return this.#length
  }
  /** What was written, in the writer's own memory: it holds until the next `reset` is followed by a write. */
  view(from = 0, to = this.#length): Uint8Array {
    return this.#buffer.subarray(from, to)
  }
  /** Starts again, and keeps the memory: many states are written without allocating for each. */
  reset(): void {
    this.#length = 0
  }
  #reserve(sizeBytes: number): void {
    if (this.#length + sizeBytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + sizeBytes))
    this.#buffer.copy(larger, 0, 0, this.#length)
    this.#buffer = larger
  }
}

/** What `write` wrote, in memory of its own. */
export function bytesOf(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter()
  write(writer)
  return writer.view()
}

/** Reads what ByteWriter wrote; StoreError STORE_CORRUPT where the bytes end too early. */
export class ByteReader {
  readonly #buffer: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
  integer(): number {
    let value = 0
    for (let scale = 1; ; scale *= 0x80) {
      this.#need(1)
      const byte = this.#buffer[this.#at++] as number
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
  double(): number {
    this.#need(8)
    this.#at += 8
    return this.#buffer.readDoubleLE(this.#at - 8)
  }
  uint32(): number {
    this.#need(4)
    this.#at += 4
    return this.#buffer.readUInt32LE(this.#at - 4)
  }
  /** A view. */
  bytes(sizeBytes: number): Uint8Array {
    this.#need(sizeBytes)
    this.#at += sizeBytes
    return this.#buffer.subarray(this.#at - sizeBytes, this.#at)
  }
  get atEnd(): boolean {
    return this.#at === this.#buffer.length
  }
  text(): string {
    const sizeBytes = this.integer()
    this.#need(sizeBytes)
    this.#at += sizeBytes
    return this.#buffer.toString('utf8', this.#at - sizeBytes, this.#at)
  }
  #need(sizeBytes: number): void {
    if (this.#at + sizeBytes <= this.#buffer.length) return
    throw new StoreError('STORE_CORRUPT', 'a stored state ends too early', { remedy: 'Restore the data folder from a backup.' })
  }
}
