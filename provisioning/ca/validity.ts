/** When a certificate is valid, both ends included, in epoch ms at full seconds. */
export interface Validity {
  notBeforeMs: number
  notAfterMs: number
}

export interface ValidityRequest {
  nowMs: number
  lifetimeMs: number
  /** How far notBefore lies in the past; counts into the lifetime. */
  backdateMs: number
  /** No certificate outlives the one that signed it; Infinity for the root. */
  issuerNotAfterMs: number
}

/** RFC 5280 §4.1.2.5: both ends are included, and times carry whole seconds. */
export function validity(request: ValidityRequest): Validity {
  const notBeforeMs = wholeSecondMs(request.nowMs - request.backdateMs)
  // The last second is part of the lifetime: one less, so that "366 days" is not a second more than that.
  const notAfterMs = wholeSecondMs(Math.min(notBeforeMs + request.lifetimeMs - 1_000, request.issuerNotAfterMs))
  return { notBeforeMs, notAfterMs: Math.max(notAfterMs, notBeforeMs) }
}

function wholeSecondMs(timeMs: number): number {
  return Math.floor(timeMs / 1_000) * 1_000
}
