import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { compileSchema } from '../kernel/schema.ts'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { utf8Text } from '../kernel/bytes.ts'
import { VirtualClock, systemClock } from '../kernel/time.ts'
import { integerBetween, seededRandom } from '../kernel/random.ts'
import type { DeviceState, DeviceType } from '../contracts/device.ts'
import type { Reading, RejectedReading } from '../contracts/reading.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import { TOPICS } from '../contracts/topics.ts'
import type { Uplink } from '../contracts/uplink.ts'
import type { Appended, EventLog, LogMessage } from '../storage/event-log/event-log.ts'
import { DocumentsConfigSchema } from '../storage/documents/config.ts'
import { LmdbDocuments } from '../storage/documents/lmdb-documents.ts'
import { EventLogConfigSchema } from '../storage/event-log/config.ts'
import { LmdbEventLog } from '../storage/event-log/lmdb-event-log.ts'
import { IngestConfigSchema, type IngestConfig } from './config.ts'
import { Ingest } from './ingest.ts'

const NOW_MS = 1_763_680_000_000
const type: DeviceType = {
  id: 'boiler',
  tenant: 'default',
  open: true,
  metrics: { temperature: { kind: 'number', min: -50, max: 200 } },
  silenceAfterMs: null,
  futureToleranceMs: 600_000,
  earliestTs: 946_684_800_000,
  createdAt: 0,
  updatedAt: 0,
}

function defaults<T>(schema: Parameters<typeof compileSchema>[0]): T {
  const checked = compileSchema(schema)({})
  assert.equal(checked.status, 'valid')
  return (checked as { value: T }).value
}

const folder = mkdtempSync(join(tmpdir(), 'ingest-'))
const log = silentLogger
const metrics = new Metrics()
const eventLog = new LmdbEventLog({ directory: join(folder, 'log'), config: defaults(EventLogConfigSchema), clock: systemClock, log, metrics, topicPrefix: 't.' })
const documents = new LmdbDocuments({ directory: join(folder, 'documents'), config: defaults(DocumentsConfigSchema), log, metrics })
const states = new Map<string, DeviceState>()
const registry: RegistryView = {
  admit: () => ({ status: 'refused', reason: 'unknown-device' }),
  stateOf: (_tenant, device) => (device === 'stranger' ? undefined : (states.get(device) ?? 'active')),
  typeOf: (_tenant, device) => (device === 'stranger' ? undefined : type),
  onExpelled: () => () => undefined,
}

function newIngest(overrides: { eventLog?: EventLog; config?: Partial<IngestConfig> } = {}): Ingest {
  const config = { ...defaults<IngestConfig>(IngestConfigSchema), ...overrides.config }
  return new Ingest({ config, clock: new VirtualClock(NOW_MS), log, metrics: new Metrics(), registry, documents, eventLog: overrides.eventLog ?? eventLog })
}

let correlation = 0
function uplink(payload: string | Uint8Array, device = 'd1', path = 'telemetry'): Uplink {
  return { tenant: 'default', device, path, payload: typeof payload === 'string' ? Buffer.from(payload) : payload, receivedAt: NOW_MS, correlationId: `c${correlation++}` }
}

function send(ingest: Ingest, message: Uplink): Promise<void> {
  return new Promise((resolve, reject) => ingest.accept(message, (error) => (error === undefined ? resolve() : reject(error))))
}

async function all<T>(topic: string): Promise<T[]> {
  const bounds = await eventLog.bounds(topic)
  const found: T[] = []
  for (const [partition, { first, next }] of bounds) {
    for (let at = first; at < next; ) {
      const records = await eventLog.read(topic, partition, at, 1_000)
      found.push(...records.map((record) => JSON.parse(utf8Text(record.value)) as T))
      at += records.length
    }
  }
  return found
}

before(async () => {
  await eventLog.start()
  await documents.start()
  await eventLog.ensureTopics([TOPICS.readings, TOPICS.rejected, TOPICS.commands, TOPICS.deviceEvents].map((topic) => ({ topic, partitions: 1, retentionBytes: 0, retentionMs: 0 })))
})
after(async () => {
  await eventLog.stop()
  await documents.stop()
  rmSync(folder, { recursive: true, force: true })
})

