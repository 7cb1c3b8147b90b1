import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Reading, RejectedReading } from '../contracts/reading.ts'
import { TOPICS } from '../contracts/topics.ts'
import { utf8Text } from '../kernel/bytes.ts'
import { EnvironmentError } from '../kernel/errors.ts'
import { Metrics } from '../kernel/metrics.ts'
import { ProcessingConfigSchema } from '../processing/config.ts'
import { ReadingsWorker } from '../processing/readings-worker.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { openStore } from '../storage/series/testing/store.ts'
import { configOf, openDoorWorld, type DoorWorld } from './testing/door-world.ts'
import { hasMosquitto, Mosquitto } from './testing/mosquitto.ts'
import { until } from './testing/platform-process.ts'

/* The door to a broker that people already run, against the Mosquitto that Debian has. */

if (!hasMosquitto) console.warn('SKIPPED: the MQTT door was not tested, there is no mosquitto (set MOSQUITTO)')
const skip = hasMosquitto ? false : 'there is no mosquitto'
const CHILD = fileURLToPath(new URL('./testing/mqtt-door-child.js', import.meta.url))

// The platform's own timers do not keep a process alive.
const alive = setInterval(() => undefined, 1_000)
after(() => clearInterval(alive))

async function mosquitto(t: TestContext, settings?: readonly string[]): Promise<Mosquitto> {
  const broker = new Mosquitto(settings)
  t.after(() => broker.remove())
  await broker.start()
  return broker
}

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'mqtt-door-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function logged<T>(world: DoorWorld, topic: string): Promise<T[]> {
  const found: T[] = []
  for (const [partition, { first, next }] of await world.eventLog.bounds(topic)) {
    if (next > first)
      found.push(
        ...(await world.eventLog.read(topic, partition, first, next - first)).map((record) => JSON.parse(utf8Text(record.value)) as T),
      )
  }
  return found
}

const reading = (seq: number): string => JSON.stringify({ ts: 1_763_680_000_000 + seq, boot: 'b1', seq, values: { t: seq } })
const upTo = (count: number): number[] => Array.from({ length: count }, (_, seq) => seq)

/** Sequence numbers in the series store after processing has taken everything in the log. */
async function storedSeqs(t: TestContext, world: DoorWorld, folder: string, device: string): Promise<number[]> {
  const series = await openStore(join(folder, 'series'))
  t.after(() => series.stop())
  const worker = new ReadingsWorker({ ...world, metrics: new Metrics(), series, operators: [], config: configOf(ProcessingConfigSchema) })
  await worker.start()
  const taken = (await logged<Reading>(world, TOPICS.readings)).length
  await until('processing', async () =>
    (await world.documents.collection<{ received: number }>({ name: 'ledger-summary', indexes: [] }))
      .get('default/0')
      .then((sums) => sums?.received === taken),
  )
  await worker.stop()
  return (await series.range({ tenant: 'default', device, limit: 10_000 })).items.map(({ seq }) => seq ?? -1).toReversed()
}

test(
  'messages of every QoS are taken in order, devices registered by their topic, others set aside with the reason',
  { skip, timeout: 300_000 },
  async (t) => {
    const broker = await mosquitto(t)
    const folder = temporaryFolder(t)
    const world = await openDoorWorld(folder)
    t.after(() => world.close())
    const door = await world.door('p1', { url: broker.url, topicPattern: 'sensors/+/{device}/up' })
    assert.equal(door.failing, null)
    for (const qos of [0, 1, 2] as const) await broker.publish(`sensors/hall/pump-${qos}/up`, reading(qos), qos)
    await broker.publishLines('sensors/hall/pump-9/up', upTo(500).map(reading))
    await broker.publish('sensors/hall/no device/up', reading(0))
    await broker.publish('sensors/hall/pump-1/up', 'no JSON')
    await until('all readings', async () => (await logged(world, TOPICS.readings)).length === 503)
    const readings = await logged<Reading>(world, TOPICS.readings)
    assert.deepEqual(
      readings.filter(({ device }) => device === 'pump-9').map(({ seq }) => seq),
      upTo(500),
      'in order, from the first one on, which had to wait for the registry',
    )
    // Of different devices, whose first readings wait for the registry, any may be the first.
    assert.deepEqual(
      readings
        .filter(({ device }) => device !== 'pump-9')
        .map(({ device, type }) => [device, type])
        .sort(),
      [
        ['pump-0', 'generic'],
        ['pump-1', 'generic'],
        ['pump-2', 'generic'],
      ],
    )
    await until('both rejected', async () => (await logged(world, TOPICS.rejected)).length === 2)
    const rejected = await logged<RejectedReading>(world, TOPICS.rejected)
    assert.deepEqual(
      rejected.map(({ device, reason, topic }) => [device, reason, topic]),
      [
        ['-', 'bad-topic', 'sensors/hall/no device/up'],
        ['pump-1', 'undecodable', 'sensors/hall/pump-1/up'],
      ],
    )
    assert.equal((await world.registry.findDevice('default', 'pump-9'))?.state, 'registered')
  },
)

