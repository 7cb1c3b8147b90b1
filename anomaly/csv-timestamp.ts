/** Numbers below this are seconds since the epoch, above it milliseconds: 100 000 000 000 s is the year 5138, as ms it is 1973. */
const SECONDS_BELOW = 1e11
const NUMBER = /^[+-]?\d+(\.\d+)?$/
const DATE_TIME = /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(Z|[+-]\d{2}:?\d{2})?)?$/

/**
 * Epoch ms of a timestamp as files carry it: `YYYY-MM-DD HH:MM:SS` (UTC where no offset is given), ISO 8601, epoch seconds or
 * epoch ms. Undefined when it is none of these.
 */
export function parseTimestamp(text: string): number | undefined {
  const trimmed = text.trim()
  if (NUMBER.test(trimmed)) {
    const number = Number(trimmed)
    return Math.abs(number) < SECONDS_BELOW ? number * 1_000 : number
  }
  const match = DATE_TIME.exec(trimmed)
  if (match === null) return undefined
  const [, date, time = '00:00:00', offset = 'Z'] = match
  const epochMs = Date.parse(`${date}T${time.slice(0, 12)}${offset}`)
  return Number.isNaN(epochMs) ? undefined : epochMs
}
