import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { VirtualClock } from '../../kernel/time.ts'
import { startTestBroker, type TestBroker, type TestBrokerOptions } from './testing/test-broker.ts'
import { until, WireClient } from './testing/wire-client.ts'
import { connack, connect, field, PINGREQ_BYTES, PINGRESP_BYTES, publish } from './testing/wire.ts'
import { VIOLATIONS, type Violation } from './violations.ts'

async function withBroker(
  options: Omit<TestBrokerOptions, 'clock'>,
  run: (broker: TestBroker, clock: VirtualClock) => Promise<void>,
): Promise<void> {
  const clock = new VirtualClock()
  const broker = await startTestBroker({ ...options, clock })
  try {
    await run(broker, clock)
  } finally {
    await broker.stop()
  }
}

async function connected(broker: TestBroker, keepAliveS: number): Promise<WireClient> {
  const client = new WireClient(broker.port).send(connect({ keepAliveS, flags: 0x06, rest: Buffer.concat([field('gone'), field('x')]) }))
  assert.deepEqual(await client.receive(4), connack())
  return client
}

/** The violations after `ms`, and after one second more. */
async function around(broker: TestBroker, clock: VirtualClock, ms: number): Promise<Violation[][]> {
  await clock.advance(ms)
  const before = [...broker.violations]
  await clock.advance(1_000)
  return [before, [...broker.violations]]
}

describe('keep alive [MQTT-3.1.2-24]', () => {
  it('ends a silent connection after one and a half times, and its will is published', async () => {
    await withBroker({}, async (broker, clock) => {
      const wills: string[] = []
      broker.aedes.on('publish', (message) => void (message.topic === 'gone' && wills.push(message.payload.toString())))
      const client = await connected(broker, 5)
      assert.deepEqual(await around(broker, clock, 7_499), [[], [VIOLATIONS.keepAlive]])
      await client.untilClosed()
      await until('the will is published', () => wills.length === 1)
    })
  })

  it('is refreshed by any packet, though not by a part of one', async () => {
    await withBroker({}, async (broker, clock) => {
      const client = await connected(broker, 5)
      for (let round = 0; round < 5; round++) {
        await clock.advance(6_000)
        client.send(round % 2 === 0 ? publish('t', 'x') : PINGREQ_BYTES)
        await until('the packet is taken', () => broker.connections[0]!.packets === 2 + round)
      }
      await clock.advance(6_000)
      client.send(publish('t', 'x').subarray(0, 3))
      await until('a part of a packet is taken', () => broker.connections[0]!.bufferedBytes === 3)
      await clock.advance(2_500)
      assert.deepEqual(broker.violations, [VIOLATIONS.keepAlive])
      await client.untilClosed()
    })
  })

  it('goes on while a publish waits in the broker', async () => {
    await withBroker({ aedes: { authorizePublish: () => undefined } }, async (broker, clock) => {
      const client = await connected(broker, 5)
      client.send(publish('t', 'x', { qos: 1 }), publish('t', 'x', { qos: 1 }))
      for (let round = 0; round < 5; round++) {
        await clock.advance(6_000)
        client.send(PINGREQ_BYTES)
        assert.deepEqual(await client.receive(2), PINGRESP_BYTES)
      }
      assert.deepEqual(broker.violations, [])
      client.destroy()
    })
  })

  it('does not blame a device for what we do not read', async () => {
    await withBroker(
      { limits: { inflightMax: 1, bufferedBytesMax: 1_024 }, aedes: { authorizePublish: () => undefined } },
      async (broker, clock) => {
        const client = await connected(broker, 5)
        client.send(...Array.from({ length: 100 }, (_, i) => publish('t', 'x'.repeat(100), { qos: 1, id: i + 1 })))
        await until('the socket is read no more', () => broker.sockets[0]!.isPaused())
        await clock.advance(60_000)
        assert.deepEqual(broker.violations, [])
        client.destroy()
      },
    )
  })

  it('has a longest, for devices that ask for more or for none', async () => {
    for (const askedS of [0, 3_600]) {
      await withBroker({ limits: { keepAliveMaxS: 60 } }, async (broker, clock) => {
        const client = await connected(broker, askedS)
        assert.deepEqual(await around(broker, clock, 89_999), [[], [VIOLATIONS.keepAlive]])
        await client.untilClosed()
      })
    }
  })
})

describe('the time to connect', () => {
  for (const [what, bytes] of [
    ['nothing', Buffer.alloc(0)],
    ['a part of a CONNECT', connect().subarray(0, 9)],
  ] as const) {
    it(`runs out for a connection that sends ${what}`, async () => {
      await withBroker({ limits: { connectTimeoutMs: 3_000 } }, async (broker, clock) => {
        const client = new WireClient(broker.port)
        if (bytes.length > 0) client.send(bytes)
        await until('the connection is there', () => broker.connections[0]?.bufferedBytes === bytes.length && broker.deadlines.size === 1)
        assert.deepEqual(await around(broker, clock, 2_999), [[], [VIOLATIONS.connectTimeout]])
        await client.untilClosed()
      })
    })
  }
})