test('with unknownDevices "reject" a stranger is set aside, with its bytes', { skip, timeout: 300_000 }, async (t) => {
  const broker = await mosquitto(t)
  const world = await openDoorWorld(temporaryFolder(t))
  t.after(() => world.close())
  await world.registry.ensureRegistered('default', 'known', undefined, 'system')
  await until('the door to know it', () => Promise.resolve(world.registryView.typeOf('default', 'known') !== undefined))
  await world.door('p1', { url: broker.url, unknownDevices: 'reject' })
  await broker.publish('devices/stranger/telemetry', reading(1))
  await broker.publish('devices/known/telemetry', reading(2))
  await until('the known one', async () => (await logged(world, TOPICS.readings)).length === 1)
  const [rejected] = await logged<RejectedReading>(world, TOPICS.rejected)
  assert.deepEqual([rejected?.device, rejected?.reason, rejected?.seq], ['stranger', 'unknown-device', 1])
  assert.equal(Buffer.from(rejected?.payloadBase64 ?? '', 'base64').toString(), reading(1))
})

for (const hold of ['before', 'after'] as const) {
  test(
    `kill -9 ${hold === 'before' ? 'between receipt and durable' : 'between durable and PUBACK'}: everything comes again and is stored once`,
    { skip, timeout: 300_000 },
    async (t) => {
      const broker = await mosquitto(t)
      const folder = temporaryFolder(t)
      const first = spawnDoor(t, folder, broker.url, hold)
      await first.said('open')
      await broker.publishLines('devices/pump-1/telemetry', upTo(50).map(reading))
      await first.said(hold === 'before' ? 'received' : 'durable')
      first.child.kill('SIGKILL')
      await once(first.child, 'exit')
      await broker.publishLines('devices/pump-1/telemetry', [50, 51].map(reading))
      const world = await openDoorWorld(folder)
      t.after(() => world.close())
      const before = (await logged<Reading>(world, TOPICS.readings)).length
      assert.equal(before > 0, hold === 'after')
      await world.door('door-1', { url: broker.url })
      await until('the last reading', async () => (await logged<Reading>(world, TOPICS.readings)).some(({ seq }) => seq === 51))
      const all = await logged<Reading>(world, TOPICS.readings)
      assert.ok(hold === 'before' || all.length > 52, 'what was durable and not acknowledged came again')
      assert.deepEqual(await storedSeqs(t, world, folder, 'pump-1'), upTo(52))
    },
  )
}

test('two doors share the messages, each acknowledges its own, and nothing is lost or doubled', { skip, timeout: 300_000 }, async (t) => {
  const broker = await mosquitto(t)
  const folder = temporaryFolder(t)
  const world = await openDoorWorld(folder)
  t.after(() => world.close())
  await world.door('p1', { url: broker.url })
  const second = await world.door('p2', { url: broker.url })
  const devices = ['a', 'b', 'c', 'd']
  await Promise.all(devices.map((device) => broker.publishLines(`devices/${device}/telemetry`, upTo(200).map(reading))))
  await until('all readings', async () => (await logged(world, TOPICS.readings)).length >= 800)
  const readings = await logged<Reading>(world, TOPICS.readings)
  assert.equal(new Set(readings.map(({ device, seq }) => `${device}/${seq}`)).size, 800)
  assert.equal(readings.length, 800)
  await second.stop()
  await broker.publishLines(
    'devices/a/telemetry',
    upTo(20).map((seq) => reading(1_000 + seq)),
  )
  await world.door('p2', { url: broker.url })
  await until('those sent while it was away', async () => (await logged(world, TOPICS.readings)).length === 820)
})