test('a reading is in the log, with the device\'s own fields, before done is called', async () => {
  const ingest = newIngest()
  await ingest.start()
  await send(ingest, uplink('{"ts":1763679999000,"boot":"b7","seq":42,"values":{"temperature":21.50,"ok":true,"mode":"eco"}}'))
  const reading = (await all<Reading>(TOPICS.readings)).at(-1)
  assert.deepEqual(reading?.values, { temperature: 21.5, ok: true, mode: 'eco' })
  assert.deepEqual([reading?.device, reading?.type, reading?.ts, reading?.boot, reading?.seq, reading?.receivedAt], ['d1', 'boiler', 1763679999000, 'b7', 42, NOW_MS])
  await ingest.stop()
})

test('without ts the event time is the receipt, and says so', async () => {
  const ingest = newIngest()
  await ingest.start()
  await send(ingest, uplink(' {"values":{"temperature":1}} '))
  const reading = (await all<Reading>(TOPICS.readings)).at(-1)
  assert.equal(reading?.ts, NOW_MS)
  assert.equal(reading?.tsAbsent, true)
  await ingest.stop()
})

test('fields a device may not set cannot be smuggled in', async () => {
  const ingest = newIngest()
  await ingest.start()
  await send(ingest, uplink('{"device":"other","tenant":"other","receivedAt":1,"values":{"temperature":1},"type":"x"}', 'honest'))
  const reading = (await all<Reading>(TOPICS.readings)).at(-1)
  assert.deepEqual([reading?.device, reading?.tenant, reading?.receivedAt, reading?.type], ['honest', 'default', NOW_MS, 'boiler'])
  await ingest.stop()
})

test('readings of a quarantined device are set aside whole and one by one, its other messages are taken', async () => {
  const ingest = newIngest({ config: { rejectedPayloadBytesMax: 8 } })
  await ingest.start()
  states.set('suspect', 'quarantined')
  const before = { readings: (await all(TOPICS.readings)).length, rejected: (await all(TOPICS.rejected)).length, events: (await all(TOPICS.deviceEvents)).length }
  const bytes = '{"seq":1,"values":{"temperature":1,"made-up":2}}'
  await send(ingest, uplink(bytes, 'suspect'))
  await send(ingest, uplink('[{"seq":2,"values":{"temperature":1}},{"seq":3}]', 'suspect'))
  await send(ingest, uplink('{}', 'suspect', 'events'))
  const rejected = (await all<RejectedReading>(TOPICS.rejected)).slice(before.rejected)
  assert.deepEqual(
    rejected.map(({ reason, seq }) => [reason, seq]),
    [
      ['quarantined', 1],
      ['quarantined', 2],
      ['quarantined', 3],
    ],
  )
  assert.equal(Buffer.from(rejected[0]?.payloadBase64 ?? '', 'base64').toString(), bytes, 'whole, whatever the bound for others')
  assert.equal((await all(TOPICS.readings)).length, before.readings)
  assert.equal((await all(TOPICS.deviceEvents)).length, before.events + 1)
  states.set('suspect', 'active')
  await send(ingest, uplink(bytes, 'suspect'))
  assert.equal((await all(TOPICS.readings)).length, before.readings + 1)
  await ingest.stop()
})

test('of a device on its way out only results of commands are taken', async () => {
  const ingest = newIngest()
  await ingest.start()
  states.set('leaving', 'decommissioning')
  const before = { readings: (await all(TOPICS.readings)).length, rejected: (await all(TOPICS.rejected)).length, commands: (await all(TOPICS.commands)).length }
  for (const path of ['telemetry', 'events', 'status', 'twin/reported', 'commands/w/result']) await send(ingest, uplink('{"values":{"temperature":1}}', 'leaving', path))
  assert.equal((await all(TOPICS.readings)).length, before.readings)
  const rejected = (await all<RejectedReading>(TOPICS.rejected)).slice(before.rejected)
  assert.deepEqual(rejected.map(({ reason }) => reason), Array.from({ length: 4 }, () => 'device-refused'))
  assert.equal((await all(TOPICS.commands)).length, before.commands + 1)
  await ingest.stop()
})

