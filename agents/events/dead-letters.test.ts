import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import type { AuditedAct } from '../../contracts/audit.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog, LogMessage } from '../../storage/event-log/event-log.ts'
import { metricValue } from '../../storage/event-log/temporary-log.ts'
import { BusKey } from '../bus/bus-key.ts'
import { seal, signed } from '../bus/envelope.ts'
import { GOLDEN_EVENTS } from '../bus/testing/golden-events.ts'
import { agentsConfig, agentsLog, readAll, T0 } from '../testing/agents-fixture.ts'
import type { DeadLetter } from './dead-letters.ts'
import { Events } from './events.ts'
import { replay } from './replay.ts'

const WAIT_MAX_MS = 60_000
const tenant = 'default'

interface World {
  documents: Documents
  eventLog: EventLog
  key: BusKey
  events: Events
  audited: AuditedAct[]
  metrics: Metrics
  tries: Map<string, number>
  /** What goes wrong with an event of an agent's life. */
  fault: (agent: string) => Error | undefined
}

async function begin(t: TestContext): Promise<World> {
  const documents = await lmdbDocuments(t)
  const eventLog = await agentsLog(t)
  const metrics = new Metrics()
  const common = { documents, eventLog, clock: systemClock, random: seededRandom(1), log: silentLogger, metrics, config: agentsConfig() }
  const key = new BusKey(common)
  await key.start()
  const world = { documents, eventLog, key, audited: [], metrics, tries: new Map(), fault: () => undefined } as unknown as World
  const auditTrail = { record: async (act: AuditedAct): Promise<void> => void world.audited.push(act) }
  world.events = new Events({
    ...{ ...common, key, auditTrail, works: true },
    react: async ({ data }) => {
      const agent = String(data.agentId)
      world.tries.set(agent, (world.tries.get(agent) ?? 0) + 1)
      const fault = world.fault(agent)
      if (fault !== undefined) throw fault
    },
  })
  await world.events.start()
  t.after(() => world.events.stop())
  return world
}

/** An event of an agent's life as it goes through the log. */
function retired({ key }: World, agent: string, sequence = 1): LogMessage {
  const data = { eventType: 'AgentRetired', agentId: agent, timestamp: new Date(T0).toISOString() }
  return seal({ type: 'AgentRetired', sequence, at: T0, data }, { id: `${tenant}/${agent}`, tenant, correlationId: 'c' }, key.secret)
}
function sent({ key }: World, sequence: number, id = 'c1'): LogMessage {
  const data = { ...GOLDEN_EVENTS.MessageSent[1] }
  return seal({ type: 'MessageSent', sequence, at: T0 + sequence, data }, { id, tenant, correlationId: 'c' }, key.secret)
}
const letters = async ({ events }: World): Promise<DeadLetter[]> => (await events.deadLetters.list(tenant, { limit: 100 })).items

async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + WAIT_MAX_MS
  while (!(await isSo())) {
    if (systemClock.monotonicMs() > endMs) assert.fail(`waited in vain for ${what}`)
    await sleep(systemClock, 10)
  }
}

