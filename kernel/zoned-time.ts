/** Wall-clock date and time in some time zone. */
export interface LocalTime {
  year: number
  /** 1 to 12. */
  month: number
  day: number
  hour: number
  minute: number
  second: number
}

const DAY_MS = 86_400_000
/** Formatters are slow to make; there are about 600 zones in all. */
const formatters = new Map<string, Intl.DateTimeFormat>()

/** Is it a time zone of the IANA database, such as Europe/Berlin? Offsets such as +02:00 are not: they know no daylight saving. */
export function isTimeZone(zone: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(zone)) return false
  try {
    formatterOf(zone)
    return true
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

/** What a clock on the wall there shows. Throws RangeError for an unknown zone. */
export function localTimeOf(zone: string, ms: number): LocalTime {
  const parts: Record<string, number> = {}
  for (const { type, value } of formatterOf(zone).formatToParts(ms)) parts[type] = Number(value)
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts
  return { year, month, day, hour, minute, second }
}

/**
 * The instant at which a clock there shows this. A time that daylight saving skips is moved on by what was skipped (02:30 becomes 03:30);
 * of one that comes twice the first is meant. RFC 5545 §3.3.5 reads local times the same way.
 */
export function epochOf(zone: string, local: LocalTime): number {
  const asUtc = Date.UTC(local.year, local.month - 1, local.day, local.hour, local.minute, local.second)
  const before = offsetMs(zone, asUtc - DAY_MS)
  const after = offsetMs(zone, asUtc + DAY_MS)
  const fitting = [before, after].filter((offset) => offsetMs(zone, asUtc - offset) === offset)
  return asUtc - (fitting.length === 0 ? before : Math.max(...fitting))
}

/** Days since 1970-01-01 of a local date: differences are calendar days, however long these were. */
export function dayNumber({ year, month, day }: Pick<LocalTime, 'year' | 'month' | 'day'>): number {
  return Math.round(Date.UTC(year, month - 1, day) / DAY_MS)
}

/** The local date of that number, at 00:00. */
export function dateOf(dayNumber: number): LocalTime {
  const date = new Date(dayNumber * DAY_MS)
  return { year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate(), hour: 0, minute: 0, second: 0 }
}

/** Is it a day of the calendar, as YYYY-MM-DD? 2025-02-30 is none. */
export function isDate(text: string): boolean {
  const [, year = 0, month = 0, day = 0] = (/^(\d{4})-(\d{2})-(\d{2})$/.exec(text) ?? []).map(Number)
  if (year === 0) return false
  const date = dateOf(dayNumber({ year, month, day }))
  return date.month === month && date.day === day
}

/** 0 = Sunday to 6 = Saturday. */
export function weekdayOf(dayNumber: number): number {
  return (((dayNumber + 4) % 7) + 7) % 7
}

/** `HH:MM`, 00:00 to 23:59. */
export function parseTimeOfDay(text: string): { hour: number; minute: number } {
  const [hour = 0, minute = 0] = text.split(':').map(Number)
  return { hour, minute }
}

function offsetMs(zone: string, ms: number): number {
  const { year, month, day, hour, minute, second } = localTimeOf(zone, ms)
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(ms / 1_000) * 1_000
}

function formatterOf(zone: string): Intl.DateTimeFormat {
  const known = formatters.get(zone)
  if (known !== undefined) return known
  const fields = { year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' } as const
  const formatter = new Intl.DateTimeFormat('en-US', { timeZone: zone, hourCycle: 'h23', calendar: 'gregory', ...fields })
  formatters.set(zone, formatter)
  return formatter
}
