import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { MqttClient } from 'mqtt'
import { DOWNLINKS_CANCELLED, type DownlinksCancelled } from '../contracts/downlink.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { BrokerFixture, until } from './testing/broker-fixture.ts'
import { EdgeWorld, TEST_LEASE_MS } from './testing/edge-world.ts'
import type { TestCertificate } from './testing/test-authority.ts'

/* What a revocation does besides ending sessions: what waits for the device is cancelled, and nobody else notices anything. */

const HALF_A_MINUTE_MS = 30_000

test('several edges: queued and retained commands are cancelled in their place in the log, the twin is withheld, others keep theirs', async (t) => {
  const world = await EdgeWorld.open()
  t.after(() => world.close())
  const edge = await world.edge('edge-a')
  const filters = (device: string): Record<string, 0 | 1 | 2> => ({ [`devices/${device}/#`]: 1 })
  for (const device of ['gone', 'other']) {
    const client = await world.connected(edge, device, { clean: false })
    await client.subscribe(filters(device))
    client.socket.destroy()
    await until('the disconnect', () => !edge.broker.isConnected('default', device))
    await world.send(device, 'commands/1', 'queued')
    await world.send(device, 'commands/2', 'kept', true)
    await world.send(device, 'twin/desired', 'twin', true)
  }
  await until('six messages to wait', async () => (await edge.metric('broker_queued_messages')) === 6)
  await world.cancel('gone')
  await until('three of them to be cancelled', async () => (await edge.metric('broker_queued_messages')) === 3)
  await world.send('gone', 'commands/3', 'after')
  const back = await world.connected(edge, 'gone', { clean: false })
  await back.subscribe(filters('gone'))
  await until('what was sent afterwards, and the twin', () => back.texts.length === 2)
  await back.settle()
  assert.deepEqual(back.texts.toSorted(), ['after', 'twin'])
  const other = await world.connected(edge, 'other', { clean: false })
  await until('what waited for the other one', () => other.texts.length === 3)
  assert.deepEqual(other.texts, ['queued', 'kept', 'twin'])
})

test('an edge that takes over from a dead one cancels what that one could not', async (t) => {
  const world = await EdgeWorld.open()
  t.after(() => world.close())
  const first = await world.edge('edge-a')
  const client = await world.connected(first, 'd1', { clean: false })
  await client.subscribe({ 'devices/d1/#': 1 })
  client.socket.destroy()
  await until('the disconnect', () => !first.broker.isConnected('default', 'd1'))
  await world.send('d1', 'commands/1', 'queued')
  await until('the message to wait', async () => (await first.metric('broker_queued_messages')) === 1)
  await first.kill()
  await world.cancel('d1')
  await world.send('d1', 'commands/2', 'after')
  const second = await world.edge('edge-b')
  await until('the takeover', async () => (await second.metric('broker_adopted_seats_total')) === 1, TEST_LEASE_MS + HALF_A_MINUTE_MS)
  const back = await world.connected(second, 'd1', { clean: false })
  await until('what was sent afterwards', () => back.texts.length > 0)
  await back.settle()
  assert.deepEqual(back.texts, ['after'])
})

/** What the revocation of a device's last certificate does, whoever did it. */
async function revokeLast(device: string, serial: string): Promise<void> {
  fixture.registry.revoke('default', device, serial, true)
  const cancelled: DownlinksCancelled = { tenant: 'default', device, reason: 'keyCompromise', at: 1 }
  const message = { key: deviceKey('default', device), schema: DOWNLINKS_CANCELLED, value: jsonBytes(cancelled) }
  await fixture.eventLog.append(TOPICS.commands, [message])
}

let fixture: BrokerFixture
before(async () => {
  fixture = await BrokerFixture.open({ alone: true })
})
after(() => fixture.close())

async function waiting(id: string, certificate: TestCertificate): Promise<void> {
  const client = await fixture.connected(id, certificate, { clean: false })
  await client.subscribeAsync(`devices/${id}/#`, { qos: 1 })
  await client.endAsync()
  await until('the disconnect', () => !fixture.broker.isConnected('default', id))
  assert.deepEqual(await fixture.broker.publishDown('default', id, 'commands/1', Buffer.from('queued')), { status: 'queued' })
  await fixture.broker.publishDown('default', id, 'commands/2', Buffer.from('retained'), { retain: true })
  await fixture.broker.publishDown('default', id, 'twin/desired', Buffer.from('twin'), { retain: true })
}

