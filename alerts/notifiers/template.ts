import { InvalidInputError } from '../../kernel/errors.ts'
import type { Notice } from './notice.ts'

/** Longest text a template may become; the rest is cut off. */
const TEXT_LENGTH_MAX = 10_000

const FILTERS: Readonly<Record<string, (value: unknown) => string>> = {
  json: (value) => JSON.stringify(value),
  upper: (value) => text(value).toUpperCase(),
  lower: (value) => text(value).toLowerCase(),
  time: (value) => {
    if (typeof value !== 'number') throw new Error('time is for epoch ms')
    return new Date(value).toISOString()
  },
}

type Piece = string | { path: string; filter: string | undefined }

/**
 * The pieces of a template: text, and `{{ path }}` or `{{ path | filter }}`, where a path leads into the notice (`incident.title`,
 * `labels.site`) and a filter is json, upper, lower or time. Nothing in it runs. Throws InvalidInputError with the place.
 */
export function parseTemplate(template: string): Piece[] {
  const pieces: Piece[] = []
  for (let at = 0; at < template.length;) {
    const begin = template.indexOf('{{', at)
    if (begin < 0) return [...pieces, template.slice(at)]
    if (begin > at) pieces.push(template.slice(at, begin))
    const end = template.indexOf('}}', begin)
    if (end < 0) throw invalid(begin, 'is not closed by }}')
    const match = /^\s*([A-Za-z_][\w.-]{0,127})\s*(?:\|\s*([a-z]+)\s*)?$/.exec(template.slice(begin + 2, end))
    if (match === null) throw invalid(begin, 'is not a path, or a path, a bar and a filter')
    const [, path = '', filter] = match
    if (filter !== undefined && !Object.hasOwn(FILTERS, filter))
      throw invalid(begin, `names the filter ${filter}; there are ${Object.keys(FILTERS).join(', ')}`)
    pieces.push({ path, filter })
    at = end + 2
  }
  return pieces
}

/** What people read. Throws an Error that says which path has nothing there: the caller falls back to the plain text. */
export function renderTemplate(template: string, notice: Notice): string {
  let said = ''
  for (const piece of parseTemplate(template)) {
    said += typeof piece === 'string' ? piece : filled(piece, notice)
    // Nothing that is cut off anyway is put together: a few characters may name a large part of the notice many times.
    if (said.length >= TEXT_LENGTH_MAX) break
  }
  return said.slice(0, TEXT_LENGTH_MAX)
}

function filled({ path, filter }: { path: string; filter: string | undefined }, notice: Notice): string {
  const value = valueAt(notice, path)
  return filter === undefined ? text(value) : (FILTERS[filter] as (value: unknown) => string)(value)
}

function valueAt(root: unknown, path: string): unknown {
  let value: unknown = root
  for (const step of path.split('.')) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, step)) throw new Error(`there is no ${path} in this notice`)
    value = (value as Record<string, unknown>)[step]
  }
  return value
}

function text(value: unknown): string {
  if (value === null) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function invalid(at: number, problem: string): InvalidInputError {
  return new InvalidInputError(`template: what begins at character ${at + 1} ${problem}`, { details: { field: 'template' } })
}
