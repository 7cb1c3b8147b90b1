import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Uplink, UplinkSink } from '../contracts/uplink.ts'
import { EnvironmentError } from '../kernel/errors.ts'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { seededRandom } from '../kernel/random.ts'
import { VirtualClock } from '../kernel/time.ts'
import { IntakeBudget } from './intake-budget.ts'
import { until } from './testing/broker-fixture.ts'
import { EdgeWorld, type TestEdge } from './testing/edge-world.ts'
import type { PlainClient } from './testing/plain-client.ts'
import { lane, UplinkRoad, type UplinkLane } from './uplink-road.ts'

const AWAY = new EnvironmentError('LOG_UNAVAILABLE', 'no broker of the cluster answers', { retryable: true })

interface Fleet {
  world: EdgeWorld
  edge: TestEdge
  devices: PlainClient[]
  names: string[]
}

async function fleet(t: TestContext, size: number, config: object = {}): Promise<Fleet> {
  const world = await EdgeWorld.open()
  t.after(() => world.close())
  const edge = await world.edge('edge-a', { uplinkRetryInitialMs: 10, uplinkRetryMaxMs: 50, ...config })
  const names = Array.from({ length: size }, (_, n) => `d${n}`)
  const devices: PlainClient[] = []
  for (const name of names) devices.push(await world.connected(edge, name))
  return { world, edge, devices, names }
}

function acks(device: PlainClient): number[] {
  return device.packets.filter(({ cmd }) => cmd === 'puback').map(({ messageId }) => messageId ?? 0)
}

function send(device: PlainClient, name: string, messageId: number, payload: string | Buffer = String(messageId)): void {
  device.send({ cmd: 'publish', topic: `devices/${name}/telemetry`, payload, qos: 1, dup: false, retain: false, messageId })
}

test('200 publishing devices: while the log is away nothing is acknowledged and pings are answered, then all goes on in order', async (t) => {
  const { world, edge, devices, names } = await fleet(t, 200)
  world.sink.failure = AWAY
  for (let n = 1; n <= 5; n++) for (const [i, device] of devices.entries()) send(device, names[i]!, n)
  await until('all to wait', async () => (await edge.metric('broker_uplinks_waiting')) === 1_000)
  await Promise.all(devices.map((device) => device.settle()))
  assert.equal(await edge.metric('broker_log_available'), 0)
  const failing = 'the event log takes nothing, 1000 publishes wait unacknowledged: no broker of the cluster answers'
  await until('all to wait for the log', () => edge.broker.failing === failing)
  assert.ok(devices.every((device) => acks(device).length === 0 && !device.socket.destroyed))
  assert.ok(world.sink.refused < 300, `the log was tried ${world.sink.refused} times`)
  const late = await world.connected(edge, 'late')
  send(late, 'late', 1)

  world.sink.failure = undefined
  await until('all to be acknowledged', () => devices.every((device) => acks(device).length === 5) && acks(late).length === 1, 20_000)
  for (const device of devices) assert.deepEqual(acks(device), [1, 2, 3, 4, 5])
  for (const name of names) {
    const own = world.sink.taken.filter(({ device }) => device === name).map(({ payload }) => Buffer.from(payload).toString())
    assert.deepEqual(own, ['1', '2', '3', '4', '5'])
  }
  assert.equal(edge.broker.failing, null)
  assert.equal(await edge.metric('broker_log_available'), 1)
  assert.equal(await edge.metric('broker_uplinks_waiting'), 0)
  assert.equal(await edge.metric('broker_uplink_bytes'), 0)
})

test('what waits is bounded: above uplinkBytesMax sockets are read no further, others are still heard, and all of it arrives', async (t) => {
  const bytesMax = 1_048_576
  const { world, edge, devices, names } = await fleet(t, 8, { uplinkBytesMax: bytesMax })
  const quiet = await world.connected(edge, 'quiet')
  world.sink.failure = AWAY
  const payload = Buffer.alloc(4_000, 'x')
  const each = 500
  for (const [i, device] of devices.entries()) for (let n = 1; n <= each; n++) send(device, names[i]!, n, payload)
  await until('sockets not to be read', async () => (await edge.metric('broker_unread_connections')) === devices.length)
  const heldBytes = await edge.metric('broker_uplink_bytes')
  // Each connection may pass the bound by what one read of its socket brings.
  assert.ok(heldBytes < bytesMax + devices.length * 2 * 65_536, `${heldBytes} bytes`)
  await quiet.settle()
  assert.equal(await edge.metric('broker_uplink_bytes'), heldBytes, 'nothing more is read')
  world.sink.failure = undefined
  await until('everything', () => devices.every((device) => acks(device).length === each), 20_000)
  for (const device of devices)
    assert.deepEqual(
      acks(device),
      [...Array(each).keys()].map((n) => n + 1),
    )
  assert.equal(await edge.metric('broker_uplink_bytes'), 0)
})

