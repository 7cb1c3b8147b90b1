import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, beforeEach, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import type { IPublishPacket } from 'mqtt-packet'
import { systemClock } from '../kernel/time.ts'
import { BrokerFixture, closed, until } from './testing/broker-fixture.ts'
import { connack, connect, publish, pubrel, subscribe } from './testing/raw-packets.ts'
import type { TestCertificate } from './testing/test-authority.ts'

let fixture: BrokerFixture
let pump: TestCertificate

before(async () => {
  fixture = await BrokerFixture.open()
  pump = await fixture.device('pump-1')
})
after(() => fixture.close())
beforeEach(() => {
  fixture.sink.holds = false
  fixture.sink.fails = false
  fixture.sink.taken.length = 0
  fixture.sink.held.length = 0
})

/** A connected bare client that keeps what it receives. */
async function session(clean = true, certificate = pump, id = 'pump-1'): Promise<{ socket: TLSSocket; received: () => Buffer }> {
  const socket = await fixture.socket(certificate)
  const chunks: Buffer[] = []
  socket.write(connect(id, { clean }))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  assert.equal(answer[3], 0)
  socket.on('data', (chunk) => chunks.push(chunk))
  return { socket, received: () => Buffer.concat(chunks) }
}

/** One device, one broker: time for what must not come to come. */
async function settle(socket: TLSSocket): Promise<void> {
  const pings = Buffer.from([0xc0, 0])
  socket.write(pings)
  await once(socket, 'data')
}

test('every kind of uplink reaches ingest with its path, QoS 0 too, with ids of their own', async () => {
  const client = await fixture.connected('pump-1', pump)
  for (const [path, qos] of [
    ['telemetry', 0],
    ['telemetry', 1],
    ['events', 2],
    ['status', 1],
    ['commands/42/result', 1],
    ['twin/reported', 1],
  ] as const) {
    await client.publishAsync(`devices/pump-1/${path}`, `${path}/${qos}`, { qos })
  }
  await until('six uplinks', () => fixture.sink.taken.length === 6)
  assert.deepEqual(fixture.sink.texts, [
    'telemetry=telemetry/0',
    'telemetry=telemetry/1',
    'events=events/2',
    'status=status/1',
    'commands/42/result=commands/42/result/1',
    'twin/reported=twin/reported/1',
  ])
  const ids = new Set(fixture.sink.taken.map(({ correlationId }) => correlationId))
  assert.equal(ids.size, 6)
  for (const uplink of fixture.sink.taken) {
    assert.deepEqual([uplink.tenant, uplink.device], ['default', 'pump-1'])
    assert.ok(Math.abs(uplink.receivedAt - systemClock.nowMs()) < 60_000)
  }
  await client.endAsync()
})

test('no PUBACK before it is durable, and then in order [MQTT-4.6.0-2]', async () => {
  fixture.sink.holds = true
  const { socket, received } = await session()
  for (const messageId of [1, 2, 3]) socket.write(publish('devices/pump-1/telemetry', `${messageId}`, { qos: 1, messageId }))
  await until('three appends', () => fixture.sink.held.length === 3)
  await settle(socket)
  assert.deepEqual(received(), Buffer.from([0xd0, 0]), 'a ping is answered, a publish is not')
  for (const done of fixture.sink.held) done()
  await until('three PUBACKs', () => received().length === 14)
  assert.deepEqual([...received().subarray(2)], [0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3])
  socket.destroy()
})

test('what could not be made durable closes the connection unacknowledged', async () => {
  fixture.sink.fails = true
  const refused = await fixture.refusals('uplink-failed')
  const { socket, received } = await session()
  socket.write(publish('devices/pump-1/telemetry', 'x', { qos: 1, messageId: 1 }))
  await closed(socket)
  assert.equal(received().length, 0)
  assert.equal(await fixture.refusals('uplink-failed'), refused + 1)
})

test('QoS 2: a repeated publish is appended once: before its PUBREC, after it, on another connection, after a restart', async () => {
  fixture.sink.holds = true
  const first = await session(false)
  const original = publish('devices/pump-1/events', 'once', { qos: 2, messageId: 9 })
  const repeated = publish('devices/pump-1/events', 'once', { qos: 2, messageId: 9, dup: true })
  first.socket.write(original)
  await until('the append', () => fixture.sink.held.length === 1)
  first.socket.destroy()
  const second = await session(false)
  second.socket.write(repeated)
  await settle(second.socket)
  fixture.sink.held[0]?.()
  await until('PUBREC', () => second.received().includes(Buffer.from([0x50, 2, 0, 9])))
  second.socket.write(repeated)
  await until('PUBREC again', () => second.received().toString('hex').split('50020009').length === 3)
  second.socket.destroy()

  await fixture.restart()
  const third = await session(false)
  third.socket.write(repeated)
  await until('PUBREC after the restart', () => third.received().includes(Buffer.from([0x50, 2, 0, 9])))
  assert.deepEqual(fixture.sink.texts, ['events=once'])
  third.socket.write(pubrel(9))
  await until('PUBCOMP', () => third.received().includes(Buffer.from([0x70, 2, 0, 9])))
  fixture.sink.holds = false
  third.socket.write(original)
  await until('the packet id in new use', () => fixture.sink.texts.length === 2)
  third.socket.destroy()
  const cleaned = await session()
  cleaned.socket.destroy()
})