test('an array is several readings in order; bad elements are set aside alone', async () => {
  const ingest = newIngest()
  await ingest.start()
  const before = (await all(TOPICS.readings)).length
  const rejectedBefore = (await all(TOPICS.rejected)).length
  await send(ingest, uplink('[{"seq":1,"values":{"temperature":1}},{"seq":2,"values":{"temperature":"hot"}},{"seq":3,"values":{"temperature":3}}]', 'array-device'))
  assert.deepEqual((await all<Reading>(TOPICS.readings)).slice(before).map((reading) => reading.seq), [1, 3])
  const [rejected] = (await all<RejectedReading>(TOPICS.rejected)).slice(rejectedBefore)
  assert.deepEqual([rejected?.reason, rejected?.seq, rejected?.device], ['metric-kind-changed', 2, 'array-device'])
  await ingest.stop()
})

test('a door that asks hears of each reading in order, and of a payload that holds none', async () => {
  const ingest = newIngest()
  await ingest.start()
  const outcomesOf = async (payload: string): Promise<string[]> => {
    const heard: string[] = []
    await new Promise<void>((resolve, reject) =>
      ingest.accept(
        uplink(payload),
        (error) => (error === undefined ? resolve() : reject(error)),
        (outcome) => heard.push(outcome.status === 'accepted' ? 'accepted' : `${outcome.of} ${outcome.reason}`),
      ),
    )
    return heard
  }
  assert.deepEqual(await outcomesOf('{"values":{"temperature":1}}'), ['accepted'])
  assert.deepEqual(await outcomesOf('{"values":{"temperature":201}}'), ['reading out-of-range'])
  const mixed = '[{"values":{"fresh":1}},7,{"values":{"temperature":201}},{"values":{"fresh":2}}]'
  assert.deepEqual(await outcomesOf(mixed), ['accepted', 'reading not-an-object', 'reading out-of-range', 'accepted'], 'once each, though a new metric had to be claimed')
  for (const [payload, reason] of [['{', 'undecodable'], ['7', 'not-an-object'], ['[]', 'array-too-long']] as const) {
    assert.deepEqual(await outcomesOf(payload), [`payload ${reason}`])
  }
  await ingest.stop()
})

const BAD: readonly [payload: string | Uint8Array, reason: string][] = [
  ['not json', 'undecodable'],
  [Buffer.from([0x22, 0xff, 0xfe, 0x22]), 'undecodable'],
  ['7', 'not-an-object'],
  ['{"values":{}}', 'no-values'],
  ['{"values":[1]}', 'no-values'],
  ['{"ts":"now","values":{"a":1}}', 'bad-field'],
  ['{"ts":1.5,"values":{"a":1}}', 'bad-field'],
  ['{"seq":-1,"values":{"a":1}}', 'bad-field'],
  ['{"boot":"","values":{"a":1}}', 'bad-field'],
  ['{"ts":1,"values":{"a":1}}', 'too-old'],
  [`{"ts":${NOW_MS + 600_001},"values":{"a":1}}`, 'too-far-in-future'],
  ['{"values":{"a":null}}', 'bad-value'],
  ['{"values":{"a":1e999}}', 'bad-value'],
  ['{"values":{"a":{"b":1}}}', 'bad-value'],
  ['{"values":{"":1}}', 'bad-metric-name'],
  ['{"values":{"a\\u0000b":1}}', 'bad-metric-name'],
  ['{"values":{"temperature":201}}', 'out-of-range'],
  ['{"values":{"temperature":true}}', 'metric-kind-changed'],
  ['[]', 'array-too-long'],
]

for (const [payload, reason] of BAD) {
  test(`set aside as ${reason}: ${typeof payload === 'string' ? payload : 'bytes that are not UTF-8'}`, async () => {
    const ingest = newIngest()
    await ingest.start()
    await send(ingest, uplink(payload, 'bad-device'))
    const rejected = (await all<RejectedReading>(TOPICS.rejected)).at(-1)
    assert.equal(rejected?.reason, reason)
    assert.deepEqual(Buffer.from(rejected?.payloadBase64 ?? '', 'base64'), Buffer.from(payload))
    await ingest.stop()
  })
}