test(
  'while the log is away nothing is acknowledged, Mosquitto keeps it, and it goes on by itself',
  { skip, timeout: 300_000 },
  async (t) => {
    const broker = await mosquitto(t)
    const folder = temporaryFolder(t)
    let isAway = false
    let refused = 0
    const world = await openDoorWorld(folder, (log) => refusing(log, () => isAway && ++refused > 0))
    t.after(() => world.close())
    const door = await world.door('p1', { url: broker.url, reconnectInitialMs: 50, reconnectMaxMs: 200, receiveMaximum: 20 })
    await broker.publish('devices/pump-1/telemetry', reading(0))
    await until('the first', async () => (await logged(world, TOPICS.readings)).length === 1)
    isAway = true
    await broker.publishLines(
      'devices/pump-1/telemetry',
      upTo(300).map((seq) => reading(seq + 1)),
    )
    await until('several tries', () => Promise.resolve(refused > 3 && door.failing !== null))
    assert.match(door.failing ?? '', /cannot be made durable/)
    assert.equal((await logged(world, TOPICS.readings)).length, 1)
    isAway = false
    await until('everything', async () => (await logged<Reading>(world, TOPICS.readings)).some(({ seq }) => seq === 300))
    await until('readiness', () => Promise.resolve(door.failing === null))
    assert.deepEqual(await storedSeqs(t, world, folder, 'pump-1'), upTo(301))
  },
)

test(
  'a broker that goes away and comes back is found again; one that refuses us is named, without the password',
  { skip, timeout: 300_000 },
  async (t) => {
    const broker = await mosquitto(t)
    const world = await openDoorWorld(temporaryFolder(t))
    t.after(() => world.close())
    const door = await world.door('p1', { url: broker.url, reconnectInitialMs: 50, reconnectMaxMs: 200 })
    await broker.stop()
    await until('it to notice', () => Promise.resolve(door.failing !== null))
    assert.match(door.failing ?? '', new RegExp(broker.url))
    await broker.start()
    await until('the connection', () => Promise.resolve(door.failing === null))
    await broker.publish('devices/pump-1/telemetry', reading(1))
    await until('a reading', async () => (await logged(world, TOPICS.readings)).length === 1)

    const closed = await mosquitto(t, ['allow_anonymous false'])
    const refused = await world.door('p3', { url: closed.url, username: 'somebody', password: 'open-sesame' })
    assert.match(refused.failing ?? '', /not authori[sz]ed[^]*mqttDoor\.username/i)
    assert.doesNotMatch(refused.failing ?? '', /sesame/)
  },
)

function refusing(log: EventLog, isAway: () => boolean): EventLog {
  return new Proxy(log, {
    get: (target, property) => {
      const value = Reflect.get(target, property) as unknown
      if (property !== 'append') return typeof value === 'function' ? (value.bind(target) as unknown) : value
      return (topic: string, messages: Parameters<EventLog['append']>[1]) =>
        isAway()
          ? Promise.reject(new EnvironmentError('LOG_UNAVAILABLE', 'on purpose', { retryable: true }))
          : target.append(topic, messages)
    },
  })
}

function spawnDoor(
  t: TestContext,
  folder: string,
  url: string,
  hold: string,
): { child: ChildProcess; said: (word: string) => Promise<unknown> } {
  const child = spawn(process.execPath, [CHILD, folder, url, hold], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => void child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  return { child, said: (word) => until(`the door to say ${word}`, () => Promise.resolve(output.includes(word))) }
}
