import { createHash } from 'node:crypto'

/** What an index orders. Objects are told apart, not ordered; arrays are indexed element by element. */
export type Indexable = null | number | string | boolean | object

/*
 * A component of an index key is a tag and the value, so that bytes compare as MongoDB orders values: null, numbers, text, objects,
 * booleans. Numbers are IEEE 754 doubles with the sign flipped into order. Text is UTF-8 ended by 00 01, a zero byte within it
 * written 00 FF. Text of more than TEXT_BYTES_MAX is cut there, ended by 00 02 and told apart by a hash: found by equality, not ordered.
 */
export const TAGS = { null: 0x10, number: 0x20, string: 0x30, object: 0x40, boolean: 0x60 } as const
const TEXT_BYTES_MAX = 240
const TEXT_END = Buffer.from([0x00, 0x01])
const TEXT_CUT = Buffer.from([0x00, 0x02])
const HASH_BYTES = 16

/** Largest component: tag, text, end and hash. */
export const COMPONENT_BYTES_MAX = 1 + TEXT_BYTES_MAX + TEXT_CUT.length + HASH_BYTES

/** `ordered` is false when bytes no longer compare as the values do. */
export function encodeComponent(value: Indexable): { bytes: Buffer; ordered: boolean } {
  if (value === null) return { bytes: Buffer.from([TAGS.null]), ordered: true }
  if (typeof value === 'boolean') return { bytes: Buffer.from([TAGS.boolean, value ? 1 : 0]), ordered: true }
  if (typeof value === 'number') return { bytes: encodeNumber(value), ordered: true }
  if (typeof value === 'string') return encodeText(value)
  return { bytes: Buffer.concat([Buffer.from([TAGS.object]), hash(Buffer.from(sortedJson(value)))]), ordered: false }
}

export function tagOf(value: Indexable): number {
  return value === null ? TAGS.null : TAGS[typeof value as 'number' | 'string' | 'boolean' | 'object']
}

function encodeNumber(value: number): Buffer {
  const bytes = Buffer.alloc(9)
  bytes[0] = TAGS.number
  // Adding zero makes -0 the 0 it is equal to.
  bytes.writeDoubleBE(value + 0, 1)
  if ((bytes[1] as number) < 0x80) bytes[1] = (bytes[1] as number) ^ 0x80
  else for (let i = 1; i < 9; i++) bytes[i] = ~(bytes[i] as number)
  return bytes
}

function encodeText(value: string): { bytes: Buffer; ordered: boolean } {
  const whole = escapeZeros(textBytes(value))
  const tag = Buffer.from([TAGS.string])
  if (whole.length <= TEXT_BYTES_MAX) return { bytes: Buffer.concat([tag, whole, TEXT_END]), ordered: true }
  return { bytes: Buffer.concat([tag, whole.subarray(0, TEXT_BYTES_MAX), TEXT_CUT, hash(whole)]), ordered: false }
}

/**
 * Bytes that compare as JavaScript compares strings, by UTF-16 unit, because mingo does: UTF-8, except that each half of a surrogate pair
 * is written by itself (as CESU-8 does), which also keeps halves without a partner apart.
 */
export function textBytes(value: string): Buffer {
  if (!/[\ud800-\udfff]/.test(value)) return Buffer.from(value)
  const parts: Buffer[] = []
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i)
    if (unit < 0xd800 || unit > 0xdfff) parts.push(Buffer.from(value.charAt(i)))
    else parts.push(Buffer.from([0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f)]))
  }
  return Buffer.concat(parts)
}

/** The first key after all keys that begin with `prefix`. */
export function afterPrefix(prefix: Buffer): Buffer {
  for (let end = prefix.length; end > 0; end--) {
    if (prefix[end - 1] === 0xff) continue
    const next = Buffer.from(prefix.subarray(0, end))
    next[end - 1] = (next[end - 1] as number) + 1
    return next
  }
  throw new RangeError('no key comes after one of only FF bytes')
}

function escapeZeros(bytes: Buffer): Buffer {
  if (!bytes.includes(0)) return bytes
  return Buffer.from([...bytes].flatMap((byte) => (byte === 0 ? [0x00, 0xff] : [byte])))
}

function hash(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest().subarray(0, HASH_BYTES)
}

/** mingo holds objects equal whatever the order of their keys. */
function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  )
}
