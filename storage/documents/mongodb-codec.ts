import { Binary, BSON, type Document } from 'mongodb'
import { InvalidInputError } from '../../kernel/errors.ts'
import { documentParts, storedOf } from './document-codec.ts'
import type { Stored } from './documents.ts'

/*
 * In MongoDB a document is stored under its own names, so that its own query language finds in it, with two fields more: `_write` names
 * the write that made this version (an answer that was lost can be told from a race that was lost), and `_escaped` is there when a name
 * or text is not stored as it is. BSON has no text with half a surrogate pair and no NUL in names; `$` and dots in names would be operators
 * and paths, `_bsontype` and `__proto__` would change what the driver makes of an object. Such UTF-16 units are written as ESCAPE and four
 * hexadecimal digits, and ESCAPE itself, a code point that stands for no character, too.
 */
const ESCAPE = '\u{10ffff}'
const ODD_IN_TEXT = /\u{10ffff}|\p{Surrogate}/gu
const ODD_IN_NAME = /^\$|[.\0]|\u{10ffff}|\p{Surrogate}/gu
const MISTAKEN_NAME = /^(?:_bsontype|__proto__)$/
const OWN_NAME = /^_(?:write|escaped)$/
const ESCAPED = /\u{10ffff}([0-9a-f]{4})/gu

/** A document as MongoDB has it. */
export interface ServerDocument extends Document {
  _id: string
  version: number
  /** Names the write that made this version. */
  _write: string
  _escaped?: true
}

/** MongoDB's own bound of one document; JSON of less than an eighth of it cannot reach it as BSON. */
const BSON_BYTES_MAX = 16 * 1024 * 1024

/** What is sent, and what the caller gets back: JSON's values, held by nobody else. */
export interface PreparedDocument {
  stored: Stored
  server: ServerDocument
}

/** Throws InvalidInputError for what JSON cannot say and for documents of more than `bytesMax`. */
export function prepareDocument(document: Stored, token: string, bytesMax: number): PreparedDocument {
  const parts = documentParts(document, bytesMax)
  const stored = storedOf(parts)
  const escaped = escapeObject(stored, true)
  const server: ServerDocument =
    escaped === stored ? { ...stored, _write: token } : { ...(escaped as Stored), _write: token, _escaped: true }
  if (parts.text.length + parts.binaryBytes > BSON_BYTES_MAX / 8 && BSON.calculateObjectSize(server) > BSON_BYTES_MAX)
    throw new InvalidInputError(`document ${document._id} has more than ${BSON_BYTES_MAX} bytes as BSON, which MongoDB does not store`)
  return { stored, server }
}

/** The document that was prepared. */
export function restoreDocument<T extends object>(server: ServerDocument): T & Stored {
  const { _write, _escaped, ...document } = server
  for (const [name, value] of Object.entries(document)) if (value instanceof Binary) document[name] = value.value()
  return (_escaped === true ? unescapeValue(document) : document) as T & Stored
}

/** A text value or id. */
export function escapeText(text: string): string {
  return text.replace(ODD_IN_TEXT, escapeUnits)
}

/** A field's name; `top` for those of the document itself. */
function escapeName(name: string, top: boolean): string {
  if (MISTAKEN_NAME.test(name) || (top && OWN_NAME.test(name))) return escapeUnits('_') + name.slice(1)
  return name.replace(ODD_IN_NAME, escapeUnits)
}

/** A dotted path of names, as filters, sorts and indexes have it. */
export function escapePath(path: string): string {
  return path
    .split('.')
    .map((name, i) => escapeName(name, i === 0))
    .join('.')
}

/** Any JSON value below the document itself. The same value when nothing in it needs escaping. */
export function escapeValue(value: unknown): unknown {
  if (typeof value === 'string') return escapeText(value)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (!Array.isArray(value)) return escapeObject(value, false)
  const items: unknown[] = value.map(escapeValue)
  return items.some((item, i) => item !== value[i]) ? items : value
}

function escapeObject(object: object, top: boolean): object {
  let changed = false
  const entries = Object.entries(object).map(([name, value]): [string, unknown] => {
    const escaped: [string, unknown] = [escapeName(name, top), escapeValue(value)]
    changed ||= escaped[0] !== name || escaped[1] !== value
    return escaped
  })
  return changed ? Object.fromEntries(entries) : object
}

function escapeUnits(text: string): string {
  return text
    .split('')
    .map((unit) => ESCAPE + unit.charCodeAt(0).toString(16).padStart(4, '0'))
    .join('')
}

function unescapeValue(value: unknown): unknown {
  if (typeof value === 'string') return unescapeText(value)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (Array.isArray(value)) return value.map(unescapeValue)
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [unescapeText(name), unescapeValue(item)]))
}

function unescapeText(text: string): string {
  return text.includes(ESCAPE) ? text.replace(ESCAPED, (_whole, hex: string) => String.fromCharCode(parseInt(hex, 16))) : text
}
