import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { DEVICE_EVENT } from '../../contracts/device-event.ts'
import type { Incident } from '../../contracts/incident.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { seededRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { sleep, systemClock, VirtualClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { topicSpec } from '../../storage/event-log/temporary-log.ts'
import { BusKey } from '../bus/bus-key.ts'
import { seal } from '../bus/envelope.ts'
import { EvidenceStore } from '../evidence/evidence-store.ts'
import { SummaryStore } from '../summary/summary-store.ts'
import { agentsConfig, agentsLog, T0 } from '../testing/agents-fixture.ts'
import { MemoryConfigSchema, type MemoryConfig } from './config.ts'
import { HistorianMemory } from './historian-memory.ts'
import { Memories } from './memories.ts'
import { KEEPER } from './memory-document.ts'
import { MemoryKeeper } from './memory-keeper.ts'

const incident = (id: string, changes: Partial<Incident> = {}): Incident => ({
  ...{
    id,
    tenant: 'default',
    level: 'device',
    title: id,
    cause: 'value',
    device: 'pump-1',
    type: 'pump',
    place: '',
    labels: {},
    state: 'resolved',
  },
  ...{ severity: 'warning', escalation: 0, announced: true, acknowledgedBy: null, alertCount: 1, openCount: 0, acknowledgedCount: 0 },
  ...{ devices: ['pump-1'], firstAlertId: 'a1', openedAt: T0, updatedAt: T0, resolvedAt: T0 + 600_000, correlationId: 'c' },
  ...changes,
})

async function begin(t: TestContext, changes: Partial<MemoryConfig> = {}) {
  const checked = compileSchema(MemoryConfigSchema)(changes)
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  const documents = await lmdbDocuments(t)
  const clock = new VirtualClock(T0)
  const common = { documents, clock, log: silentLogger, config: checked.value }
  const memories = new Memories(common)
  const [evidence, summaries] = [new EvidenceStore(common), new SummaryStore(common)]
  for (const part of [memories, evidence, summaries]) {
    await part.start()
    t.after(() => part.stop())
  }
  return { documents, clock, memories, evidence, memory: new HistorianMemory({ ...common, memories, evidence, summaries }) }
}

async function until(what: string, look: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 2_000; tries++) {
    if (await look()) return
    await sleep(systemClock, 5)
  }
  assert.fail(`waited too long until ${what}`)
}

const resolution = (i: number, changes: object = {}) => ({
  ...{
    tenant: 'default',
    of: `i${i}`,
    agent: KEEPER,
    kind: 'resolution' as const,
    incident: `i${i}`,
    devices: [`d-${i % 3}`],
    type: 'pump',
  },
  ...{ cause: 'sensor_fault.drift', content: null, by: null, resolution: 'operator' as const, tookMs: 60_000 * (i + 1), at: T0 + i },
  ...changes,
})

test('what is learnt is bounded by number, by device and by time, learnt once, and forgotten when somebody says so', async (t) => {
  const { memories, clock } = await begin(t, { entriesMax: 10, perDeviceMax: 4 })
  for (let i = 0; i < 30; i++) await memories.learn(resolution(i))
  await memories.learn(resolution(29))
  const kept = await memories.list('default', KEEPER, 100)
  assert.ok(kept.length <= 10 && kept[0]?.incident === 'i29', String(kept.length))
  for (const device of ['d-0', 'd-1', 'd-2']) assert.ok(kept.filter(({ devices }) => devices.includes(device)).length <= 4)
  const [first] = kept
  await memories.forget('default', KEEPER, String(first?.id))
  await assert.rejects(memories.forget('default', KEEPER, String(first?.id)), { code: 'NOT_FOUND' })
  await assert.rejects(memories.forget('other', KEEPER, String(kept[1]?.id)), { code: 'NOT_FOUND' })
  assert.equal(await memories.forgetDevice('default', 'd-1'), kept.filter(({ devices }) => devices.includes('d-1')).length)
  assert.ok((await memories.list('default', KEEPER, 100)).every(({ devices }) => !devices.includes('d-1')))
  await clock.advance(366 * 86_400_000)
  await memories.sweep()
  assert.deepEqual(await memories.list('default', KEEPER, 100), [])
})

