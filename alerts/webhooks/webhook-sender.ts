import { Agent, request } from 'undici'
import { describeError } from '../../kernel/errors.ts'
import { maskSecrets } from '../../kernel/mask.ts'
import { retryAfterMs } from '../../kernel/retry-after.ts'
import type { Clock } from '../../kernel/time.ts'
import type { WebhooksConfig } from './config.ts'
import { TargetRefusedError, type TargetGuard } from '../../kernel/target-guard.ts'
import { blankAttempt, type SentAttempt } from '../notifiers/notifier.ts'

/** How long an idle connection is kept for the next message. */
const KEEP_ALIVE_MS = 10_000

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
    const attempt = { ...blankAttempt(outgoing.url, this.#clock.nowMs()), requestHeaders: outgoing.headers }
    try {
      await this.#exchange(outgoing, attempt, startMs)
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

  async #exchange(outgoing: WebhookRequest, attempt: SentAttempt, startMs: number): Promise<void> {
    const { totalTimeoutMs } = this.#config
    const timeout = new AbortController()
    const timer = this.#clock.after(totalTimeoutMs, () => timeout.abort(new Error(`the try took longer than ${totalTimeoutMs} ms`)))
    const onAbort = (): void => timeout.abort(new Error('stopped'))
    outgoing.signal.addEventListener('abort', onAbort, { once: true })
    if (outgoing.signal.aborted) onAbort()
    try {
      const url = this.#guard.checkUrl(outgoing.url)
      const { signal } = timeout
      const headers = { ...outgoing.headers, 'user-agent': 'fleetpulse-webhooks/1' }
      const sent = request(url, { dispatcher: this.#dispatcher(), method: 'POST', headers, body: outgoing.body, signal })
      const response = await Promise.race([sent, aborted(signal)])
      attempt.status = response.statusCode
      attempt.headersMs = Math.round(this.#clock.monotonicMs() - startMs)
      attempt.responseHeaders = firstOf(response.headers)
      attempt.retryAfterMs = retryAfterMs(headerOf(response.headers['retry-after']), this.#clock.nowMs())
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
    return maskSecrets(Buffer.concat(pieces).subarray(0, this.#config.responseBytesKept).toString('utf8'))
  }

  #dispatcher(): Agent {
    this.#agent ??= new Agent({
      // Said outright: NODE_TLS_REJECT_UNAUTHORIZED in the environment must not switch it off.
      connect: { lookup: this.#guard.lookup, timeout: this.#config.connectTimeoutMs, rejectUnauthorized: true },
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

/** Headers kept in the delivery log, and characters of each. */
const HEADERS_KEPT_MAX = 30
const HEADER_LENGTH_MAX = 200

function headerOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}

function firstOf(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const kept = Object.entries(headers).slice(0, HEADERS_KEPT_MAX)
  const shown = (name: string, value: unknown): string => (name === 'set-cookie' ? '[masked]' : maskSecrets(String(value)))
  return Object.fromEntries(kept.map(([name, value]) => [name, shown(name, value).slice(0, HEADER_LENGTH_MAX)]))
}

/**
 * Rejects when the signal says so. undici looks at the signal only once it is connected: a try would last as long as its connection takes,
 * and the claim of its delivery would run out meanwhile. When the connection comes after that, undici sends nothing.
 */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
  })
}

function isRefusal(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current instanceof TargetRefusedError) return true
  }
  return false
}
