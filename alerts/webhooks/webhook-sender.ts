import { Agent, request } from 'undici'
import { describeError } from '../../kernel/errors.ts'
import type { Clock } from '../../kernel/time.ts'
import type { WebhooksConfig } from './config.ts'
import { TargetRefusedError, type TargetGuard } from '../../kernel/target-guard.ts'
import type { DeliveryAttempt } from './webhook-documents.ts'

/** How long an idle connection is kept for the next message. */
const KEEP_ALIVE_MS = 10_000

export interface SentAttempt extends DeliveryAttempt {
  /** Nothing was sent: the target is not allowed. */
  refused: boolean
  /** From `Retry-After`, relative; null without it. */
  retryAfterMs: number | null
}

export interface WebhookRequest {
  url: string
  body: string
  headers: Record<string, string>
  /** Ends the try early, as an error. */
  signal: AbortSignal
}

/** Sends one request and tells how it went; never throws. Redirects are not followed: their targets were not checked. */
export class WebhookSender {
  readonly #guard: TargetGuard
  readonly #clock: Clock
  readonly #config: WebhooksConfig
  #agent: Agent | undefined

  constructor(options: { guard: TargetGuard; clock: Clock; config: WebhooksConfig }) {
    this.#guard = options.guard
    this.#clock = options.clock
    this.#config = options.config
  }

  async send(outgoing: WebhookRequest): Promise<SentAttempt> {
    const startMs = this.#clock.monotonicMs()
    const attempt: SentAttempt = {
      at: this.#clock.nowMs(),
      durationMs: 0,
      url: outgoing.url,
      status: null,
      error: null,
      responseBody: '',
      refused: false,
      retryAfterMs: null,
    }
    try {
      await this.#exchange(outgoing, attempt)
    } catch (error) {
      attempt.refused = isRefusal(error)
      attempt.error = describeError(error)
    }
    attempt.durationMs = Math.round(this.#clock.monotonicMs() - startMs)
    return attempt
  }

  /** Drops all connections. */
  async close(): Promise<void> {
    await this.#agent?.destroy()
    this.#agent = undefined
  }

  async #exchange(outgoing: WebhookRequest, attempt: SentAttempt): Promise<void> {
    const { totalTimeoutMs } = this.#config
    const timeout = new AbortController()
    const timer = this.#clock.after(totalTimeoutMs, () => timeout.abort(new Error(`the try took longer than ${totalTimeoutMs} ms`)))
    const onAbort = (): void => timeout.abort(new Error('stopped'))
    outgoing.signal.addEventListener('abort', onAbort, { once: true })
    if (outgoing.signal.aborted) onAbort()
    try {
      const url = this.#guard.checkUrl(outgoing.url)
      const response = await request(url, {
        dispatcher: this.#dispatcher(),
        method: 'POST',
        headers: { ...outgoing.headers, 'content-type': 'application/json', 'user-agent': 'fleetpulse-webhooks/1' },
        body: outgoing.body,
        signal: timeout.signal,
      })
      attempt.status = response.statusCode
      attempt.retryAfterMs = this.#retryAfterMs(response.headers['retry-after'])
      attempt.responseBody = await this.#beginningOf(response.body)
    } finally {
      timer.cancel()
      outgoing.signal.removeEventListener('abort', onAbort)
    }
  }

  /** Reads up to the bound and gives up the connection beyond it. */
  async #beginningOf(body: AsyncIterable<Buffer> & { destroy: () => unknown }): Promise<string> {
    const pieces: Buffer[] = []
    let sizeBytes = 0
    for await (const piece of body) {
      if (sizeBytes < this.#config.responseBytesKept) pieces.push(piece)
      sizeBytes += piece.length
      if (sizeBytes > this.#config.responseBytesMax) {
        body.destroy()
        break
      }
    }
    return Buffer.concat(pieces).subarray(0, this.#config.responseBytesKept).toString('utf8')
  }

  /** RFC 9110 §10.2.3: seconds or a date. */
  #retryAfterMs(header: string | string[] | undefined): number | null {
    if (typeof header !== 'string') return null
    const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - this.#clock.nowMs()
    return Number.isFinite(ms) && ms > 0 ? ms : null
  }

  #dispatcher(): Agent {
    this.#agent ??= new Agent({
      connect: { lookup: this.#guard.lookup, timeout: this.#config.connectTimeoutMs },
      // Unbounded here, because requests are bounded before they come here: endpoints of one host must not wait for each other.
      connections: null,
      pipelining: 1,
      headersTimeout: this.#config.headersTimeoutMs,
      bodyTimeout: this.#config.bodyTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
    })
    return this.#agent
  }
}

function isRefusal(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current instanceof TargetRefusedError) return true
  }
  return false
}
