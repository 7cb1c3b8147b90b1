import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { withBroker, type TestBrokerOptions } from './testing/test-broker.ts'
import { connected, until, WireClient } from './testing/wire-client.ts'
import {
  acknowledge,
  connack,
  connect,
  DISCONNECT_BYTES,
  field,
  PINGREQ_BYTES,
  PINGRESP_BYTES,
  publish,
  suback,
  subscribe,
} from './testing/wire.ts'
import { VIOLATIONS } from './violations.ts'

/** A broker whose publishes wait until they are let go, as they do for a slow disk. */
class Gate {
  readonly waiting: (() => void)[] = []
  open = false
  readonly authorizePublish = (_client: unknown, _packet: unknown, callback: (error?: Error | null) => void): void => {
    if (this.open) callback(null)
    else this.waiting.push(() => callback(null))
  }
  release(): void {
    this.open = true
    for (const go of this.waiting.splice(0)) go()
  }
}

const numbered = (count: number, qos = 1): Buffer[] => Array.from({ length: count }, (_, i) => publish('t', `m${i}`, { qos, id: i + 1 }))

describe('pings', () => {
  it('are answered at once while a publish waits, and the publish is acknowledged afterwards', async () => {
    const gate = new Gate()
    await withBroker({ aedes: { authorizePublish: gate.authorizePublish } }, async (broker) => {
      const client = await connected(broker)
      client.send(...numbered(3), PINGREQ_BYTES)
      assert.deepEqual(await client.receive(2), PINGRESP_BYTES)
      client.send(...numbered(3), PINGREQ_BYTES, PINGREQ_BYTES)
      assert.deepEqual(await client.receive(4), Buffer.concat([PINGRESP_BYTES, PINGRESP_BYTES]))
      assert.deepEqual(client.unread, Buffer.alloc(0))
      gate.release()
      assert.deepEqual(await client.receive(12), Buffer.concat([1, 2, 3].map((id) => acknowledge(0x40, id))))
      client.destroy()
    })
  })

  it('come after the CONNACK, however late that is [MQTT-3.2.0-1]', async () => {
    let accept = (): void => assert.fail('not asked')
    const authenticate: NonNullable<TestBrokerOptions['aedes']>['authenticate'] = (_client, _name, _password, done) => {
      accept = () => done(null, true)
    }
    await withBroker({ aedes: { authenticate } }, async (broker) => {
      const client = new WireClient(broker.port).send(connect(), PINGREQ_BYTES, ...numbered(100))
      await until('the broker asked', () => broker.connections[0]?.clientId === 'golden')
      await new Promise((resolve) => setImmediate(resolve))
      assert.deepEqual(client.unread, Buffer.alloc(0))
      accept()
      assert.deepEqual(await client.receive(6), Buffer.concat([connack(), PINGRESP_BYTES]))
      assert.equal((await client.receive(400)).length, 400)
      client.destroy()
    })
  })

  it('are not piled up for a device that does not read', async () => {
    await withBroker({}, async (broker) => {
      const client = await connected(broker)
      client.socket.pause()
      const many = Buffer.concat(Array.from({ length: 50_000 }, () => PINGREQ_BYTES))
      const isStuck = (): boolean => broker.sockets[0]!.writableNeedDrain
      await until('the answers are stuck', () => {
        if (client.socket.writableLength < many.length) client.socket.write(many)
        return isStuck()
      })
      const heldBytes = broker.sockets[0]!.writableLength
      for (let round = 0; round < 20; round++) client.socket.write(many)
      for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
      assert.ok(broker.sockets[0]!.writableLength <= heldBytes + 65_536, 'answers pile up')
      client.discard()
      await until('the device caught up', () => client.socket.writableLength === 0 && !isStuck())
      client.destroy()
    })
  })
})

