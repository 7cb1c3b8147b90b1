import { InvalidInputError } from './errors.ts'

/**
 * The one written form of a JSON value (RFC 8785, JSON Canonicalization Scheme): no white space, members sorted by the UTF-16 code units of
 * their names, numbers and text as ECMAScript writes them. Members that are `undefined` are left out, as JSON.stringify does.
 * Throws InvalidInputError for what JSON cannot say (NaN, functions, text with half a surrogate pair: RFC 8785 §3.2.2.2).
 */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'string') return canonicalText(value)
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value === 'object') {
    const members = Object.entries(value).filter(([, member]) => member !== undefined)
    // The default order of `sort` is that of UTF-16 code units (RFC 8785 §3.2.3).
    members.sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${members.map(([name, member]) => `${canonicalText(name)}:${canonicalJson(member)}`).join(',')}}`
  }
  throw new InvalidInputError(`${typeof value} is nothing that JSON can say`)
}

const HALF_PAIR = /\p{Surrogate}/u

function canonicalText(text: string): string {
  if (HALF_PAIR.test(text)) throw new InvalidInputError('text with half a surrogate pair has no canonical form')
  return JSON.stringify(text)
}
