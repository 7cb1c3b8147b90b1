import { KafkaBytesReader, varintBytes, writeVarint } from './kafka-bytes.ts'

/** The record header that holds a message's schema, always the first. */
const SCHEMA_HEADER = Buffer.from('schema')
/** Schemas are few: their names come from the program. Above this many, the least recent ones are made again. */
const CACHED_BLOCKS_MAX = 256

/** The headers part of a record. */
export interface RecordHeaders {
  schema: string
  headers: Readonly<Record<string, string>>
}

const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({})

/** Writes the headers part of records; that of a message with nothing but a schema is made once. */
export class RecordHeadersWriter {
  readonly #blocks = new Map<string, Buffer>()

  block(schema: string, headers: Readonly<Record<string, string>> | undefined): Buffer {
    if (headers !== undefined && Object.keys(headers).length > 0) return encode(schema, headers)
    let block = this.#blocks.get(schema)
    if (block === undefined) {
      block = encode(schema, NO_HEADERS)
      if (this.#blocks.size >= CACHED_BLOCKS_MAX) this.#blocks.clear()
      this.#blocks.set(schema, block)
    }
    return block
  }
}

/** Reads the headers part of records; one that is byte for byte that of the record before is not read again. */
export class RecordHeadersReader {
  #block = Buffer.alloc(0)
  #last: RecordHeaders = { schema: '', headers: NO_HEADERS }

  read(bytes: Buffer, start: number, end: number): RecordHeaders {
    if (this.#block.length === end - start && this.#block.compare(bytes, start, end) === 0) return this.#last
    this.#last = decode(new KafkaBytesReader(bytes, start))
    // A copy: the block must not keep the whole answer it came in.
    this.#block = Buffer.from(bytes.subarray(start, end))
    return this.#last
  }
}

function encode(schema: string, headers: Readonly<Record<string, string>>): Buffer {
  const pairs: [Buffer, Buffer][] = [[SCHEMA_HEADER, Buffer.from(schema)]]
  for (const [name, value] of Object.entries(headers)) pairs.push([Buffer.from(name), Buffer.from(value)])
  let size = varintBytes(pairs.length)
  for (const pair of pairs) for (const part of pair) size += varintBytes(part.length) + part.length
  const block = Buffer.allocUnsafe(size)
  let at = writeVarint(block, 0, pairs.length)
  for (const pair of pairs) {
    for (const part of pair) {
      at = writeVarint(block, at, part.length)
      at += part.copy(block, at)
    }
  }
  return block
}

/** What others appended may have no schema header: then it is empty. As entries, because assigning to `__proto__` makes no header. */
function decode(reader: KafkaBytesReader): RecordHeaders {
  const pairs: [string, string][] = []
  let schema = ''
  const count = reader.varint()
  for (let i = 0; i < count; i++) {
    const name = text(reader)
    const value = text(reader)
    if (i === 0 && name === 'schema') schema = value
    else pairs.push([name, value])
  }
  return { schema, headers: Object.freeze(Object.fromEntries(pairs)) }
}

function text(reader: KafkaBytesReader): string {
  const length = Math.max(0, reader.varint())
  const value = reader.bytes.toString('utf8', reader.at, reader.at + length)
  reader.at += length
  return value
}