describe('back-pressure', () => {
  it('holds publishes beyond inflightMax, in order, and loses none', async () => {
    const gate = new Gate()
    const seen: string[] = []
    await withBroker({ limits: { inflightMax: 10 }, aedes: { authorizePublish: gate.authorizePublish } }, async (broker) => {
      broker.aedes.on('publish', (message) => {
        if (message.topic === 't') seen.push(message.payload.toString())
      })
      const client = await connected(broker)
      client.send(...numbered(100), subscribe(500, ['x', 0]), PINGREQ_BYTES)
      assert.deepEqual(await client.receive(2), PINGRESP_BYTES)
      assert.equal(gate.waiting.length, 10)
      gate.release()
      assert.deepEqual(await client.receive(405), Buffer.concat([...numbered(100).map((_, i) => acknowledge(0x40, i + 1)), suback(500, 0)]))
      assert.deepEqual(
        seen,
        Array.from({ length: 100 }, (_, i) => `m${i}`),
      )
      client.destroy()
    })
  })

  it('goes on with QoS 2 when PUBREL waits behind publishes that wait', async () => {
    await withBroker({ limits: { inflightMax: 2 } }, async (broker) => {
      const client = await connected(broker)
      client.send(...numbered(5, 2), acknowledge(0x62, 1), acknowledge(0x62, 2))
      const answers = await client.receive(28)
      for (const expected of [...[1, 2, 3, 4, 5].map((id) => acknowledge(0x50, id)), acknowledge(0x70, 1), acknowledge(0x70, 2)]) {
        assert.ok(answers.includes(expected))
      }
      client.destroy()
    })
  })

  it('stops reading the socket at bufferedBytesMax and takes all in the end', async () => {
    const gate = new Gate()
    await withBroker(
      { limits: { inflightMax: 4, bufferedBytesMax: 65_536 }, aedes: { authorizePublish: gate.authorizePublish } },
      async (broker) => {
        const client = await connected(broker)
        const payload = 'x'.repeat(8_000)
        const count = 2_000
        let flushed = false
        client.socket.write(
          Buffer.concat(Array.from({ length: count }, (_, i) => publish('t', payload, { qos: 1, id: i + 1 }))),
          () => (flushed = true),
        )
        await until('the socket is read no more', () => broker.sockets[0]!.isPaused())
        for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
        assert.ok(
          broker.connections[0]!.bufferedBytes <= 65_536 + 65_536 + 8_100,
          `${broker.connections[0]!.bufferedBytes} bytes are buffered`,
        )
        assert.equal(flushed, false)
        gate.release()
        assert.equal((await client.receive(4 * count)).length, 4 * count)
        client.destroy()
      },
    )
  })

  it('does not grow for a subscriber that does not read', async () => {
    await withBroker({ aedes: { drainTimeout: 0 } }, async (broker) => {
      const slow = await connected(broker, { clientId: 'slow' })
      slow.send(subscribe(1, ['flood', 0]))
      assert.deepEqual(await slow.receive(5), suback(1, 0))
      slow.socket.pause()
      const payload = Buffer.alloc(60_000)
      const publishOnce = (): Promise<void> =>
        new Promise((resolve, reject) =>
          broker.aedes.publish({ cmd: 'publish', topic: 'flood', payload, qos: 0, retain: false, dup: false }, (error) =>
            error ? reject(error) : resolve(),
          ),
        )
      let settled = 0
      for (let i = 0; i < 500; i++) void publishOnce().then(() => settled++)
      await until('the broker waits for the socket', () => broker.sockets[0]!.writableNeedDrain && broker.connections[0]!.writableNeedDrain)
      for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
      assert.ok(settled < 500, 'the broker did not wait')
      slow.discard()
      await until('all is delivered', () => settled === 500)
      slow.destroy()
    })
  })
})