test('the historian says how such incidents ended, and cites what people stated of these devices', async (t) => {
  const { memories, memory, evidence } = await begin(t)
  for (let i = 0; i < 5; i++) await memories.learn(resolution(i, i < 2 ? { resolution: 'by-itself' } : {}))
  await memories.learn(resolution(6, { type: 'fan' }))
  const statement = { kind: 'statement', cause: null, resolution: null, tookMs: null, devices: ['pump-1'], by: 'user:ana' }
  await memories.learn(resolution(7, { ...statement, content: 'the seal was changed\u202e <b>' }))
  await memories.learn(resolution(8, { ...statement, devices: ['pump-2'], content: 'of another one' }))
  await memory.remember(incident('past', { devices: ['pump-1'] }))
  const { lines, evidence: cited } = await memory.recall(incident('now'), ['sensor_fault.drift', 'unknown'])
  assert.deepEqual(lines, [
    'Remembered: 5 incident(s) with sensor_fault.drift at devices of this type ended, 3 of them by people, half of them within 3 min.',
    `Remembered: user:ana stated of pump-1 on ${new Date(T0 + 7).toISOString()} (incident i7): “the seal was changed <b>” [${cited[0]}]`,
  ])
  assert.equal((await evidence.get('default', String(cited[0])))?.kind, 'operator_statement')
  assert.equal((await memory.recall(incident('i7'), [])).lines.length, 0, 'what was said here is no memory')
})

test('statements are learnt from the signed bus, private ones and those of agents not, and a device that left is forgotten', async (t) => {
  const { documents, memories } = await begin(t)
  const eventLog: EventLog = await agentsLog(t)
  await eventLog.ensureTopics([topicSpec(TOPICS.deviceEvents)])
  const key = new BusKey({ documents })
  await key.start()
  const incidentOf = async (_tenant: string, id: string) => (id === 'inc' ? incident('inc') : null)
  const common = { eventLog, clock: systemClock, random: seededRandom(1), log: silentLogger, config: agentsConfig() }
  const keeper = new MemoryKeeper({ ...common, memories, key, incidentOf })
  await keeper.start()
  t.after(() => keeper.stop())
  let sequence = 0
  const say = (data: object, secret = key.secret) => {
    const timestamp = new Date(T0).toISOString()
    const all = {
      eventType: 'MessageSent',
      messageId: `m${++sequence}`,
      from: 'user:ana',
      to: null,
      chatId: 'inc',
      kind: 'statement',
      timestamp,
    }
    const of = { id: 'inc', tenant: 'default', correlationId: 'c' }
    return seal({ sequence, type: 'MessageSent', at: T0 + sequence, data: { ...all, content: 'x', ...data } }, of, secret)
  }
  const messages = [
    say({ content: 'it was hit by a fork lift' }),
    say({ content: null }),
    say({ from: 'agent:reporter' }),
    say({ kind: 'question' }),
    say({ chatId: 'no-incident' }),
    say({ content: 'forged' }, Buffer.from('another key')),
    say({ content: 'and then repaired' }),
  ]
  await eventLog.append(TOPICS.agentMessages, [...messages, messages[0] as (typeof messages)[number]])
  await until('both are learnt', async () => (await memories.list('default', KEEPER, 10)).length >= 2)
  const learnt = await memories.list('default', KEEPER, 10)
  assert.deepEqual(
    learnt.map(({ content, by, devices }) => [content, by, devices]),
    [
      ['and then repaired', 'user:ana', ['pump-1']],
      ['it was hit by a fork lift', 'user:ana', ['pump-1']],
    ],
  )
  const event = { event: 'device-changed', tenant: 'default', device: 'pump-1', type: 'pump', state: 'decommissioned', at: T0 }
  const message = { key: deviceKey('default', 'pump-1'), schema: DEVICE_EVENT, value: Buffer.from(JSON.stringify(event)) }
  await eventLog.append(TOPICS.deviceEvents, [{ ...message, value: Buffer.from('{') }, message])
  await until('it is forgotten', async () => (await memories.list('default', KEEPER, 10)).length === 0)
})
