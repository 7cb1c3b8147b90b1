import { Type, type TSchema } from 'typebox'
import { InvalidInputError } from '../../kernel/errors.ts'

/** Every list answers this shape. */
export function listOf<T extends TSchema>(item: T) {
  return Type.Object({ items: Type.Array(item), next: Type.Union([Type.String(), Type.Null()], { description: 'cursor of the next page, or null at the end' }) })
}

export const CursorSchema = Type.Optional(Type.String({ minLength: 1, maxLength: 1_024, description: '`next` of the page before' }))
export const LimitSchema = Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, description: 'items in the answer; api.pageItemsMax bounds it' }))

/** A cursor over ids or keys: opaque to clients. */
export function encodeCursor(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

export function decodeCursor<T extends object>(cursor: string, isValid: (value: unknown) => value is T): T {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
  } catch (error) {
    throw new InvalidInputError('cursor: it is not one that this API answered', { cause: error, details: { field: 'cursor' } })
  }
  if (!isValid(value)) throw new InvalidInputError('cursor: it is not one that this list answered', { details: { field: 'cursor' } })
  return value
}

/** A time in a query: epoch ms, or RFC 3339. */
export const TimeSchema = Type.Optional(Type.String({ minLength: 1, maxLength: 40, description: 'epoch ms or RFC 3339, for instance 2026-01-31T12:00:00Z' }))

const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/
/** The range of ECMAScript time values. */
const TIME_MAX_MS = 8.64e15

export function parseTime(field: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = /^-?\d{1,16}$/.test(text) ? Number(text) : RFC_3339.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isFinite(ms) || Math.abs(ms) > TIME_MAX_MS) throw new InvalidInputError(`${field}: "${text}" is neither epoch ms nor an RFC 3339 time`, { details: { field } })
  return ms
}

const UNITS_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const INTERVAL_MAX_MS = 366 * 86_400_000

/** `10s`, `1m`, `1h`, `1d`, or ms. */
export function parseInterval(field: string, text: string): number {
  const match = /^(\d{1,12})(ms|s|m|h|d)?$/.exec(text)
  const ms = match === null ? Number.NaN : Number(match[1]) * (UNITS_MS[match[2] ?? 'ms'] ?? 1)
  if (!(ms >= 1) || ms > INTERVAL_MAX_MS) throw new InvalidInputError(`${field}: "${text}" is not an interval such as 10s, 1m, 1h or 1d`, { details: { field } })
  return ms
}