test('a device that leaves takes its waiting publishes with it; QoS 2 is appended once when it comes again', async (t) => {
  const { world, edge, devices } = await fleet(t, 1)
  const [device] = devices
  world.sink.failure = AWAY
  const publish = { cmd: 'publish', topic: 'devices/d0/events', payload: 'once', qos: 2, retain: false, messageId: 7 } as const
  device!.send({ ...publish, dup: false })
  await until('it to wait', async () => (await edge.metric('broker_uplinks_waiting')) === 1)
  device!.socket.destroy()
  await until('nothing to wait', async () => (await edge.metric('broker_uplinks_waiting')) === 0)
  const again = await world.connected(edge, 'd0', { clean: false })
  again.send({ ...publish, dup: true })
  await until('it to wait again', async () => (await edge.metric('broker_uplinks_waiting')) === 1)
  world.sink.failure = undefined
  await again.wait('PUBCOMP', 'pubcomp')
  assert.deepEqual(world.sink.texts, ['events=once'])
})

test('a failure that does not pass closes the connection as ever', async (t) => {
  const { world, devices } = await fleet(t, 2)
  world.sink.failure = new EnvironmentError('DEVICE_UNKNOWN', 'not in the registry', { retryable: true })
  send(devices[0]!, 'd0', 1)
  await until('the end', () => devices[0]!.socket.destroyed || devices[0]!.socket.readableEnded)
  world.sink.failure = new Error('a bug')
  send(devices[1]!, 'd1', 1)
  await until('the end', () => devices[1]!.socket.destroyed || devices[1]!.socket.readableEnded)
})

/** A log that answers when told, one way or the other. */
class SlowSink implements UplinkSink {
  readonly held: { text: string; done: (error?: Error) => void }[] = []
  accept({ payload }: Uplink, done: (error?: Error) => void): void {
    this.held.push({ text: Buffer.from(payload).toString(), done })
  }
  get texts(): string[] {
    return this.held.map(({ text }) => text)
  }
}

function road(
  sink: UplinkSink,
  clock: VirtualClock,
): { road: UplinkRoad; send: (of: UplinkLane, text: string) => void; answers: string[] } {
  const answers: string[] = []
  const made = new UplinkRoad({
    uplinks: sink,
    clock,
    random: seededRandom('road'),
    log: silentLogger,
    metrics: new Metrics(),
    budget: new IntakeBudget(1_000_000),
    retryInitialMs: 100,
    retryMaxMs: 1_000,
    slowMs: 5_000,
  })
  const send = (of: UplinkLane, text: string): void =>
    made.send(
      of,
      { tenant: 't', device: 'd', path: 'telemetry', payload: Buffer.from(text), receivedAt: 0, correlationId: text },
      (error) => answers.push(error === undefined ? text : `${text} failed`),
    )
  return { road: made, send, answers }
}

test('a publish does not overtake one before it that waits, nor is it answered before it [MQTT-4.6.0-2]', async () => {
  const clock = new VirtualClock()
  const sink = new SlowSink()
  const { send, answers, road: made } = road(sink, clock)
  const one = lane()
  for (const text of ['p1', 'p2', 'p3']) send(one, text)
  sink.held[0]?.done(AWAY)
  send(one, 'p4')
  await clock.advance(10_000)
  assert.deepEqual(sink.texts, ['p1', 'p2', 'p3'], 'p1 is not tried again while p2 and p3 are under way')
  sink.held[2]?.done()
  sink.held[1]?.done(AWAY)
  assert.deepEqual(answers, [], 'p3 is durable, but p1 and p2 come first')
  await clock.advance(2_000)
  assert.deepEqual(sink.texts.slice(3), ['p1'], 'one is tried')
  sink.held[3]?.done()
  assert.deepEqual(sink.texts.slice(4), ['p2', 'p4'])
  sink.held[4]?.done()
  assert.deepEqual(answers, ['p1', 'p2', 'p3'])
  sink.held[5]?.done()
  assert.deepEqual(answers, ['p1', 'p2', 'p3', 'p4'])
  assert.equal(one.stalled, undefined)
  made.stop()
})

test('while the log is away one publish is tried at a time, with growing pauses; with nobody waiting, the next to come', async () => {
  const clock = new VirtualClock()
  const sink = new SlowSink()
  const { send, road: made } = road(sink, clock)
  const lanes = Array.from({ length: 50 }, () => lane())
  for (const [n, of] of lanes.entries()) send(of, `d${n}`)
  for (const { done } of sink.held.splice(0)) done(AWAY)
  let tries = 0
  for (let second = 0; second < 20; second++) {
    await clock.advance(1_000)
    tries += sink.held.length
    for (const { done } of sink.held.splice(0)) done(AWAY)
  }
  assert.ok(tries >= 10 && tries <= 20, `${tries} tries in 20 s`)
  for (const of of lanes) made.leave(of)
  assert.equal(made.waiting, 0)
  await clock.advance(5_000)
  assert.equal(sink.held.length, 0)
  send(lane(), 'newcomer')
  assert.deepEqual(sink.texts, ['newcomer'])
  sink.held[0]?.done()
  assert.equal(made.failing, null)
  made.stop()
})

test('a log that neither takes nor refuses counts as away after uplinkSlowMs', async () => {
  const clock = new VirtualClock()
  const sink = new SlowSink()
  const { send, road: made } = road(sink, clock)
  send(lane(), 'p1')
  await clock.advance(4_000)
  assert.equal(made.failing, null)
  await clock.advance(2_000)
  assert.match(made.failing ?? '', /has not answered for 6 s, 1 publishes/)
  sink.held[0]?.done()
  assert.equal(made.failing, null)
})
