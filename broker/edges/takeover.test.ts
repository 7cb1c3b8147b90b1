import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { systemClock } from '../../kernel/time.ts'
import { until } from '../testing/broker-fixture.ts'
import { EdgeWorld, ended, TEST_LEASE_MS, type TestEdge } from '../testing/edge-world.ts'
import { connect } from '../testing/raw-packets.ts'

let world: EdgeWorld
let a: TestEdge
let b: TestEdge

before(async () => {
  world = await EdgeWorld.open()
  a = await world.edge('edge-a')
  b = await world.edge('edge-b')
})
after(() => world.close())

const commands = (device: string): Record<string, 0 | 1 | 2> => ({ [`devices/${device}/commands/+`]: 1 })

test('a device that connects to the second edge is dropped by the first, in well under a second [MQTT-3.1.4-2]', async () => {
  const first = await world.connected(a, 'd1')
  const startedMs = systemClock.monotonicMs()
  const second = await world.connected(b, 'd1')
  const takenMs = systemClock.monotonicMs() - startedMs
  await ended(first)
  assert.ok(takenMs < 500, `${takenMs} ms`)
  assert.equal(a.broker.isConnected('default', 'd1'), false)
  assert.equal(b.broker.isConnected('default', 'd1'), true)
  await second.publish('devices/d1/telemetry', 'still here', 1)
  assert.ok(world.sink.texts.includes('telemetry=still here'))
  const third = await world.connected(a, 'd1', { clean: false })
  await ended(second)
  third.disconnect()
})

test('queued messages move with the session: each once, in order, what was sent before with DUP and its id [MQTT-4.4.0-1]', async () => {
  const first = await world.connected(a, 'd2', { clean: false })
  await first.subscribe(commands('d2'))
  first.acknowledges = false
  await world.send('d2', 'commands/1', 'c1')
  await until('c1', () => first.texts.length === 1)
  const sentAs = first.messages[0]?.messageId
  first.socket.destroy()
  await until('the disconnect', () => !a.broker.isConnected('default', 'd2'))
  for (const n of [2, 3, 4, 5]) await world.send('d2', `commands/${n}`, `c${n}`)
  const second = await world.connected(b, 'd2', { clean: false })
  assert.equal((await second.wait('CONNACK', 'connack')).sessionPresent, true)
  await until('five commands', () => second.texts.length === 5)
  await second.settle()
  assert.deepEqual(second.texts, ['c1', 'c2', 'c3', 'c4', 'c5'])
  assert.deepEqual([second.messages[0]?.dup, second.messages[0]?.messageId], [true, sentAs])
  // Acknowledged there, they are gone here too.
  await until('empty queues', async () => (await b.metric('broker_queued_messages')) === 0)
  const third = await world.connected(a, 'd2', { clean: false })
  await world.send('d2', 'commands/6', 'c6')
  await until('c6', () => third.texts.length > 0)
  await third.settle()
  assert.deepEqual(third.texts, ['c6'])
})

test('connecting to both at once leaves exactly one connection, whichever it is', async () => {
  for (let round = 0; round < 15; round++) {
    const options = { clean: round % 2 === 0 }
    const clients = await Promise.all([a, b].map((edge) => world.opened(edge, 'd3')))
    for (const client of clients) client.socket.write(connect('d3', options))
    await until('both to be answered', () => clients.every((c) => c.socket.destroyed || c.socket.readableEnded || c.packets.length > 0))
    await until('one to end', () => clients.filter((c) => c.socket.destroyed || c.socket.readableEnded).length === 1)
    const left = clients.findIndex((c) => !c.socket.destroyed && !c.socket.readableEnded)
    await clients[left]!.settle()
    assert.deepEqual(
      [a, b].map((edge) => edge.broker.isConnected('default', 'd3')),
      [left === 0, left === 1],
    )
  }
})

test('a command reaches the edge that holds the device, wherever it is sent', async () => {
  const client = await world.connected(b, 'd4')
  await client.subscribe(commands('d4'))
  const down = (edge: TestEdge, id: string): Promise<{ status: string }> =>
    edge.broker.publishDown('default', 'd4', `commands/${id}`, Buffer.from(id))
  assert.deepEqual(await down(a, 'through-a'), { status: 'forwarded' })
  await until('the forwarded command', () => client.texts.includes('through-a'))
  assert.deepEqual(await down(b, 'through-b'), { status: 'sent' })
  await until('the direct command', () => client.texts.includes('through-b'))
  assert.deepEqual(client.texts, ['through-a', 'through-b'])
})

test('QoS 2 from the device: what one edge appended the other does not append again', async () => {
  const first = await world.connected(a, 'd5', { clean: false })
  const publish = { cmd: 'publish', topic: 'devices/d5/events', payload: 'once', qos: 2, retain: false, messageId: 9 } as const
  first.acknowledges = false
  world.sink.holds = true
  first.send({ ...publish, dup: false })
  await until('the append', () => world.sink.held.length === 1)
  // It moves while the append is under way: the new edge waits for its outcome.
  const second = await world.opened(b, 'd5')
  second.socket.write(connect('d5', { clean: false }))
  await ended(first)
  world.sink.holds = false
  for (const done of world.sink.held.splice(0)) done()
  await second.wait('CONNACK', 'connack')
  second.send({ ...publish, dup: true })
  await second.wait('PUBCOMP', 'pubcomp')
  assert.deepEqual(
    world.sink.texts.filter((text) => text === 'events=once'),
    ['events=once'],
  )
})

