import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { WebSocket, type ClientOptions } from 'ws'
import type { Principal } from '../../../contracts/authorisation.ts'
import { SOCKET_CLOSE, type ConversationFrame } from '../../../contracts/conversation-frame.ts'
import type { Conversation } from '../../../contracts/conversation.ts'
import { sleep, systemClock, VirtualClock } from '../../../kernel/time.ts'
import { ApiServer } from '../server.ts'
import { ConversationSockets } from './conversation-sockets.ts'
import type { FeedSource } from './conversation-feed.ts'
import { ApiFixture, TOKEN } from '../testing/api-fixture.ts'

let api: ApiFixture
let server: ApiServer
/** Asks often who may stay, and has little room. */
let strict: ApiServer
before(async () => {
  api = await ApiFixture.open()
  server = new ApiServer(api.services)
  strict = new ApiServer({ ...api.services, config: { ...api.services.config, socketsMax: 3, socketPingMs: 1_000 } })
  await Promise.all([server.start(), strict.start()])
})
after(async () => {
  await Promise.all([server.stop(), strict.stop()])
  await api.close()
})

const ADMIN: Principal = { kind: 'user', id: 'admin', tenant: 'default', roles: ['admin'] }
const BEARER = { authorization: `Bearer ${TOKEN}` }

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + 60_000
  while (!holds()) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `waited in vain: ${what}`)
    await sleep(systemClock, 5)
  }
}

async function begin(): Promise<string> {
  const { id } = (await api.ask('POST', '/conversations', { body: { title: 'Pumps', agents: ['triage'] } })).json<Conversation>()
  return id
}
async function say(id: string, content: string): Promise<void> {
  await api.services.conversations.say(ADMIN, id, { content, kind: 'message', to: null })
}

/** What a client of the socket sees. */
class Client {
  readonly frames: ConversationFrame[] = []
  /** From when it was said, in ms. */
  readonly delays = new Map<number, number>()
  readonly socket: WebSocket
  closed: number | undefined
  constructor(id: string, afterSeq = 0, options: ClientOptions = { headers: BEARER }, at = server) {
    this.socket = new WebSocket(`${at.origin.replace('http', 'ws')}/api/v1/conversations/${id}/socket?afterSeq=${afterSeq}`, options)
    this.socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as ConversationFrame
      this.frames.push(frame)
      if (frame.type === 'message') this.delays.set(frame.message.seq, systemClock.nowMs() - frame.message.at)
    })
    this.socket.on('close', (code) => (this.closed = code))
    this.socket.on('error', () => undefined)
  }
  get seqs(): number[] {
    return this.frames.flatMap((frame) => (frame.type === 'message' ? [frame.message.seq] : []))
  }
  get last(): Conversation | undefined {
    return this.frames.flatMap((frame) => (frame.type === 'conversation' ? [frame.conversation] : [])).at(-1)
  }
  has(type: ConversationFrame['type']): boolean {
    return this.frames.some((frame) => frame.type === type)
  }
  async caughtUp(): Promise<this> {
    await until('caught up', () => this.has('caught-up'))
    return this
  }
  async end(): Promise<void> {
    const closed = this.closed === undefined ? once(this.socket, 'close') : undefined
    this.socket.terminate()
    await closed
  }
}

/** Status and body of a handshake that is refused. */
async function refused(id: string, headers: Record<string, string>): Promise<number> {
  const { socket } = new Client(id, 0, { headers }, strict)
  const [request, answer] = (await once(socket, 'unexpected-response')) as [{ destroy(): void }, { statusCode: number }]
  request.destroy()
  return answer.statusCode
}

test('it sends what was said, then what is said within 200 ms, and goes on from a place without gap or repeat', async (t) => {
  const id = await begin()
  for (let n = 1; n <= 25; n++) await say(id, `n${n}`)
  const first = await new Client(id).caughtUp()
  assert.deepEqual(
    first.seqs,
    Array.from({ length: 25 }, (_, i) => i + 1),
  )
  assert.deepEqual([first.frames[0]?.type, first.last?.messageCount], ['conversation', 25])
  for (let n = 26; n <= 45; n++) {
    await say(id, `n${n}`)
    await until(`message ${n}`, () => first.delays.has(n))
  }
  const delays = Array.from({ length: 20 }, (_, i) => first.delays.get(26 + i) as number).sort((a, b) => a - b)
  t.diagnostic(`said to seen: p50 ${delays[10]} ms, p90 ${delays[18]} ms, max ${delays.at(-1)} ms (bound 200 ms)`)
  assert.ok((delays[10] as number) <= 200, 'the usual delay, even beside other work of the machine')
  await first.end()
  await say(id, 'while nobody watched')
  const again = await new Client(id, 45).caughtUp()
  await say(id, 'and after')
  await until('both', () => again.seqs.length === 2)
  assert.deepEqual(again.seqs, [46, 47])
  await api.ask('POST', `/conversations/${id}/leave`)
  await until('that somebody left', () => again.last?.participants[0]?.leftAt !== null)
  await api.ask('POST', `/conversations/${id}/terminate`)
  await until('its end', () => again.last?.state === 'closed')
  assert.equal(again.last?.terminationReason, 'user_interrupt')
  await again.end()
})

test('how far somebody read is told although nothing else changed', async () => {
  const id = await begin()
  await say(id, 'n1')
  const client = await new Client(id).caughtUp()
  await api.ask('POST', `/conversations/${id}/receipts`, { body: { kind: 'read', seq: 1 } })
  await until('the mark', () => client.last?.participants.find((each) => each.id === 'user:admin')?.readSeq === 1)
  assert.deepEqual(client.seqs, [1], 'and nothing is said twice')
  await client.end()
})

