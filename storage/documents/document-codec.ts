import { crc32 } from 'node:zlib'
import { InvalidInputError } from '../../kernel/errors.ts'
import type { Stored } from './documents.ts'

/*
 * A stored document is four bytes of CRC-32 (big-endian) and then JSON in UTF-8.
 * JSON and not MessagePack: both engines agree on exactly JSON's values, V8 parses it natively and never runs code for it, and a damaged
 * store can be read by eye. The checksum is there because LMDB has none: a flipped bit must not become a device's new state.
 */
const CHECKSUM_BYTES = 4
const DEPTH_MAX = 64

/** Bytes to store. The text is also what the caller gets back, so that what was given cannot be changed behind the store's back. */
export interface EncodedDocument {
  bytes: Buffer
  text: string
}

/** The document as JSON. Throws InvalidInputError for what JSON cannot say and for documents of more than `bytesMax` in UTF-8. */
export function documentText(document: Stored, bytesMax: number): string {
  refuseNonJson(document, '', 0)
  const text = JSON.stringify(document)
  const sizeBytes = Buffer.byteLength(text)
  if (sizeBytes > bytesMax) throw new InvalidInputError(`document ${document._id} has ${sizeBytes} bytes, at most ${bytesMax} are stored`)
  return text
}

/** Throws InvalidInputError as `documentText` does. */
export function encodeDocument(document: Stored, bytesMax: number): EncodedDocument {
  const text = documentText(document, bytesMax)
  const json = Buffer.from(text)
  const bytes = Buffer.allocUnsafe(CHECKSUM_BYTES + json.length)
  bytes.writeUInt32BE(crc32(json))
  json.copy(bytes, CHECKSUM_BYTES)
  return { bytes, text }
}

/** The stored document, or undefined when the bytes are not what `encodeDocument` made. */
export function decodeDocument<T extends Stored>(bytes: Buffer): T | undefined {
  if (bytes.length <= CHECKSUM_BYTES) return undefined
  const json = bytes.subarray(CHECKSUM_BYTES)
  if (crc32(json) !== bytes.readUInt32BE()) return undefined
  const value = parse(json.toString())
  const known = typeof value === 'object' && value !== null && '_id' in value && 'version' in value
  return known && typeof value._id === 'string' && Number.isInteger(value.version) ? (value as T) : undefined
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
    remedy: 'Store dates as epoch ms, bytes as base64, and leave out what is not there.',
  })
}
