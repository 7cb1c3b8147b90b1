import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { VirtualClock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { eraseTraces } from '../erasing.ts'
import { figuresOf, PEER_PARTS_COLLECTION, PEER_SUMMARIES_COLLECTION, type PeerSummary } from './peer-summary.ts'
import { Peers } from './peers.ts'
import { anomalyConfig, SLOT_MS, TENANT, TYPE } from './testing/peer-fleet.ts'

const GROUP = 'anomaly'
const SLOT_TS = 1_763_683_200_000
const config = anomalyConfig({ peersPollMs: 1_000, peersWaitMs: 10_000, peersKept: 10 })

async function process(t: TestContext, documents: Documents, clock: VirtualClock, processId: string): Promise<Peers> {
  const peers = new Peers({ documents, clock, random: seededRandom(1), log: silentLogger, metrics: new Metrics(), config, processId })
  await peers.start()
  t.after(() => peers.stop())
  return peers
}

function finish(peers: Peers, slotTs: number, levels: Record<string, number>): void {
  for (const [device, level] of Object.entries(levels)) {
    peers.onFinished({ tenant: TENANT, type: TYPE, device, slotTs, metrics: ['flow'], levels: [level], livelinesses: [Number.NaN] })
  }
}

const LEFT = { 'pump-1': 10, 'pump-2': 11, 'pump-3': 12 }
const RIGHT = { 'pump-4': 13, 'pump-5': 14, 'pump-6': 90 }

test('what several processes saw of a slot is one summary, that all of them compare with from the same offset on', async (t) => {
  const documents = await lmdbDocuments(t)
  const clock = new VirtualClock(SLOT_TS)
  const [left, right] = [await process(t, documents, clock, 'left'), await process(t, documents, clock, 'right')]
  await left.take(GROUP, [2])
  finish(left, SLOT_TS, LEFT)
  finish(right, SLOT_TS, RIGHT)
  await left.look()
  assert.equal(left.isBehind([2]), false, 'others may still come')
  await clock.advance(10_000)
  await Promise.all([left.look(), right.look()])
  await clock.advance(2_000)
  await Promise.all([left.look(), right.look()])
  await right.look()
  const summaries = await documents.collection<object>({ name: PEER_SUMMARIES_COLLECTION, indexes: [] })
  assert.equal(await summaries.count({}), 1)
  await Promise.all([left.adopt(GROUP, new Map([[2, 700]])), clock.advance(1_000)])
  assert.deepEqual([left.numberAt(2, 699), left.numberAt(2, 700), left.numberAt(1, 900)], [0, 1, 0])
  const [summary] = left.between(TENANT, TYPE, 0, 1)
  assert.deepEqual(summary?.metrics, [
    {
      metric: 'flow',
      level: { peers: 6, median: 12.5, deviation: 1.5, values: [10, 11, 12, 13, 14, 90] },
      liveliness: null,
      typical: ['pump-3', 'pump-4', 'pump-2', 'pump-5', 'pump-1'],
    },
  ])
  const parts = await documents.collection<object>({ name: PEER_PARTS_COLLECTION, indexes: [] })
  assert.equal(await parts.count({}), 0)

  const other = await process(t, documents, clock, 'other')
  await other.take(GROUP, [2])
  assert.deepEqual([other.numberAt(2, 699), other.numberAt(2, 700)], [0, 1])
  assert.deepEqual(other.between(TENANT, TYPE, 0, 1), left.between(TENANT, TYPE, 0, 1))

  finish(right, SLOT_TS, { 'pump-9': 1 })
  for (let k = 0; k < 3; k++) {
    await clock.advance(10_000)
    await Promise.all([left.look(), right.look()])
  }
  assert.equal(await summaries.count({}), 1, 'a summary is never altered')
})

test('summaries beyond the bound are forgotten, in the store and in memory', async (t) => {
  const documents = await lmdbDocuments(t)
  const clock = new VirtualClock(SLOT_TS)
  const peers = await process(t, documents, clock, 'one')
  for (let slot = 0; slot < 15; slot++) finish(peers, SLOT_TS + slot * SLOT_MS, { ...LEFT, ...RIGHT })
  for (let k = 0; k < 3; k++) {
    await clock.advance(10_000)
    await peers.look()
  }
  const summaries = await documents.collection<{ number: number }>({ name: PEER_SUMMARIES_COLLECTION, indexes: [] })
  assert.deepEqual(
    (await summaries.find({}, { sort: { number: 1 } })).map(({ number }) => number),
    [6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  )
  assert.equal(peers.between(TENANT, TYPE, 0, 15).length, 10)
  const later = await process(t, documents, clock, 'later')
  assert.deepEqual(later.between(TENANT, TYPE, 0, 15), peers.between(TENANT, TYPE, 0, 15))
})

test('a device that left is named in no summary, and taken off those that named it', async (t) => {
  const documents = await lmdbDocuments(t)
  const clock = new VirtualClock(SLOT_TS)
  const options = { documents, clock, random: seededRandom(1), log: silentLogger, metrics: new Metrics(), config, processId: 'one' }
  let gone = ''
  const peers = new Peers({ ...options, hasLeft: (_tenant, device) => device === gone })
  await peers.start()
  t.after(() => peers.stop())
  const summarise = async (slotTs: number): Promise<void> => {
    finish(peers, slotTs, { ...LEFT, ...RIGHT })
    for (let k = 0; k < 3; k++) {
      await clock.advance(10_000)
      await peers.look()
    }
  }
  await summarise(SLOT_TS)
  const summaries = await documents.collection<PeerSummary>({ name: PEER_SUMMARIES_COLLECTION, indexes: [] })
  const typical = async (): Promise<(string[] | undefined)[]> =>
    (await summaries.find({}, { sort: { number: 1 } })).map(({ metrics }) => metrics[0]?.typical)
  assert.deepEqual(await typical(), [['pump-3', 'pump-4', 'pump-2', 'pump-5', 'pump-1']])
  assert.deepEqual(
    await eraseTraces(documents, 'other', 'pump-4'),
    { modelCards: 0, peerSummaries: 0 },
    "another tenant's is another device",
  )
  assert.deepEqual(await eraseTraces(documents, TENANT, 'pump-4'), { modelCards: 0, peerSummaries: 1 })
  assert.deepEqual(await eraseTraces(documents, TENANT, 'pump-4'), { modelCards: 0, peerSummaries: 0 })
  gone = 'pump-4'
  await summarise(SLOT_TS + SLOT_MS)
  assert.deepEqual(await typical(), [
    ['pump-3', 'pump-2', 'pump-5', 'pump-1'],
    ['pump-3', 'pump-2', 'pump-5', 'pump-1', 'pump-6'],
  ])
  const [, second] = await summaries.find({}, { sort: { number: 1 } })
  assert.equal(second?.metrics[0]?.level.peers, 6, 'what it was like still counts for the others')
})

test('many devices are told by quantiles, each process by as many as it has devices', () => {
  const values = (from: number, count: number): number[] => Array.from({ length: count }, (_, k) => from + k)
  const part = (count: number, own: number[]) => ({ count, values: own, devices: [] })
  const figures = figuresOf([part(50, values(0, 50)), part(150, values(50, 50))])
  assert.ok(figures)
  assert.deepEqual([figures.peers, figures.values.length], [200, 21])
  assert.ok(Math.abs(figures.median - 66.3) < 1.5, String(figures.median))
  assert.equal(figuresOf([part(0, [])]), null)
})
