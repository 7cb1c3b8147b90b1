import { InvalidInputError } from '../../kernel/errors.ts'

/**
 * Place of a reading in the order of `range`: event time, then receipt, then log position, all newest first.
 * Log positions are unique, so the order is total and a page continues exactly where the last one ended, whatever was written since.
 */
export interface CursorKey {
  ts: number
  receivedAt: number
  offset: number
  partition: number
}

const CURSOR_VERSION = 1
const FIELDS = 5

/** Opaque text of a place; base64url, so that it travels in a URL as it is. */
export function encodeCursor(key: CursorKey): string {
  return Buffer.from(JSON.stringify([CURSOR_VERSION, key.ts, key.receivedAt, key.offset, key.partition])).toString('base64url')
}

/** The place a cursor names; InvalidInputError for any text that `encodeCursor` did not make. */
export function decodeCursor(text: string): CursorKey {
  const fields = parse(text)
  const [version, ts, receivedAt, offset, partition] = fields
  if (fields.length !== FIELDS || version !== CURSOR_VERSION || !fields.every(Number.isSafeInteger)) throw badCursor()
  return { ts: ts as number, receivedAt: receivedAt as number, offset: offset as number, partition: partition as number }
}

/** Sorts keys as `range` does: negative when `a` comes first. */
export function compareNewestFirst(a: CursorKey, b: CursorKey): number {
  return b.ts - a.ts || b.receivedAt - a.receivedAt || b.offset - a.offset || b.partition - a.partition
}

function parse(text: string): unknown[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
    if (Array.isArray(value)) return value
  } catch (cause) {
    throw badCursor(cause)
  }
  throw badCursor()
}

function badCursor(cause?: unknown): InvalidInputError {
  return new InvalidInputError('the cursor is not one that this store gave', {
    remedy: 'Use the `next` of the last page unchanged, or ask again without a cursor.',
    details: { field: 'cursor' },
    ...(cause === undefined ? {} : { cause }),
  })
}
