import { InvalidInputError } from '../kernel/errors.ts'

/** One row of a recording: event time and the values of its metrics. */
export interface RecordedRow {
  ts: number
  values: Record<string, number>
}

/**
 * Reads a CSV of `timestamp,value` or `timestamp,metric1,metric2,…` (LF or CRLF; header required; times as RFC 3339, `YYYY-MM-DD HH:MM:SS`
 * in UTC, or epoch s or ms). Empty cells are left out. Throws InvalidInputError naming file and line.
 */
export function parseSeries(text: string, file: string, metric: string | undefined): RecordedRow[] {
  const lines = text.split(/\r?\n/)
  const header = (lines[0] ?? '').split(',').map((name) => name.trim())
  if (header.length < 2 || header[0] === '') throw new InvalidInputError(`${file}:1: the header must name a timestamp and at least one value column`)
  const names = metric !== undefined && header.length === 2 ? [metric] : header.slice(1)
  const rows: RecordedRow[] = []
  for (const [at, line] of lines.entries()) {
    if (at === 0 || line.trim() === '') continue
    const cells = line.split(',')
    const ts = parseRecordedTime(cells[0] ?? '')
    if (ts === undefined) throw new InvalidInputError(`${file}:${at + 1}: "${cells[0] ?? ''}" is not a time`)
    const values: Record<string, number> = {}
    for (const [column, name] of names.entries()) {
      const cell = cells[column + 1]?.trim() ?? ''
      if (cell === '') continue
      const value = Number(cell)
      if (!Number.isFinite(value)) throw new InvalidInputError(`${file}:${at + 1}: "${cell}" is not a number`)
      values[name] = value
    }
    if (Object.keys(values).length > 0) rows.push({ ts, values })
  }
  return rows
}

/** Epoch seconds have 10 digits until the year 2286, ms have 13. */
const EPOCH_MS_DIGITS = 12

export function parseRecordedTime(text: string): number | undefined {
  const trimmed = text.trim()
  if (/^\d+(\.\d+)?$/.test(trimmed)) return asMs(trimmed)
  const zoned = /([Zz]|[+-]\d{2}:?\d{2})$/.test(trimmed) ? trimmed : `${trimmed}Z`
  const ms = Date.parse(zoned.replace(' ', 'T'))
  return Number.isNaN(ms) ? undefined : ms
}

function asMs(digits: string): number {
  const whole = digits.split('.')[0] as string
  return whole.length >= EPOCH_MS_DIGITS ? Math.round(Number(digits)) : Math.round(Number(digits) * 1_000)
}