describe('consumers of the agents’ bus', () => {
  it('set a poisonous event aside after three tries, with its cause; others are not held up, and it can be told again', async (t) => {
    const world = await begin(t)
    const { eventLog, events } = world
    world.fault = (agent) => (agent === 'poison' ? new Error(`cannot withdraw with key sk-${'ant'}-api03-${'x'.repeat(40)}`) : undefined)
    const agents = ['a', 'poison', 'b']
    await eventLog.append(
      TOPICS.agentLifecycle,
      agents.map((agent) => retired(world, agent)),
    )
    await until('the poison is set aside', async () => (await letters(world)).length === 1)
    const [letter] = (await letters(world)) as [DeadLetter]
    assert.deepEqual(
      [letter.topic, letter.group, letter.state, letter.eventId],
      [TOPICS.agentLifecycle, 'agent-reactions', 'waiting', 'agent:default/poison:1'],
    )
    assert.equal(letter.cause, 'failed: cannot withdraw with key [ANTHROPIC_KEY] (3 tries)')
    assert.equal(world.tries.get('poison'), 3)
    for (const agent of ['a', 'b']) assert.equal(world.tries.get(agent), 1, agent)
    await until('the journal has them all', async () => (await events.journal.list({ tenant, limit: 10 })).length === 3)

    world.fault = () => undefined
    assert.equal((await events.deadLetters.replay(tenant, letter.id)).state, 'waiting')
    await until('it is taken', async () => (await letters(world))[0]?.state === 'recovered')
    assert.deepEqual([world.tries.get('poison'), world.tries.get('a')], [4, 1], 'nobody else has the effect again')
    assert.equal(await events.deadLetters.replayAll(tenant), 0)
    await assert.rejects(events.deadLetters.replay('other', letter.id), /there is no dead letter/)
    await assert.rejects(events.deadLetters.replay(tenant, 'agents.lifecycle:0-99'), /there is no dead letter/)
  })

  it('refuse and audit what is forged or unsigned, once, and nobody can tell it again', async (t) => {
    const world = await begin(t)
    const { eventLog, events, audited } = world
    const { ce_signature: _, ...unsigned } = sent(world, 1).headers ?? {}
    const otherKey = { ...world, key: { secret: randomBytes(32) } as unknown as BusKey }
    await eventLog.append(TOPICS.agentMessages, [
      { ...sent(world, 1), headers: unsigned },
      sent(otherKey, 2),
      { ...sent(world, 3), value: Buffer.from(JSON.stringify({ ...GOLDEN_EVENTS.MessageSent[1], content: 'all is well' })) },
      { key: 'k', schema: 'x/1', value: Buffer.from([0xff, 0x00]), headers: {} },
      sent(world, 4),
    ])
    await until('what is ours is taken', async () => (await events.journal.list({ tenant, limit: 10 })).length === 1)
    await until('the rest is set aside', async () => (await letters(world)).length === 4)
    const set = await letters(world)
    assert.deepEqual(new Set(set.map(({ state }) => state)), new Set(['foreign']))
    assert.deepEqual(set.map(({ cause }) => cause.split(':')[0]).sort(), ['forged', 'forged', 'unsigned', 'unsigned'])
    assert.deepEqual(
      audited
        .map(({ action, outcome, why, count, actor }) => [action, outcome, why, count, actor])
        .sort(([, , a], [, , b]) => (String(a) < String(b) ? -1 : 1)),
      [
        ['event.append', 'refused', 'forged', 2, 'anonymous'],
        ['event.append', 'refused', 'unsigned', 2, 'anonymous'],
      ],
    )
    const whole = await Promise.all(set.map(({ id }) => events.deadLetters.get(tenant, id)))
    assert.deepEqual(
      whole.flatMap(({ encoding, content }) => (encoding === 'base64' ? [content] : [])),
      [Buffer.from([0xff, 0x00]).toString('base64')],
      'what is no text is told byte for byte',
    )
    await assert.rejects(events.deadLetters.get('other', set[0]?.id as string), /there is no dead letter/)
    await assert.rejects(events.deadLetters.replay(tenant, set[0]?.id as string), /would only come back: (forged|unsigned)/)
    assert.deepEqual((await events.deadLetters.list('other', { limit: 100 })).items, [], 'another tenant sees nothing of it')
    assert.equal(await metricValue(world.metrics, 'agents_bus_events_total'), 5)
  })

  it('set what they cannot read aside with its cause, and read a later version that says that they can', async (t) => {
    const world = await begin(t)
    const { eventLog, events, key } = world
    const attributes = (version: number, sequence: number, more: Record<string, string> = {}): Record<string, string> => ({
      ...{ specversion: '1.0', id: `conversation:c1:${sequence}`, type: `iot.agents.MessageSent.v${version}`, source: '/agents' },
      ...{ subject: 'conversation:c1', time: new Date(T0).toISOString(), tenant, correlationid: 'c', sequence: String(sequence), ...more },
    })
    const told = (of: Record<string, string>, data: object = { ...GOLDEN_EVENTS.MessageSent[1], mood: 'fine' }): LogMessage => ({
      ...{ key: 'default/conversation:c1', schema: 'MessageSent/9', ...signed(of, data, key.secret) },
    })
    await eventLog.append(TOPICS.agentMessages, [
      told(attributes(9, 1)),
      told(attributes(9, 2, { readablefrom: '9' })),
      told(attributes(9, 3, { readablefrom: '1' })),
      told(attributes(2, 4), { eventType: 'MessageSent' }),
      told(attributes(2, 5, { id: 'conversation:c2:5' })),
      told(attributes(2, 6, { sequence: '-6' })),
      told({ ...attributes(1, 7), type: 'iot.agents.AgentRetired.v1' }, GOLDEN_EVENTS.AgentRetired[0]),
    ])
    await until('all are looked at', async () => (await letters(world)).length === 6)
    const causes = (await letters(world)).map(({ cause }) => cause)
    assert.deepEqual(causes.toReversed(), [
      'unknown: MessageSent/9 is unknown here: the newest version that can be read is 2',
      'unknown: MessageSent/9 is unknown here: the newest version that can be read is 2',
      'malformed: MessageSent/2: timestamp is missing',
      'malformed: conversation:c2:5 is not the id of conversation:c1:5',
      'malformed: it has no place or no time',
      'malformed: AgentRetired belongs on agents.lifecycle',
    ])
    const [taken] = await events.journal.list({ tenant, limit: 10 })
    assert.deepEqual([taken?.sequence, taken?.schemaVersion, taken?.data.mood], [3, 9, 'fine'])
    assert.deepEqual(world.audited, [], 'it is ours: nobody forged it')
    await assert.rejects(events.deadLetters.replay(tenant, (await letters(world)).at(-1)?.id as string), /would only come back/)
  })

  it('let no key or password into the dead letters', async (t) => {
    const world = await begin(t)
    const secret = `sk-${'ant'}-api03-${'Ab3dEf6hIj9l'.repeat(4)}`
    const message: LogMessage = {
      ...{ key: `default/${secret}`, schema: 'x/1', value: Buffer.from(JSON.stringify({ content: `use ${secret}` })) },
      headers: { ce_type: secret },
    }
    await world.eventLog.append(TOPICS.agentMessages, [message])
    await until('it is set aside', async () => (await letters(world)).length === 1)
    const [dead] = await readAll(world.eventLog, `${TOPICS.agentMessages}.dlq`)
    assert.ok(dead !== undefined)
    const all = dead.key + JSON.stringify(dead.headers) + Buffer.from(dead.value).toString()
    assert.ok(!all.includes(secret.slice(-12)), all)
  })

  it('make the journal again from the bus, in as many steps as it takes', async (t) => {
    const world = await begin(t)
    const { eventLog, events, key } = world
    await eventLog.append(TOPICS.agentMessages, [
      ...Array.from({ length: 30 }, (_, i) => sent(world, i + 1)),
      { key: 'k', schema: 'x/1', value: Buffer.from('{}'), headers: {} },
    ])
    const of = (): ReturnType<typeof events.journal.ofStream> => events.journal.ofStream({ tenant, stream: 'conversation:c1' }, 0, 100)
    await until('all are in the journal', async () => (await of()).length === 30)
    const before = await of()
    await (await world.documents.collection({ name: 'agent-events', indexes: [] })).deleteMany({})
    assert.deepEqual(await of(), [])
    const sums = { read: 0, added: 0, known: 0, refused: 0 }
    let place: Awaited<ReturnType<typeof replay>>['next'] | undefined
    let steps = 0
    while (place !== null && steps++ < 20) {
      const step = await replay({ eventLog, key, journal: events.journal, fromMs: 0, place: place ?? undefined, recordsMax: 7 })
      for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += step[name]
      place = step.next
    }
    assert.deepEqual(sums, { read: 31, added: 30, known: 0, refused: 1 })
    assert.deepEqual(await of(), before)
    const again = await replay({ eventLog, key, journal: events.journal, fromMs: 0, recordsMax: 1_000 })
    assert.deepEqual([again.added, again.known, again.next], [0, 30, null])
    const later = await replay({ eventLog, key, journal: events.journal, fromMs: systemClock.nowMs() + 60_000, recordsMax: 1_000 })
    assert.equal(later.read, 0)
  })
})
