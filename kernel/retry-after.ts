/** RFC 9110 §10.2.3: seconds or a date, as ms from now; null when it is neither, or over. */
export function retryAfterMs(header: string | null | undefined, nowMs: number): number | null {
  if (header === null || header === undefined) return null
  const text = header.trim()
  const ms = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs
  return Number.isFinite(ms) && ms > 0 ? ms : null
}
