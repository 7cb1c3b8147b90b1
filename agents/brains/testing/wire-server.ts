import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { text } from 'node:stream/consumers'
import { sleep, systemClock, type Clock } from '../../../kernel/time.ts'
import type { ProviderKind } from '../brain.ts'
import { FIXTURES, type Answer, type StreamEvent, type WireFixtures } from './wire-fixtures.ts'

export const SCENARIOS = [
  ...(['ok', 'toolCall', 'refusal', 'maxTokens', 'bad400', 'key401', 'quota', 'rate429', 'error500', 'overloaded'] as const),
  ...(['slowHeaders', 'slowBody', 'cut', 'badJson', 'wrongType', 'empty', 'huge', 'redirect'] as const),
] as const
export type Scenario = (typeof SCENARIOS)[number]
/** A scenario, or words that the model says. */
export type Said = Scenario | { says: string }

export interface SeenRequest {
  path: string
  headers: IncomingHttpHeaders
  body: string
  atMs: number
}

const HUGE_BYTES = 10 * 1_024 * 1_024

/** A provider on this machine: speaks one wire, does what it is told, and remembers what it was sent. */
export class WireServer {
  readonly requests: SeenRequest[] = []
  /** Bytes of bodies that it got rid of. */
  sentBytes = 0
  /** ms that it thinks before it answers. */
  thinksMs = 0
  readonly #fixtures: WireFixtures
  readonly #clock: Clock
  readonly #server = createServer((request, response) => void this.#serve(request, response))
  #said: Said[] = []
  #words: ((body: string) => string) | undefined

  constructor(kind: ProviderKind, clock: Clock = systemClock) {
    this.#fixtures = FIXTURES[kind]
    this.#clock = clock
  }

  static async start(t: TestContext, kind: ProviderKind, clock?: Clock): Promise<WireServer> {
    const server = new WireServer(kind, clock)
    await server.open()
    t.after(() => server.close())
    return server
  }

  async open(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** What the next requests are answered; the last of them stays. */
  say(...said: Said[]): void {
    this.#said = said
  }

  /** Words for each request, from what it was sent. */
  reply(words: (body: string) => string): void {
    this.#words = words
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => response.destroy())
    const path = request.url ?? ''
    const body = await text(request).catch(() => '')
    this.requests.push({ path, headers: request.headers, body, atMs: this.#clock.monotonicMs() })
    if (!this.#fixtures.path.test(path)) return void response.writeHead(404).end()
    if (this.thinksMs > 0) await sleep(this.#clock, this.thinksMs)
    const next = (this.#said.length > 1 ? this.#said.shift() : this.#said[0]) ?? 'ok'
    const said = this.#words === undefined ? next : { says: this.#words(body) }
    const isStream = this.#fixtures.isStream(path, JSON.parse(body) as { stream?: boolean })
    await this.#answer(said, isStream, response)
  }

  async #answer(said: Said, isStream: boolean, response: ServerResponse): Promise<void> {
    const { errors, refusal, toolCall } = this.#fixtures
    if (typeof said === 'object') return this.#speak(said.says, isStream, response)
    if (said in errors) return this.#error(errors[said as keyof typeof errors], response)
    const whole = JSON.stringify(this.#fixtures.reply(GOOD))
    const type = isStream ? 'text/event-stream' : 'application/json'
    switch (said) {
      case 'refusal':
      case 'toolCall':
        return this.#either(said === 'refusal' ? refusal() : toolCall(), isStream, response)
      case 'maxTokens':
        return this.#speak(GOOD.slice(0, GOOD.length >> 1), isStream, response, 'length')
      case 'slowHeaders':
        return
      case 'slowBody':
      case 'cut': {
        response.writeHead(200, { 'content-type': type })
        response.write(isStream ? this.#stream(this.#fixtures.replyEvents(GOOD).slice(0, -3)) : whole.slice(0, whole.length >> 1))
        if (said === 'cut') this.#clock.after(20, () => response.destroy())
        return
      }
      case 'badJson':
        return void response
          .writeHead(200, { 'content-type': type })
          .end(isStream ? 'event: message_start\ndata: {"type": \n\n' : `${whole.slice(0, -3)},,`)
      case 'wrongType':
        return void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>please log in</html>')
      case 'empty':
        return void response.writeHead(200, { 'content-type': type }).end()
      case 'redirect':
        return void response.writeHead(307, { location: `${this.origin}/elsewhere` }).end()
      case 'huge':
        return this.#huge(type, isStream, response)
      default:
        return this.#speak(GOOD, isStream, response)
    }
  }

  #speak(words: string, isStream: boolean, response: ServerResponse, stop: 'end' | 'length' = 'end'): void {
    const { reply, replyEvents } = this.#fixtures
    this.#either({ json: reply(words, stop), events: replyEvents(words, stop) }, isStream, response)
  }

  #either({ json, events }: { json: unknown; events: StreamEvent[] }, isStream: boolean, response: ServerResponse): void {
    response.writeHead(200, {
      'content-type': isStream ? 'text/event-stream; charset=utf-8' : 'application/json',
      'x-request-id': 'req_42',
    })
    response.end(isStream ? this.#stream(events) : JSON.stringify(json))
  }

  #error({ status, headers, body }: Answer, response: ServerResponse): void {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

  #stream(events: readonly StreamEvent[]): string {
    const lines = events.map(
      ({ event, data }) =>
        `${event === undefined ? '' : `event: ${event}\n`}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`,
    )
    return lines.join('')
  }

  /** Words without end, as fast as they are taken, up to ten MiB. */
  async #huge(type: string, isStream: boolean, response: ServerResponse): Promise<void> {
    response.writeHead(200, { 'content-type': type })
    const piece = isStream ? this.#stream(this.#fixtures.replyEvents('x'.repeat(8_000)).slice(0, -3)) : 'x'.repeat(16_384)
    if (!isStream) response.write(JSON.stringify(this.#fixtures.reply('x')).replace(/"x"\D.*$/s, '"'))
    for (let sentBytes = 0; sentBytes < HUGE_BYTES && !response.destroyed; sentBytes += piece.length) {
      this.sentBytes += piece.length
      if (!response.write(piece)) await roomIn(response)
    }
    response.end()
  }
}

function roomIn(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      response.off('drain', go).off('close', go)
      resolve()
    }
    response.on('drain', go).on('close', go)
  })
}

/** A draft that is one, the way every wire carries it. */
export const GOOD_REPLY = {
  headline: '{dev:D1} {metric:M1} reached {c:c1.value} [ev:E1]',
  sentences: [{ section: 'what_happened', text: '{dev:D1} {metric:M1} reached {c:c1.value} [ev:E1].', claims: ['c1'] }],
  causes: [{ code: 'sensor_fault.drift', level: 'LIKELY', evidence: ['E1'] }],
  checks: ['RB-001'],
  control: null,
}
const GOOD = JSON.stringify(GOOD_REPLY)
