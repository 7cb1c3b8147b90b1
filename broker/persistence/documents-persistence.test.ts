import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { systemClock, VirtualClock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { TemporaryDocuments } from '../testing/temporary-documents.ts'
import {
  DocumentsPersistence,
  EMPTY_SESSION_TOPIC,
  type DocumentsPersistenceOptions,
  type PersistenceDrop,
} from './documents-persistence.ts'
import type { BrokerPacket } from './packet.ts'

const limits = {
  subscriptionsPerSessionMax: 100,
  queueMessagesMax: 1_000,
  queuesBytesMax: 1_000_000,
  retainedPerDeviceMax: 10,
  retainedBytesPerDeviceMax: 10_000,
  retainedBytesMax: 100_000,
}

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

/** Each in collections of its own, unless a test says otherwise. */
function persistence(options: Partial<DocumentsPersistenceOptions> = {}): DocumentsPersistence {
  return new DocumentsPersistence({
    documents,
    clock: systemClock,
    namespace: `broker-${namespaces++}`,
    limits,
    onDropped: (drop) => assert.fail(`dropped ${JSON.stringify(drop)}`),
    ...options,
  })
}

// Aedes' own specification of a persistence, as shipped by aedes-persistence.
const abstractPersistence = createRequire(import.meta.url)('aedes-persistence/abstract.js') as (options: object) => void
abstractPersistence({ test, testAsync: true, persistence: () => persistence() })

function message(text: string, overrides: Partial<BrokerPacket> = {}): BrokerPacket {
  return {
    cmd: 'publish',
    brokerId: 'run-1',
    brokerCounter: Number.parseInt(text.replace(/\D/g, ''), 10) || 1,
    topic: 'acme/devices/d/commands/1',
    payload: Buffer.from(text),
    qos: 1,
    retain: false,
    ...overrides,
  }
}

async function texts(store: DocumentsPersistence, clientId: string): Promise<string[]> {
  const packets = (await store.outgoingStream({ id: clientId }).toArray()) as BrokerPacket[]
  return packets.map((packet) => `${packet.cmd}:${String(packet.payload)}:${packet.messageId ?? '-'}:${packet.dup ? 'dup' : 'new'}`)
}

test('everything survives: sessions, queues in order, QoS 2 receipts, retained messages, wills', async (t) => {
  const own = await TemporaryDocuments.create()
  t.after(() => own.remove())
  const first = await own.open()
  const before = persistence({ documents: first, namespace: 'broker' })
  await before.setup({ id: 'run-1' })
  const client = { id: 'acme/d' }
  assert.equal(await before.openSession(client.id), 'created')
  await before.addSubscriptions(client, [{ topic: 'acme/devices/d/commands/+', qos: 1 }])
  for (const text of ['m1', 'm2', 'm3']) await before.outgoingEnqueueCombi([{ clientId: client.id }], message(text))
  await before.outgoingUpdate(client, message('m1', { messageId: 7 }))
  await before.incomingStorePacket(client, message('in', { qos: 2, messageId: 9 }))
  await before.storeRetained(message('kept', { topic: 'acme/devices/d/twin/desired', retain: true }))
  await before.putWill(client, { topic: 'acme/devices/d/status', payload: Buffer.from('gone'), qos: 1, retain: false })

  // Nothing is flushed or told: what was promised is on disk.
  await first.stop()
  const second = await own.open()
  t.after(() => second.stop())
  const after = persistence({ documents: second, namespace: 'broker' })
  await after.setup({ id: 'run-2' })
  assert.deepEqual(await after.subscriptionsByClient(client), [{ topic: 'acme/devices/d/commands/+', qos: 1 }])
  assert.deepEqual(
    (await after.subscriptionsByTopic('acme/devices/d/commands/5')).map((match) => match.clientId),
    [client.id],
  )
  assert.deepEqual(await texts(after, client.id), ['publish:m1:7:dup', 'publish:m2:-:new', 'publish:m3:-:new'])
  assert.equal(after.incoming.has(client.id, 9), true)
  assert.equal(String((await after.incomingGetPacket(client, { messageId: 9 })).payload), 'in')
  const retained = (await after.createRetainedStreamCombi(['acme/devices/d/#']).toArray()) as BrokerPacket[]
  assert.deepEqual(
    retained.map((packet) => String(packet.payload)),
    ['kept'],
  )
  const wills = (await after.streamWill({ 'run-2': 1 }).toArray()) as BrokerPacket[]
  assert.deepEqual(
    wills.map((will) => [will.clientId, will.brokerId, String(will.payload)]),
    [[client.id, 'run-1', 'gone']],
  )
})

test('a session without subscriptions is present on the next connection, and gone after a clean one', async () => {
  const store = persistence()
  await store.setup({ id: 'run-1' })
  assert.equal(await store.openSession('acme/d'), 'created')
  assert.deepEqual(await store.subscriptionsByClient({ id: 'acme/d' }), [])
  assert.equal(await store.openSession('acme/d'), 'resumed')
  assert.deepEqual(await store.subscriptionsByClient({ id: 'acme/d' }), [{ topic: EMPTY_SESSION_TOPIC, qos: 0 }])
  await store.cleanSubscriptions({ id: 'acme/d' })
  assert.equal(await store.openSession('acme/d'), 'created')
})

test('a full queue refuses the newest message and says so; other sessions still queue until all are full', async () => {
  const dropped: PersistenceDrop[] = []
  const store = persistence({
    limits: { ...limits, queueMessagesMax: 2, queuesBytesMax: 5_000 },
    onDropped: (drop) => dropped.push(drop),
  })
  await store.setup({ id: 'run-1' })
  for (const text of ['m1', 'm2', 'm3']) await store.outgoingEnqueue({ clientId: 'a' }, message(text))
  assert.deepEqual(await texts(store, 'a'), ['publish:m1:-:new', 'publish:m2:-:new'])
  assert.deepEqual(dropped, [{ reason: 'session-queue-full', clientId: 'a' }])
  await store.outgoingEnqueue({ clientId: 'b' }, message('m4', { payload: Buffer.alloc(6_000) }))
  assert.deepEqual(dropped[1], { reason: 'all-queues-full', clientId: 'b' })
  const sizeBytes = store.queues.sizeBytes
  await store.outgoingUpdate({ id: 'a' }, message('m1', { messageId: 3 }))
  assert.equal(String((await store.outgoingClearMessageId({ id: 'a' }, { messageId: 3 }))?.payload), 'm1')
  assert.ok(store.queues.sizeBytes < sizeBytes)
  await store.cleanSubscriptions({ id: 'a' })
  assert.equal(store.queues.sizeBytes, 0)
  assert.equal(store.queues.messages, 0)
})

test('a message queues once for a session with overlapping filters, with the best granted QoS', async () => {
  const store = persistence()
  await store.setup({ id: 'run-1' })
  await store.addSubscriptions({ id: 'a' }, [
    { topic: 'x/#', qos: 1 },
    { topic: 'x/y', qos: 2 },
    { topic: '#', qos: 1 },
  ])
  const matched = await store.subscriptionsByTopic('x/y')
  await store.outgoingEnqueueCombi(matched, message('m1', { topic: 'x/y', qos: 2 }))
  assert.deepEqual(
    store.queues.packets('a').map((packet) => packet.qos),
    [2],
  )
  await store.outgoingEnqueueCombi(await store.subscriptionsByTopic('x/z'), message('m2', { topic: 'x/z', qos: 2 }))
  assert.deepEqual(
    store.queues.packets('a').map((packet) => packet.qos),
    [2, 1],
  )
  assert.deepEqual(await store.subscriptionsByTopic('$x/y'), [])
})

test('retained messages over a bound are not kept, reported, and leave nothing stale behind', async () => {
  const dropped: PersistenceDrop[] = []
  const store = persistence({
    limits: { ...limits, retainedPerDeviceMax: 2, retainedBytesPerDeviceMax: 2_000 },
    onDropped: (drop) => dropped.push(drop),
  })
  await store.setup({ id: 'run-1' })
  const retain = (topic: string, sizeBytes: number): Promise<void> =>
    store.storeRetained(message('x', { topic, payload: Buffer.alloc(sizeBytes, 1), retain: true }))
  await retain('acme/devices/d/a', 10)
  await retain('acme/devices/d/b', 10)
  await retain('acme/devices/d/c', 10)
  await retain('acme/devices/d/a', 5_000)
  assert.deepEqual(
    dropped.map(({ reason }) => reason),
    ['retained-per-device', 'retained-bytes-per-device'],
  )
  const left = (await store.createRetainedStream('acme/devices/d/+').toArray()) as BrokerPacket[]
  assert.deepEqual(
    left.map((packet) => packet.topic),
    ['acme/devices/d/b'],
  )
})

test('filters a session may not hold are not stored, even beside granted ones', async () => {
  const store = persistence({ mayHold: (clientId, filter) => clientId === 'acme/d' && filter.startsWith('acme/devices/d/') })
  await store.setup({ id: 'run-1' })
  await store.addSubscriptions({ id: 'acme/d' }, [
    { topic: 'acme/devices/d/#', qos: 1 },
    { topic: 'acme/devices/other/#', qos: 1 },
  ])
  assert.deepEqual(await store.subscriptionsByTopic('acme/devices/other/telemetry'), [])
  assert.equal((await store.subscriptionsByClient({ id: 'acme/d' })).length, 1)
})

test('sessions expire by their last use, live ones never', async () => {
  const clock = new VirtualClock()
  const store = persistence({ clock })
  await store.setup({ id: 'run-1' })
  await store.openSession('old')
  await store.openSession('live')
  await store.outgoingEnqueue({ clientId: 'old' }, message('m1'))
  await clock.advance(1_000)
  await store.openSession('young')
  assert.equal(await store.expireSessions(clock.nowMs() - 500, (clientId) => clientId === 'live'), 1)
  assert.deepEqual([store.sessions.has('old'), store.sessions.has('live'), store.sessions.has('young')], [false, true, true])
  assert.equal(store.queues.messages, 0)
})
