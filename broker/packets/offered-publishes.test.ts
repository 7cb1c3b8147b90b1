import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { withBroker } from './testing/test-broker.ts'
import { connected, until } from './testing/wire-client.ts'
import { publish } from './testing/wire.ts'

/** A lane: what comes is answered in the order in which it came, when the test says so, whichever way it came. */
class Lane {
  readonly came: { topic: string; way: 'offered' | 'broker' }[] = []
  readonly #waiting: (() => void)[] = []

  take(topic: string, way: 'offered' | 'broker', answer: () => void): void {
    this.came.push({ topic, way })
    this.#waiting.push(answer)
  }
  answer(count: number): void {
    for (const go of this.#waiting.splice(0, count)) go()
  }
}

const kind = fc.constantFrom(
  'plain' as const,
  'plain' as const,
  'plain' as const,
  'repeated' as const,
  'retained' as const,
  'qos0' as const,
)
type Kind = 'plain' | 'repeated' | 'retained' | 'qos0'
const HEADS: Record<Kind, { qos: number; retain?: boolean; dup?: boolean }> = {
  plain: { qos: 1 },
  repeated: { qos: 1, dup: true },
  retained: { qos: 1, retain: true },
  qos0: { qos: 0 },
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Sends packets cut at arbitrary places, answers them in arbitrary portions; what came, and the ids in the order of their PUBACKs. */
async function exchange(kinds: readonly Kind[], cuts: readonly number[], portion: number): Promise<{ lane: Lane; ids: number[] }> {
  const lane = new Lane()
  const authorizePublish = (_client: unknown, { topic }: { topic: string }, done: (error?: Error | null) => void): void =>
    lane.take(topic, 'broker', () => done(null))
  const ids: number[] = []
  await withBroker({ aedes: { authorizePublish } }, async (broker) => {
    const client = await connected(broker)
    const connection = broker.connections[0]!
    connection.offerPublishes(({ topic, payload, messageId }) => {
      assert.equal(payload.toString(), `payload of ${topic}`)
      lane.take(topic, 'offered', () => connection.acknowledge(messageId))
      return true
    })
    const packets = kinds.map((one, i) => publish(`t/${i}`, `payload of t/${i}`, { ...HEADS[one], id: i + 1 }))
    const stream = Buffer.concat(packets)
    let from = 0
    for (const cut of [...cuts.map((part) => Math.floor(part * stream.length)), stream.length].sort((a, b) => a - b)) {
      if (cut > from) client.send(stream.subarray(from, cut))
      from = Math.max(from, cut)
      await turn()
      lane.answer(portion)
    }
    const owed = kinds.filter((one) => one !== 'qos0').length
    await until('all acknowledgements', () => {
      lane.answer(portion)
      return client.unread.length === 4 * owed && lane.came.length === kinds.length
    })
    const answers = client.unread
    for (let at = 0; at < answers.length; at += 4) {
      assert.deepEqual([...answers.subarray(at, at + 2)], [0x40, 2])
      ids.push(answers.readUInt16BE(at + 2))
    }
    client.destroy()
  })
  return { lane, ids }
}

test('offered or through the broker: everything comes in the order of sending, and is acknowledged in it [MQTT-4.6.0-2]', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(kind, { minLength: 1, maxLength: 30 }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 40 }),
      async (kinds, cuts, portion) => {
        const { lane, ids } = await exchange(kinds, cuts, portion)
        assert.deepEqual(
          lane.came.map(({ topic }) => topic),
          kinds.map((_, i) => `t/${i}`),
        )
        assert.deepEqual(
          ids,
          kinds.flatMap((one, i) => (one === 'qos0' ? [] : [i + 1])),
        )
        for (const [i, { way }] of lane.came.entries()) if (kinds[i] === 'qos0' || kinds[i] === 'retained') assert.equal(way, 'broker')
      },
    ),
    { numRuns: 60 },
  )
})

test('plain publishes of one chunk are all offered; none of them reaches the broker', async () => {
  const { lane } = await exchange(
    Array.from({ length: 50 }, () => 'plain'),
    [],
    50,
  )
  assert.deepEqual(new Set(lane.came.map(({ way }) => way)), new Set(['offered']))
})
