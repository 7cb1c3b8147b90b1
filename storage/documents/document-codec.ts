import { crc32 } from 'node:zlib'
import { InvalidInputError } from '../../kernel/errors.ts'
import type { Stored } from './documents.ts'

/*
 * A stored document is four bytes of CRC-32 (big-endian) and then JSON in UTF-8.
 * JSON and not MessagePack: both engines agree on exactly JSON's values, V8 parses it natively and never runs code for it, and a damaged
 * store can be read by eye. The checksum is there because LMDB has none: a flipped bit must not become a device's new state.
 *
 * A document with bytes is, after the checksum: BYTES_FOLLOW, the length of the JSON (four bytes, big-endian), the JSON
 * `[document, [[name, length], …]]`, and the bytes one after the other.
 */
const CHECKSUM_BYTES = 4
const BYTES_FOLLOW = 1
const HEAD_BYTES = CHECKSUM_BYTES + 1 + 4
const DEPTH_MAX = 64

/** Bytes to store. `text` is what they say as JSON, without `binary`. */
export interface EncodedDocument {
  bytes: Buffer
  text: string
  binary: Record<string, Uint8Array>
}

/** A document's JSON, and its properties that are bytes. */
export interface DocumentParts {
  text: string
  binary: Record<string, Uint8Array>
  binaryBytes: number
}

/** Throws InvalidInputError for what can't be stored and for documents of more than `bytesMax`, JSON in UTF-8 and bytes together. */
export function documentParts(document: Stored, bytesMax: number): DocumentParts {
  const { plain, binary, binaryBytes } = withoutBytes(document)
  refuseNonJson(plain, '', 0)
  const text = JSON.stringify(plain)
  const sizeBytes = Buffer.byteLength(text) + binaryBytes
  if (sizeBytes > bytesMax) throw new InvalidInputError(`document ${document._id} has ${sizeBytes} bytes, at most ${bytesMax} are stored`)
  return { text, binary, binaryBytes }
}

/** What the caller gets back: held by nobody else, so that what was given cannot be changed behind the store's back. */
export function storedOf<T extends object>({ text, binary }: Pick<DocumentParts, 'text' | 'binary'>): T & Stored {
  return { ...(JSON.parse(text) as T & Stored), ...binary }
}

/** Throws InvalidInputError as `documentParts` does. `room` gives memory for as many bytes, to be used until the next document is encoded. */
export function encodeDocument(
  document: Stored,
  bytesMax: number,
  room: (sizeBytes: number) => Buffer = Buffer.allocUnsafe,
): EncodedDocument {
  const { text, binary, binaryBytes } = documentParts(document, bytesMax)
  const names = Object.keys(binary)
  if (names.length === 0) {
    const bytes = room(CHECKSUM_BYTES + Buffer.byteLength(text))
    bytes.write(text, CHECKSUM_BYTES)
    return { bytes: checked(bytes), text, binary }
  }
  const head = `[${text},${JSON.stringify(names.map((name) => [name, binary[name]?.byteLength]))}]`
  const headBytes = Buffer.byteLength(head)
  const bytes = room(HEAD_BYTES + headBytes + binaryBytes)
  bytes[CHECKSUM_BYTES] = BYTES_FOLLOW
  bytes.writeUInt32BE(headBytes, CHECKSUM_BYTES + 1)
  let at = HEAD_BYTES + bytes.write(head, HEAD_BYTES)
  for (const name of names) {
    const part = binary[name] as Uint8Array
    bytes.set(part, at)
    at += part.byteLength
  }
  return { bytes: checked(bytes), text, binary }
}

/** The stored document, or undefined when the bytes are not what `encodeDocument` made. Its bytes are views of `bytes`. */
export function decodeDocument<T extends Stored>(bytes: Buffer): T | undefined {
  if (bytes.length <= CHECKSUM_BYTES) return undefined
  if (crc32(bytes.subarray(CHECKSUM_BYTES)) !== bytes.readUInt32BE()) return undefined
  const value = bytes[CHECKSUM_BYTES] === BYTES_FOLLOW ? withBytes(bytes) : parse(bytes.toString('utf8', CHECKSUM_BYTES))
  const known = typeof value === 'object' && value !== null && '_id' in value && 'version' in value
  return known && typeof value._id === 'string' && Number.isInteger(value.version) ? (value as T) : undefined
}

function checked(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(crc32(bytes.subarray(CHECKSUM_BYTES)))
  return bytes
}

function withoutBytes(document: Stored): { plain: Stored; binary: Record<string, Uint8Array>; binaryBytes: number } {
  const binary = Object.create(null) as Record<string, Uint8Array>
  let binaryBytes = 0
  let plain = document
  for (const [name, value] of Object.entries(document) as [string, unknown][]) {
    if (!(value instanceof Uint8Array)) continue
    if (plain === document) plain = { ...document }
    delete (plain as unknown as Record<string, unknown>)[name]
    binary[name] = value
    binaryBytes += value.byteLength
  }
  return { plain, binary, binaryBytes }
}

/** A document with bytes; undefined when the lengths do not fit. */
function withBytes(bytes: Buffer): object | undefined {
  if (bytes.length < HEAD_BYTES) return undefined
  let at = HEAD_BYTES + bytes.readUInt32BE(CHECKSUM_BYTES + 1)
  if (at > bytes.length) return undefined
  const head = parse(bytes.toString('utf8', HEAD_BYTES, at))
  if (!Array.isArray(head) || typeof head[0] !== 'object' || head[0] === null || !Array.isArray(head[1])) return undefined
  const document = head[0] as Record<string, unknown>
  for (const [name, sizeBytes] of head[1] as [string, number][]) {
    document[name] = bytes.subarray(at, at + sizeBytes)
    at += sizeBytes
  }
  return at === bytes.length ? document : undefined
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function refuseNonJson(value: unknown, path: string, depth: number): void {
  if (value === null || value === undefined || typeof value === 'string' || typeof value === 'boolean') return
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw notJson(path, String(value))
    return
  }
  if (typeof value !== 'object') throw notJson(path, typeof value)
  if (depth === DEPTH_MAX) throw new InvalidInputError(`a document may be nested ${DEPTH_MAX} deep, ${path} is deeper`)
  if (Array.isArray(value)) {
    value.forEach((item, index) => {
      if (item === undefined) throw notJson(`${path}.${index}`, 'undefined in an array')
      refuseNonJson(item, `${path}.${index}`, depth + 1)
    })
    return
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw notJson(path, value.constructor.name)
  for (const [key, item] of Object.entries(value)) refuseNonJson(item, path === '' ? key : `${path}.${key}`, depth + 1)
}

function notJson(path: string, found: string): InvalidInputError {
  return new InvalidInputError(`a document holds JSON only, and ${path} is ${found}`, {
    remedy: 'Store dates as epoch ms, bytes in a property of the document itself or as base64, and leave out what is not there.',
  })
}
