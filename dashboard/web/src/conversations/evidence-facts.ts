import type { Evidence } from '../api/conversation-types.ts'
import type { ReadingQuery } from '../api/endpoints.ts'
import { dateTime, measure, words } from '../ui/format.ts'
import { plain } from '../ui/plain.ts'

/** Names of members that hold an instant, epoch ms. */
const INSTANT = /(?:^ts|At|Ts|^from|^to|fromMs|toMs|beforeMs|until)$/
/** An instant and not a count: after the year 2000. */
const INSTANT_MIN_MS = 946_684_800_000

/** Members of a question or of a result, as lines for people. */
export function factsOf(members: Readonly<Record<string, unknown>>): { name: string; text: string }[] {
  return Object.entries(members)
    .filter(([name]) => name !== 'kind')
    .map(([name, value]) => ({ name: words(name.replaceAll(/([A-Z])/g, ' $1').toLowerCase()), text: textOf(name, value) }))
}

function textOf(name: string, value: unknown): string {
  if (value === null || value === undefined) return 'none'
  if (typeof value === 'number') return INSTANT.test(name) && value >= INSTANT_MIN_MS ? dateTime(value) : measure(value)
  if (typeof value === 'string') return plain(value)
  if (Array.isArray(value)) return value.map((one) => textOf('', one)).join(', ')
  if (typeof value === 'object') return Object.entries(value).map(([inner, one]) => `${inner} ${textOf(inner, one)}`).join(', ')
  return String(value)
}

/** Which readings the evidence is about: those of its question's time. */
export function readingsAskedIn({ query, refs }: Evidence): (ReadingQuery & { device: string }) | undefined {
  const of = (isObject(query.of) ? query.of : query) as { device?: unknown; metric?: unknown }
  const device = typeof of.device === 'string' ? of.device : refs[0]?.device
  if (device === undefined) return undefined
  const metric = typeof of.metric === 'string' ? of.metric : refs[0]?.metric
  const span = spanOf(query) ?? (refs[0] === undefined ? undefined : { from: refs[0].ts, to: refs[0].ts + 1 })
  return span === undefined ? undefined : { device, ...(metric === undefined ? {} : { metric }), ...span }
}

function spanOf(query: Evidence['query']): { from: number; to: number } | undefined {
  const { window, ts, fromTs, toTs } = query
  if (isObject(window) && typeof window.from === 'number' && typeof window.to === 'number') return { from: window.from, to: window.to }
  if (typeof fromTs === 'number' && typeof toTs === 'number') return { from: fromTs, to: toTs }
  return typeof ts === 'number' ? { from: ts, to: ts + 1 } : undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
