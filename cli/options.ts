import { InvalidArgumentError } from 'commander'

/** Parsers of option values; commander prints their message with the option's name. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < min || value > max) throw new InvalidArgumentError(`it must be a whole number from ${min} to ${max}.`)
    return value
  }
}

export function positiveNumber(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!(value > 0) || value > max) throw new InvalidArgumentError(`it must be a number above 0, at most ${max}.`)
    return value
  }
}

const UNITS_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `500ms`, `30s`, `5m`, `2h`, `1d`; a bare number is seconds. Answers ms. */
export function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text)
  const unit = UNITS_MS[match?.[2] ?? 's']
  if (match === null || unit === undefined) throw new InvalidArgumentError('it must be a time such as 30s, 5m or 2h.')
  return Number(match[1]) * unit
}

const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/

/** An instant as the API takes it: epoch ms, or RFC 3339. Answers epoch ms. */
export function instant(text: string): number {
  const ms = /^\d{1,15}$/.test(text) ? Number(text) : RFC_3339.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isFinite(ms)) throw new InvalidArgumentError('it must be epoch ms or an RFC 3339 time such as 2026-01-31T12:00:00Z.')
  return ms
}
