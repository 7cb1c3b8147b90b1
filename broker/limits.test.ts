import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test, type TestContext } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { createLogger } from '../kernel/log.ts'
import { systemClock } from '../kernel/time.ts'
import { BrokerFixture, closed, until } from './testing/broker-fixture.ts'
import { connect, publish, subscribe } from './testing/raw-packets.ts'

async function open(t: TestContext, config: object): Promise<BrokerFixture> {
  const fixture = await BrokerFixture.open({ config })
  t.after(() => fixture.close())
  return fixture
}

test('the defaults let in 50 devices at once', async (t) => {
  const fixture = await open(t, {})
  const certificates = await Promise.all(Array.from({ length: 50 }, (_, n) => fixture.device(`d${n}`)))
  const clients = await Promise.all(certificates.map((certificate, n) => fixture.connected(`d${n}`, certificate)))
  assert.equal(clients.filter((client) => client.connected).length, 50)
  assert.equal(await fixture.counted('fleetpulse_broker_refusals_total'), 0)
})

test('connectionsMax and connectBurstMax refuse before the handshake', async (t) => {
  const fixture = await open(t, { connectionsMax: 2 })
  const pump = await fixture.device('pump-1')
  await fixture.socket(pump)
  await fixture.socket(pump)
  await assert.rejects(fixture.socket(pump))
  assert.equal(await fixture.refusals('connections-max'), 1)

  const slow = await open(t, { connectBurstMax: 3, connectRatePerS: 0.1 })
  const valve = await slow.device('valve-1')
  for (let n = 0; n < 3; n++) (await slow.socket(valve)).destroy()
  await assert.rejects(slow.socket(valve))
  assert.equal(await slow.refusals('connect-rate'), 1)
})

test('connectionsPerDeviceMax counts one device, half open connections included', async (t) => {
  const fixture = await open(t, { connectionsPerDeviceMax: 2 })
  const pump = await fixture.device('pump-1')
  await fixture.socket(pump)
  await fixture.socket(pump)
  await until('both', async () => (await fixture.counted('fleetpulse_broker_connections', { listener: 'mqtts' })) === 2)
  await assert.rejects(fixture.connected('pump-1', pump))
  assert.equal(await fixture.refusals('connections-per-device-max'), 1)
  const other = await fixture.connected('valve-1', await fixture.device('valve-1'))
  await other.endAsync()
})

test('subscriptionsPerSessionMax: one more is answered 0x80, a known one is renewed, a given up one makes room', async (t) => {
  const fixture = await open(t, { subscriptionsPerSessionMax: 2 })
  const pump = await fixture.device('pump-1')
  const socket = await fixture.socket(pump)
  socket.write(connect('pump-1', { clean: false }))
  await once(socket, 'data')
  const answerTo = async (filters: string[]): Promise<number[]> => {
    socket.write(
      subscribe(
        1,
        filters.map((filter) => [`devices/pump-1/${filter}`, 1] as const),
      ),
    )
    return [...((await once(socket, 'data')) as [Buffer])[0]].slice(4)
  }
  assert.deepEqual(await answerTo(['commands/+', 'twin/+', 'status']), [1, 1, 0x80])
  assert.deepEqual(await answerTo(['twin/+', 'events']), [1, 0x80])
  assert.equal(await fixture.refusals('subscriptions-max'), 2)
  assert.equal(await fixture.counted('fleetpulse_broker_sessions'), 1)
})

test('sessionsMax: a new persistent session over it is answered with return code 3', async (t) => {
  const fixture = await open(t, { sessionsMax: 1 })
  for (const [id, code] of [
    ['a', 0],
    ['b', 3],
    ['a', 0],
  ] as const) {
    const socket = await fixture.socket(await fixture.device(id))
    socket.write(connect(id, { clean: false }))
    assert.equal(((await once(socket, 'data')) as [Buffer])[0][3], code, id)
    socket.destroy()
  }
  const clean = await fixture.connected('b', await fixture.device('b'))
  await clean.endAsync()
})

test('packet size and idle time before CONNECT are the packet check’s, counted here', async (t) => {
  const fixture = await open(t, { packets: { packetBytesMax: 1_024, connectTimeoutMs: 100, closeGraceMs: 20 } })
  const pump = await fixture.device('pump-1')
  const idle = await fixture.socket(pump)
  await closed(idle)
  const large = await fixture.socket(pump)
  large.write(Buffer.concat([connect('pump-1'), publish('devices/pump-1/telemetry', 'x'.repeat(2_000), { qos: 1, messageId: 1 })]))
  await closed(large)
  assert.equal(await fixture.refusals('packet'), 2)
  assert.equal(await fixture.counted('fleetpulse_broker_packet_violations_total', { code: 'connect-timeout' }), 1)
  assert.equal(fixture.sink.taken.length, 0)
})

test('a WebSocket client that never asks for the upgrade is ended', async (t) => {
  const fixture = await open(t, { handshakeTimeoutMs: 200 })
  const socket = await fixture.socket(await fixture.device('pump-1'), { port: fixture.broker.ports?.wss ?? 0 })
  socket.write('GET /mqtt HTTP/1.1\r\nHost: x\r\n')
  await closed(socket)
  assert.equal(await fixture.refusals('websocket'), 1)
})

