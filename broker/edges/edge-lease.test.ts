import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import { VirtualClock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { LatestWriter } from '../persistence/latest-writer.ts'
import { TemporaryDocuments } from '../testing/temporary-documents.ts'
import { openEdgeCollections, type EdgeCollections, type Positions } from './edge-documents.ts'
import { EdgeLease } from './edge-lease.ts'
import { EdgePeers } from './edge-peers.ts'

const LEASE_MS = 3_000

let folder: TemporaryDocuments
let documents: Documents
let namespaces = 0

before(async () => {
  folder = await TemporaryDocuments.create()
  documents = await folder.open()
})
after(async () => {
  await documents.stop()
  await folder.remove()
})

interface World {
  clock: VirtualClock
  collections: EdgeCollections
  peers: EdgePeers
  lease(edgeId: string, positions?: Positions): EdgeLease
  lost: string[]
}

async function world(): Promise<World> {
  const clock = new VirtualClock()
  const collections = await openEdgeCollections(documents, `test-${namespaces++}`)
  const edges = (): EdgeCollections['edges'] => collections.edges
  const lost: string[] = []
  const lease = (edgeId: string, positions: Positions = {}): EdgeLease =>
    new EdgeLease({
      edges,
      clock,
      log: silentLogger,
      edgeId,
      leaseMs: LEASE_MS,
      positions: () => positions,
      onRenewed: () => undefined,
      onLost: () => lost.push(edgeId),
    })
  return { clock, collections, peers: new EdgePeers(edges, clock), lease, lost }
}

test('a lease is over for others only when it was over for its edge before', async () => {
  const { clock, peers, lease, lost } = await world()
  const a = lease('a', { 0: 7 })
  await a.begin()
  await clock.advance(1_000)
  await peers.look()
  await clock.advance(LEASE_MS - 1_000 - 1)
  assert.equal(a.isValid, true)
  assert.deepEqual(await peers.end(a.id, 'b'), { status: 'live' })
  await clock.advance(1)
  assert.equal(a.isValid, false)
  assert.deepEqual(await peers.end(a.id, 'b'), { status: 'live' }, 'seen first a second after it was renewed')
  await clock.advance(1_000)
  assert.deepEqual(await peers.end(a.id, 'b'), { status: 'over', positions: { 0: 7 } })
  assert.equal(await a.renew(), false)
  assert.deepEqual(lost, ['a'])
})

test('an edge that is late but was not declared over goes on', async () => {
  const { clock, peers, lease, lost } = await world()
  const a = lease('a')
  await a.begin()
  await peers.look()
  await clock.advance(10 * LEASE_MS)
  assert.equal(a.isValid, false)
  assert.equal(await a.confirm(), true)
  assert.deepEqual(await peers.end(a.id, 'b'), { status: 'live' }, 'it was renewed since the look')
  assert.deepEqual(lost, [])
})

test('a restart resumes its lease at once, unless it was declared over; its positions come with it', async () => {
  const { clock, peers, lease, lost } = await world()
  const first = lease('a', { 0: 3, 1: 4 })
  await first.begin()
  const second = lease('a', { 0: 3, 1: 4 })
  assert.deepEqual(await second.resume(), { 0: 3, 1: 4 })
  assert.equal(second.id, first.id)
  assert.equal(await first.renew(), false, 'two processes with one edge id: the one that came first is out')
  assert.deepEqual(lost, ['a'])
  await peers.look()
  await clock.advance(LEASE_MS)
  assert.equal((await peers.end(second.id, 'b')).status, 'over')
  assert.equal(await lease('a').resume(), undefined)
})

test('an edge that says that it stops is not waited for', async () => {
  const { peers, lease } = await world()
  const a = lease('a', { 0: 9 })
  await a.begin()
  await a.leave()
  assert.equal(a.isValid, false)
  assert.deepEqual(await peers.end(a.id, 'b'), { status: 'over', positions: { 0: 9 } })
  await peers.remove(a.id)
  assert.deepEqual(await peers.end(a.id, 'b'), { status: 'gone' })
})

test('an edge that was declared over writes over nothing of its successor’s, and is told so', async () => {
  const { clock, peers, lease } = await world()
  const [a, b] = [lease('a'), lease('b')]
  await a.begin()
  await b.begin()
  const collection = await documents.collection<{ text: string }>({ name: `things-${namespaces}`, indexes: [] })
  const [ofA, ofB] = [new LatestWriter(collection, a), new LatestWriter(collection, b)]
  await ofA.write('changed', { text: 'of a' })
  await ofA.write('removed', { text: 'of a' })
  await peers.look()
  await clock.advance(LEASE_MS)
  assert.equal((await peers.end(a.id, b.id)).status, 'over')
  for (const id of ['changed', 'removed']) ofB.loaded((await collection.get(id))!)
  await b.renew()
  await ofB.write('changed', { text: 'of b' })
  await ofB.write('removed', null)
  for (const [id, document] of [
    ['changed', { text: 'late' }],
    ['removed', { text: 'late' }],
    ['new', { text: 'late' }],
    ['changed', null],
  ] as const)
    await assert.rejects(ofA.write(id, document), { code: 'SESSION_TAKEN' })
  assert.equal((await collection.get('changed'))?.text, 'of b')
  assert.equal(await collection.get('removed'), null)
  assert.equal(await collection.get('new'), null)
})

test('a write whose answer was lost is no other process: the owner writes on', async () => {
  const { lease } = await world()
  const a = lease('a')
  await a.begin()
  const collection = await documents.collection<{ n: number }>({ name: `things-${namespaces}`, indexes: [] })
  const writer = new LatestWriter(collection, a)
  await writer.write('x', { n: 1 })
  await collection.put('x', { n: 2 })
  await writer.write('x', { n: 3 })
  assert.equal((await collection.get('x'))?.n, 3)
})
