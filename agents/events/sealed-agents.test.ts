import assert from 'node:assert/strict'
import { it } from 'node:test'
import { incidentKey, INCIDENT, type Incident } from '../../contracts/incident.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { sleep, systemClock, VirtualClock } from '../../kernel/time.ts'
import { limitsOf } from '../agents.ts'
import { BusKey } from '../bus/bus-key.ts'
import { ConversationStore } from '../conversation/conversation-store.ts'
import { IncidentIntake } from '../intake/incident-intake.ts'
import { Roster } from '../roster/roster.ts'
import { agentsConfig, agentsLog, T0 } from '../testing/agents-fixture.ts'
import { randomConversation } from '../testing/random-conversations.ts'
import { damage, sealedEngines } from '../testing/sealed-engines.ts'
import { eventOf, recordsOf } from '../testing/told-history.ts'
import { Journal } from './journal.ts'

const WAIT_MAX_MS = 60_000
const tenant = 'default'

it('the journal keeps events sealed, knows them again, and one that does not open holds up no other', async (t) => {
  const { documents, lying } = await sealedEngines(t)
  const journal = new Journal({ documents, clock: new VirtualClock(T0), config: agentsConfig() })
  await journal.start()
  t.after(() => journal.stop())
  const events = recordsOf(randomConversation('c', seededRandom('sealed'), 25, 'kept')).map((record) => eventOf(record))
  assert.ok(events.length > 10)
  assert.deepEqual(new Set(await journal.add(events)), new Set(['new']))
  const entries = await journal.ofStream({ tenant, stream: 'conversation:c' }, 0, 1_000)
  assert.deepEqual(
    entries.map(({ id, data }) => ({ id, data })),
    events.map(({ id, data }) => ({ id, data })).sort((a, b) => sequenceOf(a.id) - sequenceOf(b.id)),
  )
  const engine = await lying('agent-events')
  for (const { data, hash } of await engine.find({})) assert.ok(data instanceof Uint8Array && hash instanceof Uint8Array)

  const [first, second] = events as [(typeof events)[number], (typeof events)[number]]
  await damage(engine, first.id, 'data')
  assert.deepEqual(new Set(await journal.add(events)), new Set(['known']))
  const forged = { ...second, data: { ...second.data, forged: true } }
  assert.deepEqual(await journal.take([events[2] as typeof first, forged]), [null, 'another event has its place'])
  assert.deepEqual([await journal.holds(first), await journal.holds(second)], [false, true])
  const left = await journal.ofStream({ tenant, stream: 'conversation:c' }, 0, 1_000)
  assert.deepEqual([left.length, left.some(({ id }) => id === first.id)], [events.length - 1, false])
})

function sequenceOf(id: string): number {
  return Number(id.split(':').at(-1))
}

it('an incident whose conversation does not open holds up no other', async (t) => {
  const { documents, lying } = await sealedEngines(t)
  const eventLog = await agentsLog(t)
  const config = agentsConfig()
  const options = {
    documents,
    eventLog,
    clock: systemClock,
    random: seededRandom('sealed'),
    log: silentLogger,
    config,
    limits: limitsOf(config),
  }
  const key = new BusKey(options)
  await key.start()
  const store = new ConversationStore({ ...options, key })
  const roster = new Roster({ ...options, key })
  const intake = new IncidentIntake({
    ...options,
    metrics: new Metrics(),
    store,
    roster,
    open: (document) => store.insert(document.id, document),
  })
  for (const part of [store, roster, intake]) await part.start()
  t.after(async () => {
    for (const part of [intake, roster, store]) await part.stop()
  })
  const tell = (id: string, sequence: number): Promise<unknown> => {
    const change = { id: `${id}-${sequence}`, sequence, change: sequence === 1 ? 'opened' : 'escalated', incident: incident(id) }
    return eventLog.append(TOPICS.alerts, [
      { key: incidentKey(change.incident), schema: INCIDENT, value: Buffer.from(JSON.stringify(change)) },
    ])
  }
  const begun = async (id: string): Promise<void> => {
    const endMs = systemClock.monotonicMs() + WAIT_MAX_MS
    while ((await store.collection.get(id)) === null) {
      assert.ok(systemClock.monotonicMs() < endMs, `nobody talks about ${id}`)
      await sleep(systemClock, 20)
    }
  }
  await tell('i1', 1)
  await begun('i1')
  await damage(await lying('conversations'), 'i1', 'title')
  await tell('i1', 2)
  await tell('i2', 1)
  await begun('i2')
  await assert.rejects(store.collection.get('i1'), { code: 'STORE_SEALED' })
})

function incident(id: string): Incident {
  return {
    ...{ id, tenant, level: 'device', title: `value at ${id}`, cause: 'value', device: 'pump-1', type: 'pump', place: '', labels: {} },
    ...{ state: 'open', severity: 'warning', escalation: 0, announced: true, acknowledgedBy: null, alertCount: 1, openCount: 1 },
    ...{ acknowledgedCount: 0, devices: ['pump-1'], firstAlertId: 'a1', openedAt: 1, updatedAt: 1, resolvedAt: null, correlationId: 'c-9' },
  }
}
