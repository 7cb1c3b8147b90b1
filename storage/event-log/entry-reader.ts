import { StoreError } from '../../kernel/errors.ts'
import type { LogRecord } from './event-log.ts'
import { entryCrc } from './entry-builder.ts'
import { ENTRY_AT, ENTRY_LAYOUT_VERSION, FLAG_ASCII_KEY, FLAG_HEADERS, HEADER_PREFIX_BYTES, MESSAGE_PREFIX_BYTES } from './entry-layout.ts'

const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({})

/** A record whose headers are decoded when first asked for. `value` is a view of its entry: keeping one keeps the entry in memory. */
class EntryRecord implements LogRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly appendedAt: number
  readonly key: string
  readonly schema: string
  readonly value: Buffer
  #headers: Buffer | Readonly<Record<string, string>>

  constructor(place: EntryPlace, offset: number, appendedAt: number, key: string, schema: string, value: Buffer, headers: Buffer | null) {
    this.topic = place.topic
    this.partition = place.partition
    this.offset = offset
    this.appendedAt = appendedAt
    this.key = key
    this.schema = schema
    this.value = value
    this.#headers = headers ?? NO_HEADERS
  }
  get headers(): Readonly<Record<string, string>> {
    if (Buffer.isBuffer(this.#headers)) this.#headers = decodeHeaders(this.#headers, this)
    return this.#headers
  }
}

/** Where an entry lies; for records and for error messages. */
export interface EntryPlace {
  topic: string
  partition: number
}

/** What an entry's first bytes say. Throws StoreError STORE_CORRUPT. */
export interface EntrySummary {
  count: number
  appendedAt: number
  bytesBefore: number
}

export function readEntrySummary(entry: Buffer, place: EntryPlace, baseOffset: number): EntrySummary {
  if (entry.length < ENTRY_AT.body || entry[ENTRY_AT.version] !== ENTRY_LAYOUT_VERSION) throw corrupt(place, baseOffset)
  return {
    count: entry.readUInt32LE(ENTRY_AT.messages),
    appendedAt: entry.readDoubleLE(ENTRY_AT.appendedAt),
    bytesBefore: entry.readDoubleLE(ENTRY_AT.bytesBefore),
  }
}

/** Reads one entry's messages in slices, front to back. The bytes must be the reader's own: a database's are valid in its transaction only. */
export class EntryReader {
  readonly baseOffset: number
  /** Offset after its last message. */
  readonly endOffset: number
  readonly #entry: Buffer
  readonly #place: EntryPlace
  readonly #appendedAt: number
  readonly #schemas: string[]
  readonly #bodyEnd: number
  #offset: number
  #at: number = ENTRY_AT.body

  /** Throws StoreError STORE_CORRUPT when the entry is not what was written. */
  constructor(entry: Buffer, place: EntryPlace, baseOffset: number) {
    const { count, appendedAt } = readEntrySummary(entry, place, baseOffset)
    this.#entry = entry
    this.#place = place
    this.#appendedAt = appendedAt
    this.baseOffset = baseOffset
    this.endOffset = baseOffset + count
    this.#offset = baseOffset
    this.#bodyEnd = entry.readUInt32LE(ENTRY_AT.schemaTable)
    if (count === 0 || entry.readUInt32LE(ENTRY_AT.crc) !== entryCrc(entry)) throw corrupt(place, baseOffset)
    this.#schemas = this.#readSchemas()
  }

  /** The next message read is the one at this offset, which must lie in the entry. */
  seek(offset: number): void {
    if (offset < this.#offset) {
      this.#offset = this.baseOffset
      this.#at = ENTRY_AT.body
    }
    while (this.#offset < offset) this.#skip()
  }

  /** Appends up to `recordsMax` records to `into`; returns how many. */
  read(into: LogRecord[], recordsMax: number): number {
    const end = Math.min(this.endOffset, this.#offset + recordsMax)
    const start = this.#offset
    while (this.#offset < end) into.push(this.#next())
    return end - start
  }

  #next(): EntryRecord {
    const entry = this.#entry
    let at = this.#at
    if (at + MESSAGE_PREFIX_BYTES > this.#bodyEnd) throw this.#corrupt()
    const valueBytes = readU32(entry, at)
    const keyBytes = entry[at + 4]! | (entry[at + 5]! << 8)
    const schema = this.#schemas[entry[at + 6]!]
    const flags = entry[at + 7]!
    at += MESSAGE_PREFIX_BYTES
    const keyAt = at
    at += keyBytes
    let headers: Buffer | null = null
    if ((flags & FLAG_HEADERS) !== 0) {
      if (at + 4 > this.#bodyEnd) throw this.#corrupt()
      const headersEnd = at + 4 + readU32(entry, at)
      if (headersEnd > this.#bodyEnd) throw this.#corrupt()
      headers = entry.subarray(at + 4, headersEnd)
      at = headersEnd
    }
    const end = at + valueBytes
    if (schema === undefined || end > this.#bodyEnd) throw this.#corrupt()
    const key = entry.toString((flags & FLAG_ASCII_KEY) === 0 ? 'utf8' : 'latin1', keyAt, keyAt + keyBytes)
    this.#at = end
    return new EntryRecord(this.#place, this.#offset++, this.#appendedAt, key, schema, entry.subarray(at, end), headers)
  }

  #skip(): void {
    const entry = this.#entry
    let at = this.#at
    if (at + MESSAGE_PREFIX_BYTES > this.#bodyEnd) throw this.#corrupt()
    const valueBytes = readU32(entry, at)
    const flags = entry[at + 7]!
    at += MESSAGE_PREFIX_BYTES + (entry[at + 4]! | (entry[at + 5]! << 8))
    if ((flags & FLAG_HEADERS) !== 0) {
      if (at + 4 > this.#bodyEnd) throw this.#corrupt()
      at += 4 + readU32(entry, at)
    }
    this.#at = at + valueBytes
    this.#offset++
  }

  #readSchemas(): string[] {
    const entry = this.#entry
    const schemas: string[] = []
    let at = this.#bodyEnd
    for (let i = 0; i < entry[ENTRY_AT.schemas]!; i++) {
      const end = at + 1 + (entry[at] ?? 0)
      if (end > entry.length) throw this.#corrupt()
      schemas.push(entry.toString('utf8', at + 1, end))
      at = end
    }
    if (at !== entry.length) throw this.#corrupt()
    return schemas
  }

  #corrupt(): StoreError {
    return corrupt(this.#place, this.baseOffset)
  }
}

function decodeHeaders(bytes: Buffer, record: LogRecord): Readonly<Record<string, string>> {
  const pairs: [string, string][] = []
  let at = 0
  while (at < bytes.length) {
    const nameAt = at + HEADER_PREFIX_BYTES
    if (nameAt > bytes.length) throw corrupt(record, record.offset)
    const valueAt = nameAt + bytes.readUInt16LE(at)
    const end = valueAt + bytes.readUInt32LE(at + 2)
    if (end > bytes.length) throw corrupt(record, record.offset)
    pairs.push([bytes.toString('utf8', nameAt, valueAt), bytes.toString('utf8', valueAt, end)])
    at = end
  }
  return Object.fromEntries(pairs)
}

function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

function corrupt(place: EntryPlace, offset: number): StoreError {
  return new StoreError('STORE_CORRUPT', `the event log is damaged at offset ${offset} of partition ${place.partition} of ${place.topic}`, {
    remedy: 'Keep a copy of the data folder and restore it from a backup; nothing was overwritten.',
    details: { topic: place.topic, partition: place.partition, offset },
  })
}
