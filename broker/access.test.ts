import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { after, before, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { WebSocket } from 'ws'
import { systemClock } from '../kernel/time.ts'
import { BrokerFixture, closed, until } from './testing/broker-fixture.ts'
import { connack, connect, publish, subscribe } from './testing/raw-packets.ts'
import { TestAuthority, type TestCertificate } from './testing/test-authority.ts'

let fixture: BrokerFixture
let pump: TestCertificate

before(async () => {
  fixture = await BrokerFixture.open()
  pump = await fixture.device('pump-1')
})
after(() => fixture.close())

/** Connects with a certificate and waits for the close; resolves to the bytes the broker sent before it. */
async function outcome(certificate: TestCertificate | undefined, packets: Buffer, options: object = {}): Promise<Buffer> {
  const received: Buffer[] = []
  const socket = connectTls({
    host: '127.0.0.1',
    port: fixture.broker.ports?.mqtts ?? 0,
    ca: fixture.authority.caPem,
    servername: 'localhost',
    ...(certificate === undefined ? {} : { key: certificate.key, cert: certificate.cert }),
    ...options,
  })
  socket.on('data', (chunk) => received.push(chunk))
  socket.write(packets)
  await closed(socket)
  return Buffer.concat(received)
}

async function refusedFor(reason: string, run: () => Promise<unknown>): Promise<void> {
  const before = await fixture.refusals(reason)
  await run()
  await until(`a refusal for ${reason}`, async () => (await fixture.refusals(reason)) === before + 1)
}

test('a device with its certificate and its own client id is let in, and told apart from nobody else', async () => {
  const client = await fixture.connected('pump-1', pump)
  assert.equal(fixture.broker.isConnected('default', 'pump-1'), true)
  assert.equal(fixture.broker.isConnected('other', 'pump-1'), false)
  await client.endAsync()
  await until('the disconnect', () => fixture.sessions.at(-1)?.kind === 'disconnected')
  const [connected, disconnected] = fixture.sessions.slice(-2)
  assert.equal(connected?.kind, 'connected')
  assert.equal(connected?.correlationId, disconnected?.correlationId)
  assert.deepEqual([connected?.tenant, connected?.device, connected?.remoteAddress], ['default', 'pump-1', '127.0.0.1'])
})

test('certificates that say nothing usable, or of nobody we know, are refused with their reason', async () => {
  const stranger = await TestAuthority.create(systemClock, 'Stranger Root')
  const expired = await fixture.authority.device('pump-1', { notAfterMs: systemClock.nowMs() - 60_000 })
  const hello = connect('pump-1')
  await refusedFor('no-certificate', () => outcome(undefined, hello))
  await refusedFor('unknown-ca', async () => outcome(await stranger.device('pump-1'), hello))
  await refusedFor('certificate-expired', () => outcome(expired, hello))
  await refusedFor('identity', async () => outcome(await fixture.authority.device('pump-1', { uris: [] }), hello))
  await refusedFor('identity', async () => outcome(await fixture.authority.device('pump-1', { commonName: 'pump-2' }), hello))
  await refusedFor('identity', async () =>
    outcome(await fixture.authority.device('pump-1', { uris: ['urn:fleetpulse:default:pump-1', 'urn:fleetpulse:other:pump-1'] }), hello),
  )
  await refusedFor('unknown-device', async () => outcome(await fixture.authority.device('nobody'), connect('nobody')))
  const suspended = await fixture.device('suspended-1')
  fixture.registry.know('suspended-1', 'suspended')
  await refusedFor('suspended', () => outcome(suspended, connect('suspended-1')))
  const gone = await fixture.device('gone-1')
  fixture.registry.know('gone-1', 'decommissioned')
  await refusedFor('decommissioned', () => outcome(gone, connect('gone-1')))
  const revoked = await fixture.device('revoked-1')
  fixture.registry.revoke('default', 'revoked-1', revoked.serial)
  await refusedFor('certificate-revoked', () => outcome(revoked, connect('revoked-1')))
})

test('a bare TCP client that never shakes hands is a handshake refusal, not a connection', async () => {
  await refusedFor('tls-handshake', async () => {
    const socket = connectTcp(fixture.broker.ports?.mqtts ?? 0, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\n\r\n')
    await closed(socket)
  })
})

test('the client id of another device is answered with return code 2, and its QoS 2 state stays', async () => {
  const other = await fixture.device('pump-2')
  const socket = await fixture.socket(other)
  socket.write(connect('pump-2', { clean: false }))
  await once(socket, 'data')
  socket.write(publish('devices/pump-2/telemetry', '{}', { qos: 2, messageId: 7 }))
  await once(socket, 'data')
  await refusedFor('client-id', async () => assert.deepEqual(await outcome(pump, connect('pump-2')), connack(2)))
  assert.equal(socket.destroyed, false)
  const before = fixture.sink.taken.length
  socket.write(publish('devices/pump-2/telemetry', '{}', { qos: 2, messageId: 7, dup: true }))
  await once(socket, 'data')
  assert.equal(fixture.sink.taken.length, before, 'the repeated publish was still recognised')
  socket.destroy()
})

test('an empty client id is no way around it', async () => {
  await refusedFor('client-id', async () => assert.deepEqual(await outcome(pump, connect('')), connack(2)))
})

test('a certificate revoked between handshake and CONNECT is refused at CONNECT', async () => {
  const device = await fixture.device('between-1')
  const open = (): Promise<number> => fixture.counted('fleetpulse_broker_connections', { listener: 'mqtts' })
  await until('earlier connections to be gone', async () => (await open()) === 0)
  const socket = await fixture.socket(device)
  await until('the connection to be known', async () => (await open()) === 1)
  fixture.registry.revokeSilently(device.serial)
  await refusedFor('certificate-revoked', async () => {
    socket.write(connect('between-1'))
    const [answer] = (await once(socket, 'data')) as [Buffer]
    assert.deepEqual(answer, connack(5))
  })
})

test('a publish to a foreign topic ends the connection and reaches nobody', async () => {
  const before = fixture.sink.taken.length
  for (const topic of [
    'devices/pump-2/telemetry',
    'devices/pump-1',
    'devices/pump-1/other',
    'default/devices/pump-1/telemetry',
    '$SYS/x',
  ]) {
    await refusedFor('foreign-topic', async () => {
      const answer = await outcome(pump, Buffer.concat([connect('pump-1'), publish(topic, '{}', { qos: 1, messageId: 1 })]))
      assert.deepEqual(answer, connack(0), 'no PUBACK')
    })
  }
  assert.equal(fixture.sink.taken.length, before)
})

test('foreign filters are answered 0x80 one by one; granted ones beside them hold, $SYS and other tenants never', async () => {
  const socket = await fixture.socket(pump)
  socket.write(connect('pump-1', { clean: false }))
  await once(socket, 'data')
  const filters = [
    'devices/pump-1/commands/+',
    'devices/pump-2/commands/+',
    '#',
    '$SYS/#',
    'devices/+/telemetry',
    'default/devices/pump-1/#',
    '+/+/+',
  ]
  socket.write(
    subscribe(
      3,
      filters.map((filter) => [filter, 1] as const),
    ),
  )
  const [answer] = (await once(socket, 'data')) as [Buffer]
  // [MQTT-3.8.4-5]: one return code per filter.
  assert.deepEqual([...answer], [0x90, 9, 0, 3, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80])
  socket.destroy()
  await fixture.device('pump-2')
  assert.deepEqual(await fixture.broker.publishDown('default', 'pump-2', 'commands/1', Buffer.from('x')), { status: 'unreachable' })
  const cleaned = await fixture.connected('pump-1', pump)
  await cleaned.endAsync()
})

test('a will for a foreign topic is refused at CONNECT, one of its own is ingested when the connection is lost', async () => {
  await refusedFor('foreign-will', async () =>
    assert.deepEqual(await outcome(pump, connect('pump-1', { will: { topic: 'devices/pump-2/status', payload: 'x' } })), connack(5)),
  )
  const socket = await fixture.socket(pump)
  socket.write(connect('pump-1', { will: { topic: 'devices/pump-1/status', payload: 'gone' } }))
  await once(socket, 'data')
  socket.destroy()
  await until('the will', () => fixture.sink.texts.includes('status=gone'))
})

test('same names in two tenants are two devices', async () => {
  const acme = await fixture.device('pump-1', 'acme')
  const one = await fixture.connected('pump-1', pump)
  const two = await fixture.connected('pump-1', acme)
  assert.equal(one.connected && two.connected, true)
  const heard: string[] = []
  two.on('message', (topic) => heard.push(topic))
  await two.subscribeAsync('devices/pump-1/#', { qos: 1 })
  await one.publishAsync('devices/pump-1/telemetry', '{}', { qos: 1 })
  assert.deepEqual(await fixture.broker.publishDown('acme', 'pump-1', 'commands/7', Buffer.from('go')), { status: 'sent' })
  await until('the command', () => heard.length > 0)
  assert.deepEqual(heard, ['devices/pump-1/commands/7'])
  await one.endAsync()
  await two.endAsync()
})

test('the second connection of a device takes over, the first is closed [MQTT-3.1.4-2]', async () => {
  const first = await fixture.connected('pump-1', pump)
  const second = await fixture.connected('pump-1', pump, { listener: 'wss' })
  await until('the first to be closed', () => !first.connected)
  assert.equal(second.connected, true)
  await second.endAsync()
})

test('TLS is Mozilla intermediate, without resumption', async () => {
  const port = fixture.broker.ports?.mqtts ?? 0
  for (const options of [
    { ciphers: 'ECDHE-ECDSA-AES128-SHA256', maxVersion: 'TLSv1.2' },
    { ciphers: 'DEFAULT@SECLEVEL=0', minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' },
    { ecdhCurve: 'secp521r1' },
  ]) {
    const socket = connectTls({
      host: '127.0.0.1',
      port,
      ca: fixture.authority.caPem,
      servername: 'localhost',
      ...pump,
      ...options,
    } as object)
    await assert.rejects(once(socket, 'secureConnect'), JSON.stringify(options))
  }
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = await fixture.socket(pump, { minVersion: version, maxVersion: version })
    let session: Buffer | undefined = first.getSession()
    first.on('session', (fresh: Buffer) => {
      session = fresh
    })
    first.write(connect('pump-1'))
    await once(first, 'data')
    const second = await fixture.socket(pump, { minVersion: version, maxVersion: version, session })
    assert.equal(second.isSessionReused(), false, version)
    first.destroy()
    second.destroy()
  }
})

test('new certificates come into use without dropping a session', async () => {
  const client = await fixture.connected('pump-1', pump)
  const before = fixture.material.certChainPem
  fixture.material = await fixture.authority.server()
  assert.notEqual(fixture.material.certChainPem, before)
  fixture.broker.reloadTls()
  const device = await fixture.device('fresh-1')
  const socket = await fixture.socket(device)
  const leaf = fixture.material.certChainPem.slice(0, fixture.material.certChainPem.indexOf('-----END')).split('\n').slice(1).join('')
  assert.equal(socket.getPeerCertificate().raw.toString('base64'), leaf)
  await client.publishAsync('devices/pump-1/telemetry', '{}', { qos: 1 })
  await client.endAsync()
  await refusedFor('unknown-ca', async () =>
    outcome(await (await TestAuthority.create(systemClock, 'Other')).device('pump-1'), connect('pump-1')),
  )
})

test('clients that ask for the status of the certificate get the staple of the material given last, on both listeners', async () => {
  const stapled = async (port: number): Promise<Buffer | null> => {
    const options = { host: '127.0.0.1', port, ca: fixture.authority.caPem, servername: 'localhost', ...pump, requestOCSP: true }
    const socket = connectTls(options)
    socket.on('error', () => socket.destroy())
    const [staple] = (await once(socket, 'OCSPResponse')) as [Buffer | null]
    socket.destroy()
    return staple
  }
  const { ports } = fixture.broker
  for (const derBase64 of [undefined, 'AQID', 'BAUG']) {
    const { staple: _before, ...material } = fixture.material
    fixture.material =
      derBase64 === undefined ? material : { ...material, staple: { derBase64, nextUpdateMs: systemClock.nowMs() + 60_000 } }
    fixture.broker.reloadTls()
    for (const port of [ports?.mqtts ?? 0, ports?.wss ?? 0]) assert.equal((await stapled(port))?.toString('base64'), derBase64)
  }
})

test('WebSockets: the subprotocol is wanted, data is binary, plain requests are told to upgrade', async () => {
  const { ports } = fixture.broker
  const url = `wss://127.0.0.1:${ports?.wss}/anything`
  const options = { ca: fixture.authority.caPem, servername: 'localhost', key: pump.key, cert: pump.cert }
  await refusedFor('websocket', () => assert.rejects(once(new WebSocket(url, options), 'open')))
  await refusedFor('websocket', async () => {
    const socket = new WebSocket(url, 'mqtt', options)
    await once(socket, 'open')
    assert.equal(socket.protocol, 'mqtt')
    socket.send('text')
    await closed(socket)
  })
  await refusedFor('no-certificate', () => assert.rejects(once(new WebSocket(url, 'mqtt', { ...options, key: '', cert: '' }), 'open')))
})
