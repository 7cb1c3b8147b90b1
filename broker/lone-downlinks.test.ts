import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { DOWNLINK, type Downlink } from '../contracts/downlink.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { BrokerFixture, until } from './testing/broker-fixture.ts'

/* A broker that is alone on its documents takes what others put into topic `commands`, as one of several edges does. */

let fixture: BrokerFixture
before(async () => {
  fixture = await BrokerFixture.open({ alone: true })
})
after(() => fixture.close())

function downlink(device: string, path: string, text: string): Downlink {
  return { tenant: 'default', device, path, payloadBase64: Buffer.from(text).toString('base64'), retain: false, at: 1 }
}

async function send(message: Downlink, key = deviceKey(message.tenant, message.device), schema = DOWNLINK): Promise<void> {
  await fixture.eventLog.append(TOPICS.commands, [{ key, schema, value: jsonBytes(message) }])
}

test('a message in the log reaches the device that listens, and what cannot be read holds nobody up', async () => {
  const client = await fixture.connected('pump-1', await fixture.device('pump-1'))
  const got: string[] = []
  client.on('message', (topic, payload) => got.push(`${topic}=${payload.toString()}`))
  await client.subscribeAsync('devices/pump-1/certificate', { qos: 1 })
  await send(downlink('pump-1', 'certificate', 'a'), 'default/somebody-else')
  await fixture.eventLog.append(TOPICS.commands, [{ key: 'default/pump-1', schema: DOWNLINK, value: Buffer.from('{') }])
  await send(downlink('pump-1', 'no-such-topic', 'b'))
  await send(downlink('pump-1', 'certificate', 'c'))
  await until('the message', () => got.length > 0)
  assert.deepEqual(got, ['devices/pump-1/certificate=c'])
  await client.endAsync()
})

test('a device that is away finds in its session what came meanwhile, once, over a restart of the broker', async () => {
  const certificate = await fixture.device('pump-2')
  const first = await fixture.connected('pump-2', certificate, { clean: false })
  await first.subscribeAsync('devices/pump-2/certificate', { qos: 1 })
  await first.endAsync()
  await send(downlink('pump-2', 'certificate', 'kept'))
  await until('it is queued', async () => (await fixture.counted('fleetpulse_broker_downlinks_total', { status: 'queued' })) === 1)
  await fixture.restart()
  const got: string[] = []
  const again = fixture.client('pump-2', certificate, { clean: false })
  again.on('message', (_topic, payload) => got.push(payload.toString()))
  await until('the message', () => got.length > 0)
  await send(downlink('pump-2', 'certificate', 'next'))
  await until('the next one', () => got.length > 1)
  assert.deepEqual(got, ['kept', 'next'])
})
