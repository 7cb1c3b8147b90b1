import { maskSecrets } from './mask.ts'

/** Problem details, RFC 9457: what every HTTP door of ours answers when it does not do what was asked. */
export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  /** Stable code of the error family. */
  code: string
}

/** Media type of problem details, RFC 9457 §3. */
export const PROBLEM_TYPE = 'application/problem+json'

/** Short names of the statuses that we answer. */
export const PROBLEM_TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Not authenticated',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Method not allowed',
  408: 'Request timeout',
  409: 'Conflict',
  412: 'Precondition failed',
  413: 'Body too large',
  415: 'Unsupported media type',
  422: 'Not possible',
  426: 'Upgrade required',
  428: 'Precondition required',
  429: 'Too many requests',
  500: 'Internal error',
  503: 'Not available',
}

/** `type` names the code, so that equal problems have equal types (RFC 9457 §3.1.1). */
export function problem(status: number, code: string, text: string): Problem {
  const detail = maskSecrets(text)
  const type = `urn:fleetpulse:problem:${code.toLowerCase().replaceAll('_', '-')}`
  return { type, title: PROBLEM_TITLES[status] ?? 'Problem', status, detail, code }
}
