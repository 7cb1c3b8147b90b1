import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ALERT } from '../../contracts/alert.ts'
import { ANOMALY } from '../../contracts/anomaly.ts'
import { READING } from '../../contracts/reading.ts'
import { deviceKey, TOPICS, type TopicName } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import { silentLogger } from '../../kernel/log.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { LiveHub, type LiveEvent } from './live-hub.ts'
import { ApiServer } from './server.ts'
import { ApiFixture, TOKEN } from './testing/api-fixture.ts'

let api: ApiFixture
before(async () => {
  api = await ApiFixture.open({ liveClientsMax: 2, liveQueueMax: 10, liveReadingsPerSecondMax: 10_000 })
})
after(() => api.close())

async function until(what: string, holds: () => boolean, timeoutMs = 60_000): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + timeoutMs
  while (!holds()) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `waited in vain: ${what}`)
    await sleep(systemClock, 5)
  }
}

function append(topic: TopicName, schema: string, device: string, value: object | string, tenant = 'default'): Promise<unknown> {
  const bytes = typeof value === 'string' ? Buffer.from(value) : jsonBytes(value)
  return api.services.eventLog.append(topic, [{ key: deviceKey(tenant, device), schema, value: bytes }])
}

const reading = (device: string, n: number) => ({ tenant: 'default', device, type: 'generic', ts: n, receivedAt: n, correlationId: 'c', values: { n } })

/** A stream over HTTP, as a browser has it. */
async function open(server: ApiServer, query: string) {
  const stop = new AbortController()
  const answer = await fetch(`${server.origin}/api/v1/live${query}`, { headers: { authorization: `Bearer ${TOKEN}` }, signal: stop.signal })
  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('content-type') ?? '', /^text\/event-stream/)
  const state = { text: '', ended: false, stop: () => stop.abort() }
  void (async () => {
    try {
      for await (const chunk of answer.body as AsyncIterable<Uint8Array>) state.text += Buffer.from(chunk).toString()
    } catch (error) {
      assert.ok(error instanceof Error) // cut by the test or by the server: the stream has ended either way
    }
    state.ended = true
  })()
  return state
}

/** Sends until the stream shows that it follows the log: a group is placed when it first polls. */
async function follows(stream: { text: string }, device: string): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + 60_000
  while (!stream.text.includes('"mark"')) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, 'the stream does not follow the log')
    await append(TOPICS.anomalies, ANOMALY, device, { id: 'mark', device })
    await sleep(systemClock, 20)
  }
}

test('a stream shows what its watcher asked for, and passes over what cannot be read', async () => {
  const server = new ApiServer(api.services)
  await server.start()
  const all = await open(server, '')
  const one = await open(server, '?device=d1')
  await follows(all, 'd1')
  await follows(one, 'd1')
  const full = await fetch(`${server.origin}/api/v1/live`, { headers: { authorization: `Bearer ${TOKEN}` } })
  assert.equal(full.status, 429)
  await append(TOPICS.readings, READING, 'd1', reading('d1', 1))
  await append(TOPICS.readings, READING, 'd2', reading('d2', 2))
  await append(TOPICS.anomalies, ANOMALY, 'd2', '{broken')
  await append(TOPICS.anomalies, ANOMALY, 'd2', { id: 'foreign', device: 'd2' }, 'another')
  await append(TOPICS.anomalies, ANOMALY, 'd2', { id: 'seen', device: 'd2' })
  await append(TOPICS.alerts, ALERT, 'd2', { id: 'a-1', change: 'opened', alert: { id: 'a', device: 'd2' } })
  await until('what follows the broken one', () => all.text.includes('"seen"') && all.text.includes('event: alert') && one.text.includes('event: reading'))
  assert.ok(!all.text.includes('event: reading'), 'readings only when asked for')
  assert.ok(!all.text.includes('foreign'), 'another tenant is not seen')
  assert.ok(!one.text.includes('d2'))
  assert.match(one.text, /event: reading\ndata: \{"device":"d1","ts":1,"receivedAt":1,"values":\{"n":1\}\}\n\n/)

  const begin = async (chatType: string): Promise<string> => {
    const body = { title: 'Pumps', agents: ['triage'], chatType, message: 'Is all well?' }
    return (await api.ask('POST', '/conversations', { body })).json<{ id: string }>().id
  }
  const [hidden, known] = [await begin('private'), await begin('group')]
  await until('what happens in conversations', () => all.text.includes(`event: message\ndata: {"conversation":"${known}"`))
  assert.ok(all.text.includes(`event: conversation\ndata: {"conversation":"${known}","change":"ChatCreated"}`))
  assert.ok(!all.text.includes(hidden) && !all.text.includes('Is all well'), 'a private one is nobody’s business, and no words are in it')
  assert.ok(!one.text.includes(known))

  const startedMs = systemClock.monotonicMs()
  await server.stop()
  assert.ok(systemClock.monotonicMs() - startedMs < 900, 'a stop does not wait for open streams, nor for the next record')
  await until('the streams have ended', () => all.ended && one.ended)
})

