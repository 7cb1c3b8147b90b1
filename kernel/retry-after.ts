/** RFC 9110 §5.6.7: every form of an HTTP date begins with the day's name. `Date.parse` alone would take "+40" for the year 2040. */
const HTTP_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? /

/** RFC 9110 §10.2.3: seconds or a date, as ms from now, at most `Number.MAX_SAFE_INTEGER`; null when it is neither, or over. */
export function retryAfterMs(header: string | null | undefined, nowMs: number): number | null {
  if (header === null || header === undefined) return null
  const text = header.trim()
  const ms = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) * 1_000 : HTTP_DATE.test(text) ? Date.parse(text) - nowMs : NaN
  return ms > 0 ? Math.min(ms, Number.MAX_SAFE_INTEGER) : null
}
