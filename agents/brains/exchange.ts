import { Agent, request } from 'undici'
import { InternalError } from '../../kernel/errors.ts'
import { retryAfterMs } from '../../kernel/retry-after.ts'
import type { Clock } from '../../kernel/time.ts'

/** Bytes of an error's body that are read: its code and its reason are at the beginning. */
const ERROR_BYTES_MAX = 65_536
const KEEP_ALIVE_MS = 10_000
/** Request headers that go out; whatever else a library adds (its version, this machine's, tracing, keys from the environment) stays here. */
const HEADERS_SENT = new Set(['content-type', 'accept', 'anthropic-version', 'anthropic-beta'])

/** What went over the wire for one request, as it was seen there: libraries wrap, rename and retry; this does not. */
export interface Exchange {
  requests: number
  /** Null: no answer came. */
  status: number | null
  retryAfterMs: number | null
  requestId: string | null
  /** Beginning of an error's body. Never logged: it may quote what was sent. */
  errorText: string
  responseBytes: number
  /** The rest of the body was not read. */
  isCutOff: boolean
  /** The body was announced as something else than what was asked for. */
  isOtherType: boolean
  /** Connecting, sending or receiving failed. */
  isBroken: boolean
}

export function newExchange(): Exchange {
  const nothing = { status: null, retryAfterMs: null, requestId: null, errorText: '', responseBytes: 0 }
  return { requests: 0, ...nothing, isCutOff: false, isOtherType: false, isBroken: false }
}

export interface EndpointRules {
  baseUrl: string
  /** What proves who we are; nothing from anywhere else does. */
  credentials: Readonly<Record<string, string>>
  connectTimeoutMs: number
  turnTimeoutMs: number
  requestBytesMax: number
  responseBytesMax: number
  clock: Clock
}

/**
 * The one door of a provider's requests. They go to the configured address alone, with the configured key alone; redirects are not followed;
 * bodies are bounded both ways, and cut off by closing the connection.
 */
export class Endpoint {
  readonly #rules: EndpointRules
  readonly #base: URL
  #agent: Agent | undefined

  constructor(rules: EndpointRules) {
    this.#rules = rules
    this.#base = new URL(rules.baseUrl)
  }

  /** A `fetch` for one request of a library; what happens is written into `exchange`. */
  fetchFor(
    exchange: Exchange,
    signal: AbortSignal,
    wanted: 'json' | 'stream',
  ): (input: string | URL | Request, init?: RequestInit) => Promise<Response> {
    return async (input, init) => {
      const url = this.#checked(input)
      const { body } = init ?? {}
      if (typeof body !== 'string') throw new InternalError('a request of a model is JSON text')
      // Bounded by the prompt before; the rest of the body is the schema and a few settings.
      if (Buffer.byteLength(body) > this.#rules.requestBytesMax) throw new InternalError('a request of a model is larger than any prompt')
      if (++exchange.requests > 1) throw new InternalError('a library tried again by itself')
      try {
        return await this.#send(url, body, new Headers(init?.headers), exchange, signal, wanted)
      } catch (error) {
        exchange.isBroken = true
        throw error
      }
    }
  }

  /** Drops all connections. */
  async close(): Promise<void> {
    await this.#agent?.destroy()
    this.#agent = undefined
  }

  #checked(input: string | URL | Request): URL {
    const url = new URL(input instanceof Request ? input.url : input)
    const isBelow = url.pathname.startsWith(this.#base.pathname.replace(/\/$/, ''))
    if (url.origin !== this.#base.origin || !isBelow) throw new InternalError('a library asked for another address than the configured one')
    return url
  }

  async #send(
    url: URL,
    body: string,
    headers: Headers,
    exchange: Exchange,
    signal: AbortSignal,
    wanted: 'json' | 'stream',
  ): Promise<Response> {
    const { credentials, clock } = this.#rules
    const sent = Object.fromEntries([...headers].filter(([name]) => HEADERS_SENT.has(name.toLowerCase())))
    const answer = await request(url, {
      dispatcher: this.#dispatcher(),
      method: 'POST',
      headers: { ...sent, ...credentials, 'user-agent': 'fleetpulse-agents/1' },
      body,
      signal,
    })
    // Whoever reads it is told by its reading; one that is dropped unread has nobody to tell.
    answer.body.on('error', () => undefined)
    const header = (name: string): string | null => [answer.headers[name]].flat()[0] ?? null
    exchange.status = answer.statusCode
    exchange.retryAfterMs = retryAfterMs(header('retry-after'), clock.nowMs())
    exchange.requestId = plainId(header('request-id') ?? header('x-request-id'))
    const type = header('content-type') ?? ''
    if (answer.statusCode < 200 || answer.statusCode > 299) {
      exchange.errorText = await beginningOf(answer.body)
      const status = answer.statusCode < 400 ? 502 : Math.min(599, answer.statusCode)
      return new Response(exchange.errorText, { status, headers: { 'content-type': type } })
    }
    exchange.isOtherType = !type.toLowerCase().startsWith(wanted === 'stream' ? 'text/event-stream' : 'application/json')
    if (exchange.isOtherType) {
      answer.body.destroy()
      return new Response('{}', { status: 502, headers: { 'content-type': 'application/json' } })
    }
    return new Response(this.#bounded(answer.body, exchange), { status: 200, headers: { 'content-type': type } })
  }

  #bounded(body: AsyncIterable<Buffer> & { destroy: () => unknown }, exchange: Exchange): ReadableStream<Uint8Array> {
    const { responseBytesMax } = this.#rules
    const pieces = body[Symbol.asyncIterator]()
    return new ReadableStream<Uint8Array>({
      async pull(controller) {
        try {
          const read: IteratorResult<Buffer, unknown> = await pieces.next()
          if (read.done === true) return controller.close()
          const { value } = read
          exchange.responseBytes += value.length
          if (exchange.responseBytes <= responseBytesMax) return controller.enqueue(new Uint8Array(value))
          exchange.isCutOff = true
          body.destroy()
          controller.error(new TypeError('the response is larger than its bound'))
        } catch (error) {
          exchange.isBroken = true
          controller.error(error)
        }
      },
      cancel() {
        body.destroy()
      },
    })
  }

  #dispatcher(): Agent {
    const { connectTimeoutMs, turnTimeoutMs } = this.#rules
    // The turn's own timer ends a request; these only free what that left behind.
    this.#agent ??= new Agent({
      connect: { timeout: connectTimeoutMs },
      pipelining: 1,
      headersTimeout: turnTimeoutMs,
      bodyTimeout: turnTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
    })
    return this.#agent
  }
}

async function beginningOf(body: AsyncIterable<Buffer> & { destroy: () => unknown }): Promise<string> {
  const pieces: Buffer[] = []
  let sizeBytes = 0
  for await (const piece of body) {
    pieces.push(piece)
    sizeBytes += piece.length
    if (sizeBytes >= ERROR_BYTES_MAX) {
      body.destroy()
      break
    }
  }
  return Buffer.concat(pieces).subarray(0, ERROR_BYTES_MAX).toString('utf8')
}

function plainId(header: string | null): string | null {
  return header !== null && /^[\w-]{1,64}$/.test(header) ? header : null
}
