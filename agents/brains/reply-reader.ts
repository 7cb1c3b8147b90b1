import { Buffer } from 'node:buffer'
import type { ReplyShape } from './brain.ts'

/** Bytes of a reply as text: far more than any token bound of ours lets through. */
const REPLY_BYTES_MAX = 262_144

export type ReadReply<R> = { status: 'read'; reply: R } | { status: 'malformed'; detail: string; paths: readonly string[] }

/** What a model answered, as a reply that fits its shape and is plain text throughout; nothing else of it is kept. */
export function readReply<R>(content: string | object | null, shape: ReplyShape<R>): ReadReply<R> {
  const no = (detail: string, paths: readonly string[] = []): ReadReply<R> => ({ status: 'malformed', detail, paths })
  if (content === null) return no('it called something that was not offered')
  const parsed = typeof content === 'string' ? jsonIn(content) : content
  if (parsed === undefined) return no(content === '' ? 'it is empty' : 'it is no JSON')
  const checked = shape.check(parsed)
  if (checked.status === 'invalid')
    return no(
      'it does not fit the schema',
      checked.faults.map(({ path }) => path.replace(/\.\d+/g, '')),
    )
  const marks = { hasMarkup: false }
  const plain = plainValue(checked.value, marks)
  if (marks.hasMarkup) return no('it has markup or links')
  // What was dropped may have been all there was.
  const again = shape.check(plain)
  return again.status === 'valid' ? { status: 'read', reply: again.value } : no('it does not fit the schema')
}

/** JSON alone, or in one fenced block, or after the thoughts that some models write first. Undefined: there is none. */
function jsonIn(text: string): unknown {
  if (Buffer.byteLength(text) > REPLY_BYTES_MAX) return undefined
  const end = text.lastIndexOf('</think>')
  const spoken = (text.trimStart().startsWith('<think>') && end !== -1 ? text.slice(end + '</think>'.length) : text).trim()
  const fenced = spoken.startsWith('```') && spoken.endsWith('```') ? spoken.slice(spoken.indexOf('\n') + 1, -3) : spoken
  try {
    return JSON.parse(fenced) as unknown
  } catch {
    return undefined // said to be no JSON by who asked
  }
}

/** A copy with every text as `plainText` gives it back. */
function plainValue(value: unknown, marks: { hasMarkup: boolean }): unknown {
  if (typeof value === 'string') {
    const { text, hadMarkup } = plainText(value)
    marks.hasMarkup ||= hadMarkup
    return text
  }
  if (Array.isArray(value)) return value.map((each) => plainValue(each, marks))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plainValue(each, marks)]))
}

/** Controls, formats (bidi, zero-width, tags), surrogates, private use, unassigned; ANSI sequences go with their first character's rest. */
const UNSEEN = /\u001b\[[0-?]*[ -/]*[@-~]|[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/gu
const TAG = /<\/?[a-z!?][^>]*>?/gi
const LINK = /!?\[[^\]]*\]\([^)]*\)|\b(?:https?|javascript|data|file|ftp|vbscript)\s*:|\bwww\./i
const ENTITY = /&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,31});/i

/** Without tags and characters that cannot be seen. `hadMarkup`: it had tags, entities or links, which no honest reply has. */
export function plainText(text: string): { text: string; hadMarkup: boolean } {
  const seen = text.replace(/[\t\n\r]+/g, ' ').replace(UNSEEN, '')
  const stripped = seen.replace(TAG, '')
  return { text: stripped, hadMarkup: stripped !== seen || LINK.test(seen) || ENTITY.test(seen) }
}