test('QoS 2 to the device: the release is repeated on the other edge, not the message [MQTT-4.3.3-2]', async () => {
  const first = await world.connected(a, 'd6', { clean: false })
  await first.subscribe({ 'devices/d6/events': 2 })
  first.acknowledges = false
  await first.publish('devices/d6/events', 'echo', 2)
  await until('its delivery', () => first.texts.length === 1)
  const messageId = first.messages[0]?.messageId ?? 0
  first.send({ cmd: 'pubrec', messageId })
  const pubrels = (): number => first.packets.filter((packet) => packet.cmd === 'pubrel').length
  await until('PUBREL', () => pubrels() === 1)
  const second = await world.connected(b, 'd6', { clean: false })
  const pubrel = await second.wait('PUBREL on the other edge', 'pubrel')
  await second.settle()
  assert.equal(pubrel.messageId, messageId)
  assert.deepEqual(second.texts, [])
})

test('retained messages are there on every edge: the device’s own, and a desired twin for a device that never connected', async () => {
  const first = await world.connected(a, 'd7')
  await first.publish('devices/d7/status', 'up', 1, true)
  await world.send('d7', 'twin/desired', 'v1', true)
  const second = await world.connected(b, 'd7')
  await second.subscribe({ 'devices/d7/status': 1, 'devices/d7/twin/desired': 1 })
  await until('both', () => second.texts.length === 2)
  assert.deepEqual(second.texts.sort(), ['up', 'v1'])

  await world.send('d8', 'twin/desired', 'early', true)
  await until(
    'somebody to keep it',
    async () => (await a.metric('broker_retained_messages')) + (await b.metric('broker_retained_messages')) > 2,
  )
  for (const edge of [a, b]) {
    const client = await world.connected(edge, 'd8')
    await client.subscribe({ 'devices/d8/twin/desired': 1 })
    await until('the twin', () => client.texts.length === 1)
    assert.deepEqual(client.texts, ['early'])
  }
})

test('a revoked device is gone from every edge', async () => {
  const client = await world.connected(b, 'd9')
  world.registry.suspend('default', 'd9')
  await ended(client)
  await assert.rejects(world.connected(a, 'd9'))
})

test('clean on one edge ends the session of the other [MQTT-3.1.2-6]', async () => {
  const first = await world.connected(a, 'd10', { clean: false })
  await first.subscribe(commands('d10'))
  first.disconnect()
  await ended(first)
  const clean = await world.connected(b, 'd10')
  clean.disconnect()
  await ended(clean)
  const third = await world.connected(a, 'd10', { clean: false })
  assert.equal((await third.wait('CONNACK', 'connack')).sessionPresent, false)
})

test('leases are renewed all the while: nobody takes over from an edge that lives', async () => {
  const client = await world.connected(a, 'd11', { clean: false })
  const startedMs = systemClock.monotonicMs()
  await until('two leases to pass', () => systemClock.monotonicMs() - startedMs > 2 * TEST_LEASE_MS)
  await client.settle()
  assert.equal(await b.metric('broker_adopted_seats_total'), 0)
  assert.equal(a.broker.failing, null)
})

test('without the log a device still moves: the wish is found at the next look; commands it missed come when the log is back', async () => {
  const first = await world.connected(a, 'd12', { clean: false })
  await first.subscribe(commands('d12'))
  first.disconnect()
  await ended(first)
  b.logLine.isCut = true
  const second = await world.connected(b, 'd12', { clean: false })
  assert.equal((await second.wait('CONNACK', 'connack')).sessionPresent, true)
  await world.send('d12', 'commands/1', 'c1')
  b.logLine.isCut = false
  await until('c1', () => second.texts.length > 0)
  await second.settle()
  assert.deepEqual(second.texts, ['c1'])
})

test('a CONNECT that waits for a holder that does not answer ends with return code 3, and the wish is withdrawn', async (t) => {
  const own = await EdgeWorld.open()
  t.after(() => own.close())
  // A holder that lives, but does not give the device up in time.
  const [slow, other] = [
    await own.edge('edge-a', { edges: { leaseMs: 60_000, releaseTimeoutMs: 5_000 } }),
    await own.edge('edge-b', { edges: { leaseMs: 60_000, takeoverTimeoutMs: 200 } }),
  ]
  const first = await own.connected(slow, 'd1')
  own.sink.holds = true
  first.send({ cmd: 'publish', topic: 'devices/d1/telemetry', payload: 'x', qos: 1, retain: false, dup: false, messageId: 1 })
  await until('the append', () => own.sink.held.length === 1)
  await assert.rejects(own.connected(other, 'd1'), /refused with 3/)
  own.sink.holds = false
  for (const done of own.sink.held.splice(0)) done()
  const again = await own.connected(slow, 'd1')
  await again.settle()
})