test('a watcher that leaves frees its place; with the last one the log is left alone', async () => {
  const server = new ApiServer(api.services)
  await server.start()
  for (let round = 0; round < 4; round++) {
    const stream = await open(server, '?device=d1&readings=false')
    await follows(stream, 'd1')
    stream.stop()
    await until('its end', () => stream.ended)
    const deadlineMs = systemClock.monotonicMs() + 60_000
    for (let free = false; !free; ) {
      const probes = await Promise.all([0, 1].map(() => open(server, '').catch(() => undefined)))
      free = probes.every((probe) => probe !== undefined)
      probes.forEach((probe) => probe?.stop())
      assert.ok(systemClock.monotonicMs() < deadlineMs, 'both places are free again')
      await sleep(systemClock, 20)
    }
  }
  await server.stop()
})

test('a stream whose reader does not read is closed when its queue is full', async () => {
  const server = new ApiServer(api.services)
  await server.start()
  const { connect } = await import('node:net')
  const socket = connect(Number(new URL(server.origin).port), '127.0.0.1')
  let closed = false
  socket.on('close', () => (closed = true))
  socket.on('error', () => undefined)
  socket.write(`GET /api/v1/live HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n\r\n`)
  let seen = ''
  const look = (chunk: Buffer): void => void (seen += chunk.toString())
  socket.on('data', look)
  const watching = { get text() { return seen } }
  await follows(watching, 'd1')
  socket.off('data', look)
  socket.pause()
  const large = 'x'.repeat(200_000)
  for (let n = 0; n < 200 && !closed; n++) {
    await append(TOPICS.anomalies, ANOMALY, 'd1', { id: `large-${n}`, device: 'd1', large })
    if (n > 100) socket.resume() // the end is only noticed by who reads
  }
  await until('closed', () => closed)
  await server.stop()
})

test('the hub: after its stop nobody is added, and trouble of the log does not end it', async () => {
  let failures = 2
  const eventLog = new Proxy(api.services.eventLog, {
    get: (target, property) => {
      const value = Reflect.get(target, property) as unknown
      if (typeof value !== 'function') return value
      if (property !== 'consume') return value.bind(target) as unknown
      return async (...args: Parameters<typeof target.consume>) => {
        if (failures-- > 0) throw new Error('no')
        const consumer = await target.consume(...args)
        const close = consumer.close.bind(consumer)
        consumer.close = async () => {
          await close()
          throw new Error('not closed cleanly')
        }
        return consumer
      }
    },
  })
  const hub = new LiveHub({ eventLog, clock: systemClock, log: silentLogger, conversations: api.services.conversations })
  const events: LiveEvent[] = []
  let ended = 0
  const client = { tenant: 'default', device: undefined, readings: false, send: (event: LiveEvent) => void events.push(event), end: () => void ended++ }
  const remove = hub.add(client)
  const seen = { get text() { return events.map((event) => event.data).join() } }
  await follows(seen, 'd1')
  remove()
  hub.add(client)
  await hub.stop()
  assert.equal(ended, 1)
  hub.add(client)
  assert.equal(ended, 2)
  assert.equal(hub.clients, 0)
})
