import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { systemClock } from '../../kernel/time.ts'
import { until } from '../testing/broker-fixture.ts'
import { EdgeWorld, ended, TEST_LEASE_MS, type TestEdge } from '../testing/edge-world.ts'
import type { PlainClient } from '../testing/plain-client.ts'

async function open(t: TestContext): Promise<EdgeWorld> {
  const world = await EdgeWorld.open()
  t.after(() => world.close())
  return world
}

/** A persistent session on this edge that listens to its commands. */
async function listener(world: EdgeWorld, edge: TestEdge, device: string): Promise<PlainClient> {
  const client = await world.connected(edge, device, { clean: false })
  await client.subscribe({ [`devices/${device}/commands/+`]: 1 })
  return client
}

test('sessions of a killed edge are taken over when its lease is over; commands sent meanwhile are neither lost nor doubled', async (t) => {
  const world = await open(t)
  const [a, b] = [await world.edge('edge-a'), await world.edge('edge-b')]
  const [offline, acked] = [await listener(world, a, 'offline'), await listener(world, a, 'acked')]
  offline.disconnect()
  await ended(offline)
  await world.send('offline', 'commands/1', 'before')
  await world.send('acked', 'commands/1', 'acknowledged')
  await until('the acknowledgement', async () => acked.texts.length === 1 && (await a.metric('broker_queued_messages')) === 1)
  await a.kill()
  for (const device of ['offline', 'acked']) await world.send(device, 'commands/2', 'while nobody held it')
  await until('the adoption', async () => (await b.metric('broker_adopted_seats_total')) === 2)
  for (const device of ['offline', 'acked']) await world.send(device, 'commands/3', 'after')

  const [first, second] = [await world.connected(b, 'offline', { clean: false }), await world.connected(b, 'acked', { clean: false })]
  assert.equal((await first.wait('CONNACK', 'connack')).sessionPresent, true)
  await until('what waited', () => first.texts.length >= 3 && second.texts.length >= 2)
  await first.settle()
  await second.settle()
  assert.deepEqual(first.texts, ['before', 'while nobody held it', 'after'])
  assert.deepEqual(second.texts, ['while nobody held it', 'after'])
  const { edges } = await stored(world)
  assert.equal(edges, 1, 'nothing is left of the dead edge')
})

test('a device of a killed edge gets through on another one within the lease, and is told apart from a slow edge', async (t) => {
  const world = await open(t)
  const [a, b] = [await world.edge('edge-a'), await world.edge('edge-b')]
  await listener(world, a, 'd')
  await a.kill()
  const startedMs = systemClock.monotonicMs()
  const client = await world.connected(b, 'd', { clean: false })
  const tookMs = systemClock.monotonicMs() - startedMs
  assert.ok(tookMs < 3 * TEST_LEASE_MS, `${tookMs} ms`)
  await world.send('d', 'commands/1', 'c1')
  await until('a command', () => client.texts.includes('c1'))
})

test('an edge that stopped in order is not waited for', async (t) => {
  const world = await open(t)
  const edges = { edges: { leaseMs: 60_000 } }
  const [a, b] = [await world.edge('edge-a', edges), await world.edge('edge-b', edges)]
  await listener(world, a, 'd')
  await a.broker.stop()
  // Its lease would be good for a minute; the next look of the other edge is twenty seconds away.
  await world.connected(b, 'd', { clean: false })
})

test('the same edge takes its own sessions back at once after a kill, and reads the commands it missed', async (t) => {
  const world = await open(t)
  const config = { edges: { leaseMs: 60_000 } }
  const a = await world.edge('edge-a', config)
  const client = await listener(world, a, 'd')
  await world.send('d', 'commands/1', 'c1')
  await until('c1', async () => client.texts.length === 1 && (await a.metric('broker_queued_messages')) === 0)
  await a.kill()
  await world.send('d', 'commands/2', 'c2')
  const again = await world.edge('edge-a', config)
  const second = await world.connected(again, 'd', { clean: false })
  await until('c2', () => second.texts.length > 0)
  await second.settle()
  assert.deepEqual(second.texts, ['c2'], 'c1 was acknowledged before the kill, though its place was not on record')
  assert.equal((await stored(world)).edges, 1)
})

test('wills of a dead edge are published once, by whoever takes over, before the device speaks again', async (t) => {
  const world = await open(t)
  const [a, b] = [await world.edge('edge-a'), await world.edge('edge-b')]
  const will = (device: string): { topic: string; payload: string } => ({ topic: `devices/${device}/status`, payload: `${device} is gone` })
  await world.connected(a, 'away', { will: will('away') })
  await world.connected(a, 'back', { will: will('back') })
  await a.kill()
  const client = await world.connected(b, 'back')
  await client.publish('devices/back/status', 'back again', 1)
  await until('both wills', () => world.sink.texts.length === 3)
  await until('the wills to be gone', async () => (await stored(world)).wills === 0)
  const own = world.sink.taken.filter(({ device }) => device === 'back').map(({ payload }) => Buffer.from(payload).toString())
  assert.deepEqual(own, ['back is gone', 'back again'])
  assert.deepEqual(
    world.sink.texts.filter((text) => text.includes('away')),
    ['status=away is gone'],
  )
})

test('an edge that was cut off for longer than its lease drops what it held and begins anew', async (t) => {
  const world = await open(t)
  const [a, b] = [await world.edge('edge-a'), await world.edge('edge-b')]
  const first = await listener(world, a, 'd')
  a.line.isCut = true
  await until('it to be uncertain', () => a.broker.failing !== null)
  assert.match(a.broker.failing ?? '', /lease/)
  await until('the adoption', async () => (await b.metric('broker_adopted_seats_total')) === 1)
  a.line.isCut = false
  await ended(first)
  await until('it to be well again', () => a.broker.failing === null)
  await world.send('d', 'commands/1', 'c1')
  const back = await world.connected(a, 'd', { clean: false })
  await until('c1', () => back.texts.length > 0)
  await back.settle()
  assert.deepEqual(back.texts, ['c1'])
})

test('two edges that find a third one dead share its devices, each once', async (t) => {
  const world = await open(t)
  const names = Array.from({ length: 30 }, (_, n) => `d${n}`)
  const a = await world.edge('edge-a')
  const [b, c] = [await world.edge('edge-b', { edges: { leaseMs: TEST_LEASE_MS, adoptSeatsMax: 4 } }), await world.edge('edge-c')]
  for (const name of names) await listener(world, a, name)
  await a.kill()
  for (const name of names) await world.send(name, 'commands/1', `for ${name}`)
  const adopted = async (): Promise<number> =>
    (await b.metric('broker_adopted_seats_total')) + (await c.metric('broker_adopted_seats_total'))
  await until('all to be adopted', async () => (await adopted()) >= names.length, 10_000)
  assert.equal(await adopted(), names.length)
  for (const [n, name] of names.entries()) {
    const client = await world.connected(n % 2 === 0 ? b : c, name, { clean: false })
    await until(`the command for ${name}`, () => client.texts.length > 0)
    await client.settle()
    assert.deepEqual(client.texts, [`for ${name}`])
  }
})

async function stored(world: EdgeWorld): Promise<{ edges: number; wills: number }> {
  const count = async (name: string): Promise<number> => (await world.documents.collection({ name, indexes: [] })).count({})
  return { edges: await count('broker-edges'), wills: await count('broker-wills') }
}
