import type { Notice } from './notice.ts'

/** Every kind of receiver there is; each has its notifier. */
export const NOTIFIER_KINDS = ['standard-webhooks', 'cloudevents', 'alertmanager', 'slack', 'email'] as const
export type NotifierKind = (typeof NOTIFIER_KINDS)[number]

/** One try, as the delivery log shows it. */
export interface DeliveryAttempt {
  at: number
  durationMs: number
  /** From the request to the head of the response; null without one. */
  headersMs?: number | null
  url: string
  requestHeaders?: Record<string, string>
  /** HTTP or SMTP status; null when there was no response. */
  status: number | null
  /** What went wrong; null when the response was complete. */
  error: string | null
  /** The first of them. */
  responseHeaders?: Record<string, string>
  /** Its beginning. */
  responseBody: string
}

export interface Outgoing {
  /** Of the delivery: the receiver knows a repeat by it. */
  id: string
  /** The endpoint's, as `checkTarget` answered it. */
  url: string
  body: string
  /** Newest first; all of them sign. Only for kinds that sign. */
  secrets: readonly string[]
  nowMs: number
  /** Ends the try early, as an error. */
  signal: AbortSignal
}

export interface SentAttempt extends DeliveryAttempt {
  /** Nothing was sent: the target is not allowed. */
  refused: boolean
  /** From `Retry-After`, relative; null without it. */
  retryAfterMs: number | null
}

/** How one kind of receiver is told. To add one: see CONTRIBUTING.md, "A notifier". */
export interface Notifier {
  readonly kind: NotifierKind
  /** What may be said of a target before anything is sent; answers it as it is kept. Throws InvalidInputError or TargetRefusedError. */
  checkTarget(url: string): string
  /** What goes out, made once and kept with the delivery, so that every try says the same. `text` is what people read. */
  bodyOf(notice: Notice, text: string): string
  /** What the test button sends. */
  testBody(endpointId: string, nowMs: number): string
  /** Sends once and says how it went; never throws. */
  send(outgoing: Outgoing): Promise<SentAttempt>
  /** Frees connections. */
  close(): Promise<void>
}

/** A try before anything happened. */
export function blankAttempt(url: string, nowMs: number): SentAttempt {
  const log = {
    at: nowMs,
    durationMs: 0,
    headersMs: null,
    url,
    requestHeaders: {},
    status: null,
    error: null,
    responseHeaders: {},
    responseBody: '',
  }
  return { ...log, refused: false, retryAfterMs: null }
}
