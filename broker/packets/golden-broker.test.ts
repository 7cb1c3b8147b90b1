import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { GOLDEN_CASES } from './testing/golden.ts'
import type { GoldenCase, Step } from './testing/golden-case.ts'
import { startTestBroker, type TestBroker } from './testing/test-broker.ts'
import { until, WireClient } from './testing/wire-client.ts'
import { acknowledge, connack, connect, PINGREQ_BYTES, PINGRESP_BYTES, publish } from './testing/wire.ts'
import { VIOLATIONS } from './violations.ts'

describe('the packet check before Aedes, over TCP', () => {
  let broker: TestBroker
  before(async () => {
    broker = await startTestBroker()
  })
  after(() => broker.stop())

  async function run(golden: GoldenCase, index: number): Promise<void> {
    const client = new WireClient(broker.port)
    try {
      if (golden.hello !== 'none') {
        const clientId = `case-${index}`
        client.send(golden.hello === 'clean' ? connect({ clientId }) : connect({ name: 'MQIsdp', level: 3, clientId }))
        assert.deepEqual(await client.receive(4), connack())
      }
      for (const step of golden.steps) await take(client, step)
      if (golden.then === 'open') {
        client.send(PINGREQ_BYTES)
        assert.deepEqual(await client.receive(2), PINGRESP_BYTES)
      } else {
        await client.untilClosed()
        assert.deepEqual(client.unread, Buffer.alloc(0))
      }
    } finally {
      client.destroy()
    }
  }

  async function take(client: WireClient, step: Step): Promise<void> {
    if ('send' in step) client.send(step.send)
    else if ('receive' in step) assert.deepEqual(await client.receive(step.receive.length), step.receive)
    else {
      const { topic, qos, payload, dup = false } = step.deliver
      const helper = new WireClient(broker.port)
      helper.send(connect({ clientId: `helper ${topic}` }))
      assert.deepEqual(await helper.receive(4), connack())
      helper.send(publish(topic, payload, { qos, id: 1, dup }))
      assert.deepEqual(await helper.receive(4), acknowledge(qos === 1 ? 0x40 : 0x50, 1))
      helper.destroy()
    }
  }

  // One after the other: some cases subscribe to everything.
  GOLDEN_CASES.forEach((golden, i) => it(`${golden.name}: ${golden.then}`, () => run(golden, i)))

  it('counted each violation once, and no other', () => {
    const count = (names: readonly string[]): Record<string, number> =>
      Object.fromEntries([...new Set(names)].sort().map((name) => [name, names.filter((other) => other === name).length]))
    const clauses = (values: readonly { clause: string; code: string }[]): string[] => values.map(({ clause, code }) => `${code} ${clause}`)
    const expected = GOLDEN_CASES.flatMap(({ then }) => (then === 'open' || then === 'gone' ? [] : [VIOLATIONS[then]]))
    assert.deepEqual(count(clauses(broker.violations)), count(clauses(expected)))
  })

  it('leaves nothing behind', async () => {
    await until('all connections are closed', () => broker.connections.every((connection) => connection.destroyed))
    await until('no deadline is armed', () => broker.deadlines.size === 0)
    assert.equal(broker.aedes.connectedClients, 0)
  })
})