test('QoS 2 publishes left open are bounded by inboundQos2Max', async (t) => {
  const fixture = await open(t, { inboundQos2Max: 3 })
  const socket = await fixture.socket(await fixture.device('pump-1'))
  socket.write(connect('pump-1'))
  for (const messageId of [1, 2, 3, 4]) socket.write(publish('devices/pump-1/events', 'x', { qos: 2, messageId }))
  await closed(socket)
  assert.equal(await fixture.refusals('broker-error'), 1)
})

test('above publishRatePerS a device is slowed, and nothing is lost or reordered', async (t) => {
  const fixture = await open(t, { publishRatePerS: 200, publishBurstMax: 10 })
  const client = await fixture.connected('pump-1', await fixture.device('pump-1'))
  const startedMs = systemClock.monotonicMs()
  await Promise.all(
    Array.from({ length: 50 }, (_, n) => client.publishAsync('devices/pump-1/telemetry', `${n}`, { qos: n % 2 === 0 ? 1 : 0 })),
  )
  await until('all of them', () => fixture.sink.taken.length === 50)
  const tookMs = systemClock.monotonicMs() - startedMs
  // The bucket fills once more while the device connects: at least 30 publishes are paced, however slow that was.
  assert.ok(tookMs >= 145, `40 publishes at 200/s came through in ${tookMs} ms`)
  assert.deepEqual(
    fixture.sink.taken.map(({ payload }) => Number(Buffer.from(payload).toString())),
    Array.from({ length: 50 }, (_, n) => n),
  )
  await until('the count', async () => (await fixture.counted('fleetpulse_broker_throttled_publishes_total')) > 0)
})

test('a device that does not read is disconnected after drainTimeoutMs; its bounded queue waits for it', async (t) => {
  const fixture = await open(t, { drainTimeoutMs: 300, queueMessagesMax: 40 })
  const pump = await fixture.device('pump-1')
  const socket = await fixture.socket(pump)
  socket.write(connect('pump-1', { clean: false }))
  await once(socket, 'data')
  socket.write(subscribe(1, [['devices/pump-1/commands/+', 1]]))
  await once(socket, 'data')
  socket.pause()
  const sent: string[] = []
  const payload = Buffer.alloc(200_000, 1)
  await Promise.all(
    Array.from({ length: 60 }, async (_, n) =>
      sent.push((await fixture.broker.publishDown('default', 'pump-1', `commands/${n}`, payload)).status),
    ),
  )
  assert.deepEqual([sent.filter((status) => status === 'sent').length, sent.filter((status) => status === 'queue-full').length], [40, 20])
  await until('the disconnect', () => !fixture.broker.isConnected('default', 'pump-1'))
  assert.equal(await fixture.counted('fleetpulse_broker_queued_messages'), 40)
})

test('sessions not used for sessionExpiryMs are forgotten, connected ones stay', async (t) => {
  const fixture = await open(t, { sessionExpiryMs: 1_000, sessionSweepMs: 50 })
  const stays = await fixture.connected('stays', await fixture.device('stays'), { clean: false })
  const leaves = await fixture.connected('leaves', await fixture.device('leaves'), { clean: false })
  await leaves.endAsync()
  await until('the expiry', async () => (await fixture.counted('fleetpulse_broker_sessions')) === 1)
  assert.equal(stays.connected, true)
})

test('a port in use is one plain error, and nothing stays open', async (t) => {
  const blocker = createServer().listen(0, '127.0.0.1')
  await once(blocker, 'listening')
  t.after(() => blocker.close())
  const { port } = blocker.address() as { port: number }
  await assert.rejects(BrokerFixture.open({ config: { wssPort: port } }), { code: 'PORT_IN_USE' })
})

test('refusals are logged at a bounded rate and summed up', async (t) => {
  const lines: Record<string, unknown>[] = []
  const log = createLogger({
    level: 'warn',
    destination: { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) },
  })
  const fixture = await BrokerFixture.open({ config: { refusalLogsPerS: 2 }, log })
  t.after(() => fixture.close())
  const stranger = await fixture.authority.device('nobody')
  for (let n = 0; n < 6; n++) {
    const socket = connectTls({
      host: '127.0.0.1',
      port: fixture.broker.ports?.mqtts ?? 0,
      ca: fixture.authority.caPem,
      servername: 'localhost',
      ...stranger,
    })
    await closed(socket)
  }
  assert.equal(await fixture.refusals('unknown-device'), 6)
  await fixture.broker.stop()
  const refused = lines.filter((line) => line.reason === 'unknown-device')
  const single = refused.filter((line) => line.device === 'nobody' && line.remoteAddress === '127.0.0.1')
  const summed = refused.filter((line) => typeof line.count === 'number').reduce((sum, line) => sum + (line.count as number), 0)
  assert.ok(single.length >= 2 && single.length < 6, `${single.length} lines`)
  assert.equal(single.length + summed, 6)
})