async function receives(id: string, certificate: TestCertificate, last: string): Promise<string[]> {
  const texts: string[] = []
  const client = fixture.client(id, certificate, { clean: false })
  client.on('message', (_topic, payload) => texts.push(payload.toString()))
  await new Promise((resolve) => client.once('connect', resolve))
  await client.subscribeAsync(`devices/${id}/#`, { qos: 1 })
  await fixture.broker.publishDown('default', id, 'commands/last', Buffer.from(last))
  await until('the last message', () => texts.includes(last))
  await client.endAsync()
  return texts
}

test('one process: what waits is cancelled with the last certificate, nothing more is taken until the device enrols again', async () => {
  const old = await fixture.device('pump')
  await waiting('pump', old)
  await revokeLast('pump', old.serial)
  await until('the cancellation', async () => (await fixture.counted('fleetpulse_broker_downlinks_total', { status: 'cancelled' })) >= 4)
  assert.deepEqual(await fixture.broker.publishDown('default', 'pump', 'commands/3', Buffer.from('no')), { status: 'cut-off' })
  await assert.rejects(fixture.connected('pump', old), 'retained messages are withheld: it cannot even connect')
  fixture.registry.enrolAgain('default', 'pump')
  assert.deepEqual(await receives('pump', await fixture.authority.device('pump'), 'fresh'), ['twin', 'fresh'])
})

test('a revoked certificate that the device has replaced takes nothing from it', async () => {
  const old = await fixture.device('renewed')
  await waiting('renewed', old)
  fixture.registry.revoke('default', 'renewed', old.serial, false)
  const texts = await receives('renewed', await fixture.authority.device('renewed'), 'fresh')
  for (const text of ['queued', 'retained', 'twin', 'fresh']) assert.ok(texts.includes(text), `${text} of ${texts.join()}`)
})

test('what waits for a device that was revoked while the broker was away is cancelled by its next start', async () => {
  const old = await fixture.device('crashed')
  await waiting('crashed', old)
  await fixture.broker.stop()
  await revokeLast('crashed', old.serial)
  await fixture.restart()
  await until('the cancellation', async () => (await fixture.counted('fleetpulse_broker_downlinks_total', { status: 'cancelled' })) >= 3)
  fixture.registry.enrolAgain('default', 'crashed')
  const texts = await receives('crashed', await fixture.authority.device('crashed'), 'fresh')
  assert.equal(texts.includes('queued'), false, texts.join())
})

test('only the newly revoked is touched: sessions of others keep their sockets, and are timed not at all', async () => {
  const others: MqttClient[] = []
  let closed = 0
  for (const listener of ['mqtts', 'wss'] as const) {
    for (let i = 0; i < 5; i++) {
      const id = `by-${listener}-${i}`
      const client = await fixture.connected(id, await fixture.device(id), { listener })
      client.on('close', () => closed++)
      others.push(client)
    }
  }
  const seconds = (): Promise<number> => observed('broker_revocation_seconds')
  const before = await seconds()
  for (const listener of ['mqtts', 'wss'] as const) {
    const id = `target-${listener}`
    const certificate = await fixture.device(id)
    const client = await fixture.connected(id, certificate, { listener })
    const gone = new Promise<void>((resolve) => client.once('close', () => resolve()))
    fixture.registry.revoke('default', id, certificate.serial, true)
    await gone
    // Again, and one that was revoked long ago: nobody is touched.
    fixture.registry.revoke('default', id, certificate.serial, true)
  }
  await until('both to be timed', async () => (await seconds()) === before + 2)
  for (const [i, client] of others.entries()) {
    const id = i < 5 ? `by-mqtts-${i}` : `by-wss-${i - 5}`
    await client.publishAsync(`devices/${id}/telemetry`, '{}', { qos: 1 })
  }
  assert.equal(closed, 0)
  assert.equal(await seconds(), before + 2)
  await Promise.all(others.map((client) => client.endAsync()))
})

async function observed(name: string): Promise<number> {
  const metric = await fixture.metrics.registry.getSingleMetric(`fleetpulse_${name}`)?.get()
  const counts = (metric?.values ?? []).filter((value) => (value as { metricName?: string }).metricName?.endsWith('_count'))
  return counts.reduce((sum, { value }) => sum + value, 0)
}