test('a metric keeps its kind over a restart', async () => {
  const first = newIngest()
  await first.start()
  await send(first, uplink('{"values":{"door":"open"}}'))
  await first.stop()
  const second = newIngest()
  await second.start()
  await send(second, uplink('{"values":{"door":1}}'))
  assert.equal((await all<RejectedReading>(TOPICS.rejected)).at(-1)?.reason, 'metric-kind-changed')
  await second.stop()
})

test('columns of a type are bounded', async () => {
  const ingest = newIngest({ config: { metricsPerTypeMax: 40 } })
  await ingest.start()
  for (let i = 0; i < 60; i++) await send(ingest, uplink(`{"values":{"metric${i}":1}}`))
  assert.equal((await all<RejectedReading>(TOPICS.rejected)).at(-1)?.reason, 'too-many-metrics')
  await ingest.stop()
})

test('an append that fails is told to everyone in the turn, and nobody hears that it is durable', async () => {
  const refusing = { append: (): Promise<Appended[]> => Promise.reject(new Error('disk full')) } as unknown as EventLog
  const ingest = newIngest({ eventLog: refusing })
  await ingest.start()
  const outcomes = await Promise.allSettled([send(ingest, uplink('{"values":{"temperature":1}}')), send(ingest, uplink('{"values":{"temperature":2}}'))])
  assert.deepEqual(outcomes.map((outcome) => outcome.status), ['rejected', 'rejected'])
  await ingest.stop()
})

test('done waits for the append', async () => {
  let release = (): void => undefined
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const slow = { append: (_topic: string, _messages: readonly LogMessage[]) => gate.then(() => []) } as unknown as EventLog
  const ingest = newIngest({ eventLog: slow })
  await ingest.start()
  let acknowledged = false
  const sending = send(ingest, uplink('{"values":{"temperature":1}}')).then(() => (acknowledged = true))
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(acknowledged, false)
  release()
  await sending
  await ingest.stop()
})

test('events, status, results and twins are kept, JSON or not', async () => {
  const ingest = newIngest()
  await ingest.start()
  await send(ingest, uplink('{"door":"opened"}', 'd1', 'events'))
  await send(ingest, uplink(Buffer.from([0xff, 0x00]), 'd1', 'commands/42/result'))
  assert.deepEqual((await all<{ kind: string; body: unknown }>(TOPICS.deviceEvents)).at(-1)?.body, { door: 'opened' })
  const result = (await all<{ kind: string; commandId: string; bodyBase64: string }>(TOPICS.commands)).at(-1)
  assert.deepEqual([result?.kind, result?.commandId, result?.bodyBase64], ['command-result', '42', Buffer.from([0xff, 0x00]).toString('base64')])
  await ingest.stop()
})

test('fuzz: whatever arrives is either in readings or in rejected, and done is called once without an error', async () => {
  const seed = Number(process.env.TEST_SEED ?? 20_261_121)
  const random = seededRandom(seed)
  const ingest = newIngest()
  await ingest.start()
  const countAll = async (): Promise<number> => (await all(TOPICS.readings)).length + (await all(TOPICS.rejected)).length
  const before = await countAll()
  const template = '{"ts":1763680000000,"boot":"b7","seq":42,"values":{"temperature":21.5,"ok":true,"mode":"eco"}}'
  const cases = 2_000
  let arrays = 0
  await Promise.all(
    Array.from({ length: cases }, () => {
      const bytes = Buffer.from(template)
      for (let edits = integerBetween(random, 1, 6); edits > 0; edits--) bytes[integerBetween(random, 0, bytes.length - 1)] = integerBetween(random, 0, 255)
      if (bytes[0] === 0x5b) arrays++
      return send(ingest, uplink(bytes, 'fuzz'))
    }),
  )
  assert.ok((await countAll()) - before >= cases - arrays, `seed ${seed}`)
  await ingest.stop()
})
