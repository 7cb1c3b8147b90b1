import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { withBroker, type TestBrokerOptions } from './testing/test-broker.ts'
import { connected } from './testing/wire-client.ts'
import {
  acknowledge,
  field,
  packet,
  PINGREQ_BYTES,
  PINGRESP_BYTES,
  publish,
  suback,
  subscribe,
  uint16,
  unsubscribe,
} from './testing/wire.ts'

describe('tenant prefixes', () => {
  it('are there for the broker and not for the device', async () => {
    const names: string[] = []
    const prefixes = { topicPrefix: 'acme/', clientIdPrefix: 'acme/' }
    const authorizeSubscribe: NonNullable<TestBrokerOptions['aedes']>['authorizeSubscribe'] = (client, subscription, callback) => {
      names.push(client.id, subscription.topic)
      callback(null, subscription)
    }
    await withBroker({ prefixes, aedes: { authorizeSubscribe } }, async (broker) => {
      const client = await connected(broker, { flags: 0x06, rest: Buffer.concat([field('gone'), field('x')]) })
      client.send(subscribe(3, ['devices/+/commands', 1], ['gone', 0]), PINGREQ_BYTES)
      assert.deepEqual(await client.receive(8), Buffer.concat([PINGRESP_BYTES, suback(3, 1, 0)]))
      assert.deepEqual(names, ['acme/golden', 'acme/devices/+/commands', 'acme/golden', 'acme/gone'])
      assert.equal(broker.connections[0]!.clientId, 'golden')
      const say = (topic: string, payload: string): void =>
        broker.aedes.publish({ cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, retain: false, dup: false }, () => undefined)
      say('acme/devices/golden/commands', 'y'.repeat(130))
      say('other/devices/golden/commands', 'z')
      assert.deepEqual(await client.receivePacket(), publish('devices/golden/commands', 'y'.repeat(130), { qos: 1, id: 1 }))
      client.send(acknowledge(0x40, 1), unsubscribe(4, 'devices/+/commands'))
      assert.deepEqual(await client.receivePacket(), packet(0xb0, uint16(4)))
      const second = await connected(broker, { clientId: 'second' })
      second.send(subscribe(1, ['gone', 0]))
      assert.deepEqual(await second.receive(5), suback(1, 0))
      client.destroy()
      assert.deepEqual(await second.receivePacket(), publish('gone', 'x'))
      second.destroy()
    })
  })

  it('keep devices without a client id apart', async () => {
    await withBroker({ prefixes: { topicPrefix: '', clientIdPrefix: 'acme/' } }, async (broker) => {
      const clients = [await connected(broker, { clientId: '' }), await connected(broker, { clientId: '' })]
      assert.equal(broker.aedes.connectedClients, 2)
      for (const client of clients) client.destroy()
    })
  })

  it('cannot change once packets flow', async () => {
    await withBroker({}, async (broker) => {
      const client = await connected(broker)
      assert.throws(() => broker.connections[0]!.setPrefixes({ topicPrefix: 'a/', clientIdPrefix: '' }), { code: 'INVALID_INPUT' })
      client.destroy()
    })
  })
})