test('a device that listens to itself hears what it sends, while it listens', async () => {
  const client = await fixture.connected('pump-1', pump)
  const heard: string[] = []
  client.on('message', (_topic, payload) => heard.push(payload.toString()))
  const send = (text: string): Promise<unknown> => client.publishAsync('devices/pump-1/telemetry', text, { qos: 1 })
  await send('before')
  await client.subscribeAsync('devices/pump-1/telemetry', { qos: 1 })
  await send('while')
  await until('its own message', () => heard.length === 1)
  await client.unsubscribeAsync('devices/pump-1/telemetry')
  await send('after')
  assert.deepEqual(heard, ['while'])
  assert.deepEqual(fixture.sink.texts, ['telemetry=before', 'telemetry=while', 'telemetry=after'])
  await client.endAsync()
})

test('commands: to a connected device, into the queue of an absent one, nowhere for one without a session; over a restart, in order', async () => {
  const other = await fixture.device('pump-3')
  const down = (text: string, device = 'pump-3'): Promise<{ status: string }> =>
    fixture.broker.publishDown('default', device, `commands/${text}`, Buffer.from(text))
  // Nobody holds a device that never connected: the message is left to whoever does, in the log.
  assert.deepEqual(await down('c0'), { status: 'forwarded' })
  const first = await session(false, other, 'pump-3')
  first.socket.write(subscribe(1, [['devices/pump-3/commands/+', 1]]))
  await once(first.socket, 'data')
  assert.deepEqual(await down('c1'), { status: 'sent' })
  await until('c1', () => first.received().includes('c1'))
  first.socket.destroy()
  await until('the disconnect', () => !fixture.broker.isConnected('default', 'pump-3'))
  assert.deepEqual([await down('c2'), await down('c3')], [{ status: 'queued' }, { status: 'queued' }])

  await fixture.restart()
  assert.deepEqual(await down('c4'), { status: 'queued' })
  const packets: IPublishPacket[] = []
  const client = fixture.client('pump-3', other, { clean: false })
  client.on('packetreceive', (packet) => {
    if (packet.cmd === 'publish') packets.push(packet)
  })
  await until('the queue', () => packets.length === 4)
  // c1 went out before and was not acknowledged: it is repeated as such [MQTT-3.3.1-1] [MQTT-4.4.0-1].
  assert.deepEqual(
    packets.map(({ topic, payload, dup, qos }) => [topic, String(payload), dup, qos]),
    [
      ['devices/pump-3/commands/c1', 'c1', true, 1],
      ['devices/pump-3/commands/c2', 'c2', false, 1],
      ['devices/pump-3/commands/c3', 'c3', false, 1],
      ['devices/pump-3/commands/c4', 'c4', false, 1],
    ],
  )
  await until('the queue to empty', async () => (await fixture.counted('fleetpulse_broker_queued_messages')) === 0)
  await client.endAsync()
})

test('sessions are present again after a restart, also without subscriptions, and retained twins are kept', async () => {
  const device = await fixture.device('pump-4')
  const first = await fixture.socket(device)
  first.write(connect('pump-4', { clean: false }))
  assert.deepEqual((await once(first, 'data'))[0], connack(0, false))
  first.destroy()
  assert.deepEqual(await fixture.broker.publishDown('default', 'pump-4', 'twin/desired', Buffer.from('{"v":1}'), { retain: true }), {
    status: 'unreachable',
  })
  await fixture.restart()
  const second = await fixture.socket(device)
  second.write(connect('pump-4', { clean: false }))
  assert.deepEqual((await once(second, 'data'))[0], connack(0, true))
  const heard: Buffer[] = []
  second.on('data', (chunk) => heard.push(chunk))
  second.write(subscribe(1, [['devices/pump-4/twin/+', 1]]))
  await until('the retained twin', () => Buffer.concat(heard).includes('{"v":1}'))
  second.destroy()
})

test('a retained publish is on disk before its PUBACK', async () => {
  const { socket, received } = await session()
  socket.write(publish('devices/pump-1/status', 'here', { qos: 1, messageId: 5, retain: true }))
  await until('PUBACK', () => received().includes(Buffer.from([0x40, 2, 0, 5])))
  const collection = await fixture.documents.collection<{ payloadBase64: string }>({ name: 'broker-retained', indexes: [] })
  const stored = await collection.get('default/devices/pump-1/status')
  assert.equal(Buffer.from(stored?.payloadBase64 ?? '', 'base64').toString(), 'here')
  socket.destroy()
})

test('wrong downward paths and oversized messages are refused by name', async () => {
  const down = (path: string, payload = Buffer.from('x')): Promise<unknown> =>
    fixture.broker.publishDown('default', 'pump-1', path, payload)
  for (const path of ['telemetry', 'commands/', 'commands/a/b', 'commands/+', 'commands/#', 'twin/reported', '']) {
    await assert.rejects(down(path), { code: 'INVALID_INPUT' })
  }
  await assert.rejects(down('commands/1', Buffer.alloc(300_000)), { code: 'INVALID_INPUT' })
})

test('a stop lets pending publishes become durable and be acknowledged', async () => {
  fixture.sink.holds = true
  const { socket, received } = await session()
  socket.write(publish('devices/pump-1/telemetry', 'last', { qos: 1, messageId: 8 }))
  await until('the append', () => fixture.sink.held.length === 1)
  const stopped = fixture.broker.stop()
  fixture.sink.held[0]?.()
  await stopped
  await closed(socket)
  assert.deepEqual(received(), Buffer.from([0x40, 2, 0, 8]))
  await fixture.restart()
})