test('who may not watch is refused before the handshake, as on every route', async () => {
  const id = await begin()
  assert.equal(await refused(id, { authorization: 'Bearer wrong' }), 401)
  assert.equal(await refused(id, {}), 401)
  assert.equal(await refused('nothing', BEARER), 404)
  assert.equal(await refused(id, { ...BEARER, origin: 'https://elsewhere.example' }), 403)
  assert.equal((await api.ask('GET', `/conversations/${id}/socket`)).statusCode, 426)
  const session = await fetch(`${strict.origin}/api/v1/session`, {
    ...{ method: 'POST', body: JSON.stringify({ token: TOKEN }) },
    headers: { 'content-type': 'application/json' },
  })
  const cookie = (session.headers.get('set-cookie') ?? '').split(';')[0] ?? ''
  assert.equal(await refused(id, { cookie, origin: 'https://elsewhere.example' }), 403, 'a page of elsewhere has the cookie all the same')
  const own = await new Client(id, 0, { headers: { cookie, origin: strict.origin } }, strict).caughtUp()
  const watch = () => new Client(id, 0, { headers: BEARER }, strict).caughtUp()
  const others = [await watch(), await watch()]
  assert.equal(await refused(id, BEARER), 429, 'there is a bound')
  assert.equal((await fetch(`${strict.origin}/api/v1/session`, { method: 'DELETE', headers: { cookie } })).status, 204)
  await until('the end of who logged out', () => own.closed === 4401)
  others[0]?.socket.send('hello')
  await until('the end of who speaks', () => others[0]?.closed === 1008)
  await others[1]?.end()
})

/** A connection whose peer takes nothing, or does not answer. */
class StuckSocket extends EventEmitter {
  readonly OPEN = 1
  readyState = 1
  sent = 0
  pings = 0
  closedWith: number | undefined
  isCut = false
  takes = true
  send(_text: string, done: () => void): void {
    this.sent++
    if (this.takes) setImmediate(done)
  }
  ping(): void {
    this.pings++
  }
  close(code: number): void {
    this.closedWith = code
    this.readyState = 2
  }
  terminate(): void {
    this.isCut = true
    this.readyState = 3
    this.emit('close')
  }
}

test('who takes nothing, answers no ping or may not watch any more is let go with a reason, and its place is free', async () => {
  const id = await begin()
  await say(id, 'one')
  const clock = new VirtualClock()
  const sockets = new ConversationSockets({ ...api.services, clock })
  const principal = ADMIN
  const { conversations } = api.services
  const source: FeedSource = {
    view: () => conversations.get(principal, id),
    messages: (afterSeq) => conversations.messages(principal, id, afterSeq, 20),
    digest: async () => null,
  }
  let mayStay = true
  const open = (takes: boolean): StuckSocket => {
    const socket = Object.assign(new StuckSocket(), { takes })
    sockets.accept(socket as unknown as WebSocket, {
      principal,
      conversation: id,
      afterSeq: 0,
      source,
      mayStay: () => Promise.resolve(mayStay),
    })
    return socket
  }
  const slow = open(false)
  await until('its first frame', () => slow.sent === 1)
  for (let n = 0; n < 3; n++) await say(id, 'more')
  await clock.advance(api.services.config.socketStallMs)
  assert.deepEqual([slow.closedWith, slow.sent], [SOCKET_CLOSE.tooSlow, 1], 'no more than one frame waits')
  await clock.advance(1_000)
  assert.ok(slow.isCut)

  const deaf = open(true)
  await until('the last frame', () => deaf.sent === 6)
  await clock.advance(api.services.config.socketPingMs)
  deaf.emit('pong')
  await clock.advance(api.services.config.socketPingMs)
  assert.deepEqual([deaf.pings, deaf.isCut, sockets.open], [2, false, 1])
  await clock.advance(api.services.config.socketPingMs)
  assert.deepEqual([deaf.isCut, sockets.open], [true, 0])

  const former = open(true)
  await until('its last frame', () => former.sent === 6)
  mayStay = false
  await clock.advance(api.services.config.socketPingMs)
  assert.equal(former.closedWith, SOCKET_CLOSE.forbidden)
  await clock.advance(1_000)
  assert.equal(sockets.open, 0)
  await sockets.stop()
})

test('another upgrade is passed over, and its request answered like the others', async () => {
  const body = JSON.stringify({ title: 'From Java', agents: ['triage'] })
  const socket = connect(Number(new URL(server.origin).port), '127.0.0.1')
  const head = `POST /api/v1/conversations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  socket.write(head + body.slice(0, 10))
  await sleep(systemClock, 20)
  socket.write(body.slice(10))
  await until('an answer', () => text.includes('From Java'))
  assert.match(text, /^HTTP\/1.1 201 /)
  socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
  await until('the next answer on the same connection', () => /201[^]*HTTP\/1.1 200/.test(text))
  socket.destroy()
})

test('a stop closes every socket with its reason', async () => {
  const other = new ApiServer(api.services)
  await other.start()
  const id = await begin()
  const socket = new WebSocket(`${other.origin.replace('http', 'ws')}/api/v1/conversations/${id}/socket`, { headers: BEARER })
  await once(socket, 'open')
  const [[code]] = (await Promise.all([once(socket, 'close'), other.stop()])) as [[number], void]
  assert.equal(code, 1001)
})
