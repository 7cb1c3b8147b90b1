import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { systemClock } from '../kernel/time.ts'
import { BrokerFixture, closed, until } from './testing/broker-fixture.ts'
import { connect } from './testing/raw-packets.ts'

let fixture: BrokerFixture

before(async () => {
  fixture = await BrokerFixture.open()
})
after(() => fixture.close())

for (const listener of ['mqtts', 'wss'] as const) {
  test(`a revoked device is gone from ${listener} in under a second, and does not come back`, async () => {
    const id = `revoked-${listener}`
    const certificate = await fixture.device(id)
    const bystander = await fixture.connected('bystander', await fixture.device('bystander'), { listener })
    const client = await fixture.connected(id, certificate, { listener })
    const gone = new Promise<number>((resolve) => client.once('close', () => resolve(systemClock.monotonicMs())))
    const revokedMs = systemClock.monotonicMs()
    fixture.registry.revoke('default', id, certificate.serial)
    const tookMs = (await gone) - revokedMs
    assert.ok(tookMs < 1_000, `${tookMs} ms`)
    assert.equal(bystander.connected, true)
    await assert.rejects(fixture.connected(id, certificate, { listener }))
    assert.equal(fixture.broker.isConnected('default', id), false)
    await bystander.endAsync()
  })
}

test('a connection that has not sent CONNECT yet is ended too, and the time is measured', async () => {
  const certificate = await fixture.device('half-open')
  const before = await measured()
  const socket = await fixture.socket(certificate)
  await until(
    'the connection to be known',
    async () => (await fixture.counted('fleetpulse_broker_connections', { listener: 'mqtts' })) === 1,
  )
  fixture.registry.revoke('default', 'half-open', certificate.serial)
  await closed(socket)
  await until('the measurement', async () => (await measured()) === before + 1)
})

test('only the revoked certificate goes; a suspended device goes with all of them, and leaves no last word', async () => {
  const old = await fixture.device('renewed')
  const fresh = await fixture.authority.device('renewed')
  const client = await fixture.connected('renewed', fresh)
  fixture.registry.revoke('default', 'renewed', old.serial)
  await client.publishAsync('devices/renewed/telemetry', '{}', { qos: 1 })
  await client.endAsync()
  const socket = await fixture.socket(fresh)
  socket.write(connect('renewed', { will: { topic: 'devices/renewed/status', payload: 'last word' } }))
  await until('the session', () => fixture.broker.isConnected('default', 'renewed'))
  fixture.registry.suspend('default', 'renewed')
  await closed(socket)
  await until('the disconnect', () => !fixture.broker.isConnected('default', 'renewed'))
  assert.equal(fixture.sink.texts.includes('status=last word'), false)
})

async function measured(): Promise<number> {
  const metric = await fixture.metrics.registry.getSingleMetric('fleetpulse_broker_expulsion_seconds')?.get()
  const count = metric?.values.find((value) => (value as { metricName?: string }).metricName?.endsWith('_count'))
  return count?.value ?? 0
}
