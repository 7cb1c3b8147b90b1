import { crc32 } from 'node:zlib'
import type { LogMessage } from './event-log.ts'
import {
  ENTRY_AT,
  ENTRY_LAYOUT_VERSION,
  FLAG_ASCII_KEY,
  FLAG_HEADERS,
  HEADER_PREFIX_BYTES,
  MESSAGE_PREFIX_BYTES,
  SCHEMAS_PER_ENTRY_MAX,
  UTF8_BYTES_PER_UNIT,
} from './entry-layout.ts'

/** A key as bytes, kept in one scratch buffer from hashing it until it is packed. */
export class KeyScratch {
  readonly bytes: Buffer
  length = 0
  isAscii = true

  constructor(charactersMax: number) {
    this.bytes = Buffer.allocUnsafeSlow(charactersMax * UTF8_BYTES_PER_UNIT)
  }
  set(key: string): void {
    const { bytes } = this
    for (let i = 0; i < key.length; i++) {
      const code = key.charCodeAt(i)
      if (code > 127) {
        this.length = bytes.write(key, 0, 'utf8')
        this.isAscii = false
        return
      }
      bytes[i] = code
    }
    this.length = key.length
    this.isAscii = true
  }
}

/** Packs messages of one partition into one entry; see entry-layout.ts. Message bytes are copied at once, so callers may reuse theirs. */
export class EntryBuilder {
  readonly partition: number
  readonly buffer: Buffer
  count = 0
  /** Set when the entry has its place in the log. */
  baseOffset = -1
  #length: number = ENTRY_AT.body
  #tableBytes = 0
  #sealedBytes = 0
  readonly #schemas: string[] = []

  constructor(partition: number, buffer: Buffer) {
    this.partition = partition
    this.buffer = buffer
  }

  /** Bytes of the sealed entry. */
  get bytes(): number {
    return this.#sealedBytes
  }

  /** Bytes that a buffer needs to hold one message of this size with its schema name. */
  static bytesFor(messageBytesMax: number, schema: string): number {
    return ENTRY_AT.body + messageBytesMax + 1 + schema.length * UTF8_BYTES_PER_UNIT
  }

  /** Whether a message of at most this many bytes still fits. */
  fits(messageBytesMax: number, schema: string): boolean {
    const free = this.buffer.length - this.#length - this.#tableBytes
    if (this.#schemas.includes(schema)) return free >= messageBytesMax
    return this.#schemas.length < SCHEMAS_PER_ENTRY_MAX && free >= messageBytesMax + 1 + schema.length * UTF8_BYTES_PER_UNIT
  }

  add(key: KeyScratch, message: LogMessage): void {
    const { buffer } = this
    const { value } = message
    const start = this.#length
    let at = start + MESSAGE_PREFIX_BYTES
    const keyBytes = key.bytes
    for (let i = 0; i < key.length; i++) buffer[at + i] = keyBytes[i]!
    at += key.length
    let flags = key.isAscii ? FLAG_ASCII_KEY : 0
    if (message.headers !== undefined) {
      const after = writeHeaders(buffer, at, message.headers)
      if (after !== at) flags |= FLAG_HEADERS
      at = after
    }
    buffer.set(value, at)
    writeU32(buffer, start, value.byteLength)
    buffer[start + 4] = key.length & 255
    buffer[start + 5] = key.length >>> 8
    buffer[start + 6] = this.#schemaIndex(message.schema)
    buffer[start + 7] = flags
    this.#length = at + value.byteLength
    this.count++
  }

  /** Writes what is known only at the commit, and returns the entry. May be called again when a commit is repeated. */
  seal(baseOffset: number, appendedAt: number, bytesBefore: number): Buffer {
    const { buffer } = this
    if (this.#sealedBytes === 0) this.#writeSchemaTable()
    this.baseOffset = baseOffset
    buffer[ENTRY_AT.version] = ENTRY_LAYOUT_VERSION
    buffer[ENTRY_AT.schemas] = this.#schemas.length
    buffer.writeUInt16LE(0, ENTRY_AT.schemas + 1)
    buffer.writeUInt32LE(this.count, ENTRY_AT.messages)
    buffer.writeDoubleLE(appendedAt, ENTRY_AT.appendedAt)
    buffer.writeDoubleLE(bytesBefore, ENTRY_AT.bytesBefore)
    buffer.writeUInt32LE(this.#length, ENTRY_AT.schemaTable)
    const entry = buffer.subarray(0, this.#sealedBytes)
    buffer.writeUInt32LE(entryCrc(entry), ENTRY_AT.crc)
    return entry
  }

  #writeSchemaTable(): void {
    let at = this.#length
    for (const schema of this.#schemas) {
      const bytes = this.buffer.write(schema, at + 1, 'utf8')
      this.buffer[at] = bytes
      at += 1 + bytes
    }
    this.#sealedBytes = at
  }

  #schemaIndex(schema: string): number {
    const known = this.#schemas.indexOf(schema)
    if (known >= 0) return known
    this.#tableBytes += 1 + schema.length * UTF8_BYTES_PER_UNIT
    return this.#schemas.push(schema) - 1
  }
}

/** CRC-32 of an entry without the field that holds it. */
export function entryCrc(entry: Uint8Array): number {
  return crc32(entry.subarray(ENTRY_AT.body), crc32(entry.subarray(0, ENTRY_AT.crc)))
}

/** Writes the length and the pairs; returns where they end, or `at` when there are none. */
function writeHeaders(buffer: Buffer, at: number, headers: Readonly<Record<string, string>>): number {
  let end = at + 4
  for (const name in headers) {
    const value = headers[name]!
    const nameBytes = buffer.write(name, end + HEADER_PREFIX_BYTES, 'utf8')
    const valueBytes = buffer.write(value, end + HEADER_PREFIX_BYTES + nameBytes, 'utf8')
    buffer[end] = nameBytes & 255
    buffer[end + 1] = nameBytes >>> 8
    writeU32(buffer, end + 2, valueBytes)
    end += HEADER_PREFIX_BYTES + nameBytes + valueBytes
  }
  if (end === at + 4) return at
  writeU32(buffer, at, end - at - 4)
  return end
}

function writeU32(buffer: Buffer, at: number, value: number): void {
  buffer[at] = value & 255
  buffer[at + 1] = (value >>> 8) & 255
  buffer[at + 2] = (value >>> 16) & 255
  buffer[at + 3] = value >>> 24
}
