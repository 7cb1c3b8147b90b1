import type { BrainFailure } from './brain.ts'
import type { Exchange } from './exchange.ts'

/** What a request that brought no reply means for the next one. */
export interface ExchangeVerdict {
  failure: BrainFailure
  /** In words of ours. */
  detail: string
  /** The same request may be sent again in this turn, not before `retryAfterMs`. */
  isRetryable: boolean
  retryAfterMs: number | null
  /** The provider takes nothing from us until somebody changes something: it is switched off. */
  isOff: boolean
  /** What it says about whether the provider works; null: nothing. */
  works: boolean | null
}

/** Codes and reasons of the providers' error bodies, as their pages list them; closed, because they go into logs and labels. */
const QUOTA =
  /insufficient_quota|billing_hard_limit_reached|billing_not_active|billing_error|credit balance|spend(?:ing)?[ _-]limit|used all available credits|PerDay/
const KEY_REFUSED = /API_KEY_INVALID|API key not valid|Incorrect API key|invalid_api_key|authentication_error/
const TRIED_AGAIN = new Set([408, 409, 500, 502, 503, 504, 529])

/** Which statuses are tried again, and which never. A refused key answers 400 at some providers, and an empty account 400 or 429. */
export function verdictOf(exchange: Exchange): ExchangeVerdict {
  const { status, errorText, isCutOff, isOtherType, isBroken } = exchange
  const detail = status === null ? 'no answer came' : `status ${status}`
  const say = (failure: BrainFailure, changes: Partial<ExchangeVerdict> = {}): ExchangeVerdict => {
    return { failure, detail, isRetryable: false, retryAfterMs: null, isOff: false, works: null, ...changes }
  }
  if (status === null) return say('unavailable', { isRetryable: true, works: false })
  if (status >= 200 && status < 300) {
    if (isOtherType) return say('malformed', { detail: 'the response is of another type', works: false })
    if (isCutOff) return say('malformed', { detail: 'the response is larger than its bound', works: false })
    if (isBroken) return say('malformed', { detail: 'the response broke off', works: false })
    return say('malformed', { detail: 'the response cannot be read', works: false })
  }
  if (status === 402 || (QUOTA.test(errorText) && status < 500)) return say('quota', { isOff: true })
  if (status === 401 || status === 403 || (status === 400 && KEY_REFUSED.test(errorText))) return say('unauthorised', { isOff: true })
  if (status === 429) {
    const waitMs = exchange.retryAfterMs ?? delayInBody(errorText)
    return say('rate-limited', { isRetryable: waitMs !== null, retryAfterMs: waitMs, works: true })
  }
  if (TRIED_AGAIN.has(status) || status >= 500)
    return say('unavailable', { isRetryable: true, retryAfterMs: exchange.retryAfterMs, works: false })
  return say('rejected', { works: true })
}

/** Gemini says it in the body: google.rpc.RetryInfo, `"retryDelay": "34s"`. */
function delayInBody(text: string): number | null {
  const [, seconds] = /"retryDelay"\s*:\s*"(\d{1,6}(?:\.\d{1,9})?)s"/.exec(text) ?? []
  return seconds === undefined ? null : Number(seconds) * 1_000
}