describe('the end of a connection', () => {
  it('lets what came before a bad packet be answered', async () => {
    const gate = new Gate()
    await withBroker({ aedes: { authorizePublish: gate.authorizePublish } }, async (broker) => {
      const client = await connected(broker)
      client.send(...numbered(2), publish('bad/#', 'x'), PINGREQ_BYTES)
      await until('the violation is reported', () => broker.violations.length === 1)
      assert.equal(broker.violations[0], VIOLATIONS.topicWildcard)
      gate.release()
      assert.deepEqual(await client.receive(8), Buffer.concat([acknowledge(0x40, 1), acknowledge(0x40, 2)]))
      await client.untilClosed()
      assert.deepEqual(client.unread, Buffer.alloc(0))
    })
  })

  it('lets a delivery of a persistent session go on before it [MQTT-4.3.3-1]', async () => {
    await withBroker({}, async (broker) => {
      const client = await connected(broker, { flags: 0 })
      client.send(subscribe(1, ['t', 2]))
      assert.deepEqual(await client.receive(5), suback(1, 2))
      client.send(publish('t', 'x', { qos: 2, id: 1 }))
      const packets = [await client.receivePacket(), await client.receivePacket()]
      const delivery = packets.find((packet) => packet[0]! >>> 4 === 3)!
      const id = delivery.readUInt16BE(5)
      client.send(acknowledge(0x50, id), publish('', 'bad'))
      assert.deepEqual(await client.receive(4), acknowledge(0x62, id))
      await client.untilClosed()
      assert.deepEqual(broker.violations, [VIOLATIONS.topicEmpty])
    })
  })

  it('is orderly, though more bytes come than are looked at', async () => {
    await withBroker({}, async (broker) => {
      const client = new WireClient(broker.port).send(connect({ level: 5 }), Buffer.alloc(8_000_000))
      assert.deepEqual(await client.receive(4), connack(1))
      await client.untilClosed()
      assert.equal(client.error, undefined)
    })
  })

  it('comes in time even when the broker never answers', async () => {
    const gate = new Gate()
    await withBroker({ limits: { closeGraceMs: 0 }, aedes: { authorizePublish: gate.authorizePublish } }, async (broker) => {
      const client = await connected(broker)
      client.send(...numbered(2), publish('bad/#', 'x'))
      await client.untilClosed()
      gate.release()
    })
  })

  it('after DISCONNECT waits for the acknowledgements, and leaves no will [MQTT-3.14.4-3]', async () => {
    const gate = new Gate()
    await withBroker({ aedes: { authorizePublish: gate.authorizePublish } }, async (broker) => {
      const wills: string[] = []
      broker.aedes.on('publish', (message) => void (message.topic === 'gone' && wills.push(message.topic)))
      const client = await connected(broker, { flags: 0x06, rest: Buffer.concat([field('gone'), field('x')]) })
      client.send(...numbered(2), DISCONNECT_BYTES)
      await until('both publishes wait', () => gate.waiting.length === 2)
      gate.release()
      assert.deepEqual(await client.receive(8), Buffer.concat([acknowledge(0x40, 1), acknowledge(0x40, 2)]))
      await client.untilClosed()
      await until('the broker let go', () => broker.aedes.connectedClients === 0)
      assert.deepEqual(wills, [])
    })
  })

  it('by a violation publishes the will [MQTT-3.1.2-8]', async () => {
    await withBroker({}, async (broker) => {
      const watcher = await connected(broker, { clientId: 'watcher' })
      watcher.send(subscribe(1, ['gone', 0]))
      assert.deepEqual(await watcher.receive(5), suback(1, 0))
      const client = await connected(broker, { flags: 0x06, rest: Buffer.concat([field('gone'), field('x')]) })
      client.send(publish('', ''))
      assert.deepEqual(await watcher.receivePacket(), publish('gone', 'x'))
      watcher.destroy()
    })
  })

  it('by the device alone is told to the broker', async () => {
    await withBroker({}, async (broker) => {
      const client = await connected(broker)
      client.socket.end()
      await until('the broker let go', () => broker.aedes.connectedClients === 0)
      await client.untilClosed()
      const reset = await connected(broker)
      reset.socket.resetAndDestroy()
      await until('the broker let go', () => broker.aedes.connectedClients === 0)
    })
  })

  it('brings a refusal of the broker across [MQTT-3.2.2-5]', async () => {
    await withBroker({ aedes: { authenticate: (_client, _name, _password, done) => done(null, false) } }, async (broker) => {
      const client = new WireClient(broker.port).send(connect(), ...numbered(50))
      assert.deepEqual(await client.receive(4), connack(5))
      await client.untilClosed()
      assert.deepEqual([client.unread, broker.violations], [Buffer.alloc(0), []])
    })
  })
})
