import { limitsOf } from '../agents.ts'
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Incident, IncidentChange } from '../../contracts/incident.ts'
import { INCIDENT, incidentKey } from '../../contracts/incident.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { AttentionStates } from '../attention/attention-states.ts'
import { BusKey } from '../bus/bus-key.ts'
import type { AgentsConfig } from '../config.ts'
import type { StoredConversation } from '../conversation/conversation-document.ts'
import { end } from '../conversation/lifecycle.ts'
import { ConversationStore } from '../conversation/conversation-store.ts'
import { IncidentIntake } from '../intake/incident-intake.ts'
import { Roster } from '../roster/roster.ts'
import { agentsConfig, agentsLog, digest, readAll, words } from '../testing/agents-fixture.ts'
import type { Speaker, Turn, TurnResult } from './speaker.ts'
import { TurnWorker } from './turn-worker.ts'

const WAIT_MAX_MS = 60_000

interface World {
  eventLog: EventLog
  store: ConversationStore
  roster: Roster
  metrics: Metrics
  turns: string[]
  /** Incidents of which nothing was to be kept. */
  forgotten: string[]
  worker: TurnWorker
}

/** Workers over one store, with an intake of incidents; each agent does what `speak` says. */
async function begin(
  t: TestContext,
  speak: (turn: Turn) => Promise<TurnResult> | TurnResult,
  changes: Partial<AgentsConfig> = {},
  workers = 1,
): Promise<World> {
  const documents = await lmdbDocuments(t)
  const eventLog = await agentsLog(t)
  const config = agentsConfig({ sweepIntervalMs: 50, retryTurnMs: 10, ...changes })
  const limits = limitsOf(config)
  const turns: string[] = []
  const forgotten: string[] = []
  const forgetIncident = async (tenant: string, incidentId: string): Promise<void> => void forgotten.push(`${tenant}/${incidentId}`)
  const world: Partial<World> = { eventLog, turns, forgotten }
  for (let i = 0; i < workers; i++) {
    const metrics = new Metrics()
    const common = { documents, eventLog, clock: systemClock, random: seededRandom(i), log: silentLogger, metrics, config, limits }
    const key = new BusKey(common)
    await key.start()
    const store = new ConversationStore({ ...common, key })
    const roster = new Roster({ ...common, key })
    const attention = new AttentionStates({ ...common, key, worker: `w${i}` })
    const speaker: Speaker = {
      speak: async (turn) => {
        turns.push(turn.agent)
        return speak(turn)
      },
    }
    const worker = new TurnWorker({ ...common, store, roster, attention, worker: `w${i}`, speakerOf: async () => speaker, forgetIncident })
    const intake = new IncidentIntake({ ...common, store, roster, open: (conversation) => worker.open(conversation) })
    for (const part of [store, roster, attention, worker, intake]) await part.start()
    t.after(async () => {
      for (const part of [intake, worker, attention, roster, store]) await part.stop()
    })
    Object.assign(world, { store, roster, metrics, worker })
  }
  return world as World
}

function incident(id: string, changes: Partial<Incident> = {}): Incident {
  return {
    ...{
      id,
      tenant: 'default',
      level: 'device',
      title: `value at ${id}`,
      cause: 'value',
      device: 'pump-1',
      type: 'pump',
      place: '',
      labels: {},
    },
    ...{ state: 'open', severity: 'warning', escalation: 0, announced: true, acknowledgedBy: null, alertCount: 1, openCount: 1 },
    ...{ acknowledgedCount: 0, devices: ['pump-1'], firstAlertId: 'a1', openedAt: 1, updatedAt: 1, resolvedAt: null, correlationId: 'c-9' },
    ...changes,
  }
}
async function tell(eventLog: EventLog, ...changes: Pick<IncidentChange, 'sequence' | 'change' | 'incident'>[]): Promise<void> {
  const messages = changes.map((change) => ({
    key: incidentKey(change.incident),
    schema: INCIDENT,
    value: Buffer.from(JSON.stringify({ id: `${change.incident.id}-${change.sequence}`, ...change })),
  }))
  await eventLog.append(TOPICS.alerts, messages)
}
async function until(store: ConversationStore, id: string, condition: (found: StoredConversation) => boolean): Promise<StoredConversation> {
  const deadlineMs = systemClock.monotonicMs() + WAIT_MAX_MS
  for (;;) {
    const found = await store.collection.get(id)
    if (found !== null && condition(found)) return found
    if (systemClock.monotonicMs() > deadlineMs)
      assert.fail(`waited too long for ${id}: ${JSON.stringify(found?.state)} ${JSON.stringify(found?.plan)}`)
    await sleep(systemClock, 5)
  }
}
const ordinary = ({ agent, conversation }: Turn): TurnResult =>
  agent === 'reporter'
    ? {
        status: 'said',
        words: words('the digest', { kind: 'digest' }),
        digest: digest(conversation.id, { revision: conversation.revision + 1, evidenceHash: `h${conversation.revision}` }),
      }
    : { status: 'said', words: words(`${agent} found`, { kind: 'finding', evidence: [`ev_${agent}_${conversation.nextSeq}`] }) }

async function metricOf(metrics: Metrics, name: string): Promise<number | undefined> {
  return (await metrics.registry.getSingleMetric(name)?.get())?.values[0]?.value
}

describe('incidents and turns', () => {
  it('the first agent of a new conversation has the floor from its first moment where a turn is free, and is called else', async (t) => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    /** Of each first turn: changes of the conversation before it. */
    const changes = new Map<string, number>()
    const speak = async (turn: Turn): Promise<TurnResult> => {
      const { id, version } = turn.conversation
      if (!changes.has(id)) changes.set(id, version)
      await held
      return ordinary(turn)
    }
    const { eventLog, store, turns } = await begin(t, speak, { turnsInFlightMax: 1 })
    await tell(eventLog, { sequence: 1, change: 'opened', incident: incident('i1') })
    await until(store, 'i1', ({ floor }) => floor.holder?.participant === 'agent:triage')
    await tell(eventLog, { sequence: 1, change: 'opened', incident: incident('i2') })
    await until(store, 'i2', ({ floor }) => floor.queue.length === 1)
    assert.deepEqual([turns, [...changes]], [['triage'], [['i1', 1]]])
    release()
    for (const id of ['i1', 'i2']) await until(store, id, ({ revision }) => revision === 1)
    assert.deepEqual(
      [...changes],
      [
        ['i1', 1],
        ['i2', 2],
      ],
    )
  })

  it('a conversation that ended long ago goes, and all that was found about its incident', async (t) => {
    const { eventLog, store, worker, forgotten, metrics } = await begin(t, ordinary, { republishAfterMs: 100 })
    await tell(
      eventLog,
      { sequence: 1, change: 'opened', incident: incident('old') },
      { sequence: 1, change: 'opened', incident: incident('new') },
    )
    for (const id of ['old', 'new']) await until(store, id, ({ state }) => state === 'published')
    await worker.idle()
    await worker.sweep()
    assert.equal(await metricOf(metrics, 'fleetpulse_ai_conversations_active'), 2)
    for (const id of ['old', 'new'])
      await store.change({ id, tenant: 'default' }, (each) => end(each, 'user_interrupt', systemClock.nowMs(), limitsOf(agentsConfig())))
    await worker.sweep()
    assert.equal(await metricOf(metrics, 'fleetpulse_ai_conversations_active'), 0, 'the gauge is back')
    await store.collection.update('old', { $set: { terminatedAt: 1 } })
    await worker.retain()
    const endMs = systemClock.monotonicMs() + WAIT_MAX_MS
    while ((await store.collection.get('old')) !== null && systemClock.monotonicMs() < endMs) await sleep(systemClock, 20)
    assert.equal(await store.collection.get('old'), null)
    assert.deepEqual(forgotten, ['default/old'])
    const deleted = (await readAll(eventLog, TOPICS.chatEvents)).filter(({ schema }) => schema.startsWith('ChatDeleted/'))
    assert.deepEqual([...new Set(deleted.map(({ headers }) => headers.ce_subject))], ['conversation:old'], 'everybody is told')
    assert.equal(await store.messages.count({ conversation: 'old' }), 0)
    assert.ok((await store.collection.get('new')) !== null && (await store.messages.count({ conversation: 'new' })) > 0)
  })

  it('an incident is talked about once, in the order of the plan, and ends with its digest', async (t) => {
    const { eventLog, store, roster, turns } = await begin(t, ordinary, {}, 3)
    const opened = { sequence: 1, change: 'opened', incident: incident('i1') } as const
    await tell(eventLog, opened, opened)
    const published = await until(store, 'i1', ({ state }) => state === 'published')
    assert.deepEqual(turns, ['triage', 'diagnostics', 'historian', 'reporter'])
    assert.deepEqual([published.revision, published.incidentId, published.correlationId], [1, 'i1', 'c-9'])
    assert.deepEqual(
      (await store.messagesAfter(published, 0, 10)).map(({ seq, from }) => [seq, from]),
      [
        [1, 'agent:triage'],
        [2, 'agent:diagnostics'],
        [3, 'agent:historian'],
        [4, 'agent:reporter'],
      ],
    )
    let digests = await readAll(eventLog, TOPICS.digests)
    while (digests.length === 0) {
      await sleep(systemClock, 5)
      digests = await readAll(eventLog, TOPICS.digests)
    }
    assert.deepEqual(
      new Set(digests.map(({ schema, headers }) => `${schema} ${headers.ce_subject}`)),
      new Set(['SummaryPublished/2 conversation:i1']),
    )
    assert.equal((await roster.list('default', 50)).length, 6)
    assert.equal((await roster.get('default', 'reporter')).roomParticipation[0], 'i1')
    await tell(eventLog, opened, { sequence: 2, change: 'escalated', incident: incident('i1', { escalation: 1 }) })
    await tell(eventLog, { sequence: 3, change: 'resolved', incident: incident('i1', { state: 'resolved' }) })
    const ended = await until(store, 'i1', ({ state }) => state === 'closed')
    assert.deepEqual([ended.terminationReason, ended.rounds.length, turns.length], ['alert_resolved', 1, 4])
  })

  it('what people are not told of is not talked about; what changes is looked at again; what comes back is a new round', async (t) => {
    const { eventLog, store, turns } = await begin(t, ordinary)
    await tell(eventLog, { sequence: 1, change: 'opened', incident: incident('i2', { announced: false }) })
    await tell(eventLog, { sequence: 1, change: 'opened', incident: incident('i3') })
    await until(store, 'i3', ({ state }) => state === 'published')
    assert.equal(await store.collection.get('i2'), null)
    await tell(eventLog, { sequence: 2, change: 'severity-changed', incident: incident('i3', { severity: 'critical' }) })
    const again = await until(store, 'i3', ({ revision }) => revision === 2)
    assert.deepEqual([again.severity, turns.slice(4)], ['critical', ['diagnostics', 'reporter']])
    await tell(eventLog, { sequence: 3, change: 'resolved', incident: incident('i3', { state: 'resolved' }) })
    await until(store, 'i3', ({ state }) => state === 'closed')
    await tell(eventLog, { sequence: 4, change: 'reopened', incident: incident('i3') })
    const third = await until(store, 'i3', ({ revision }) => revision === 3)
    assert.deepEqual([third.round, third.rounds.length], [2, 1])
  })

  it('a turn that hangs, throws or loses its lease harms nobody else, and the digest comes', async (t) => {
    const seen = new Map<string, number>()
    const odd = async (turn: Turn): Promise<TurnResult> => {
      const count = (seen.get(turn.agent) ?? 0) + 1
      seen.set(turn.agent, count)
      if (turn.agent === 'triage' && count === 1) return new Promise<TurnResult>(() => undefined)
      if (turn.agent === 'diagnostics') throw new TypeError('broken')
      return ordinary(turn)
    }
    const { eventLog, store } = await begin(t, odd, { floorLeaseMs: 200 }, 2)
    await tell(eventLog, { sequence: 1, change: 'opened', incident: incident('i4') })
    const published = await until(store, 'i4', ({ state }) => state === 'published')
    assert.deepEqual([seen.get('triage'), seen.get('diagnostics'), published.revision], [2, 3, 1])
  })

  it('an incident gets its digest though nobody was there until its time was over', async (t) => {
    const { eventLog, store, turns, worker } = await begin(t, ordinary, { summaryTimeoutMs: 1_000, floorLeaseMs: 500 })
    await worker.stop()
    await tell(eventLog, { sequence: 1, change: 'opened', incident: incident('i5') })
    const opened = await until(store, 'i5', () => true)
    await until(store, 'i5', () => systemClock.nowMs() > opened.roundStartedAt + 1_000)
    await worker.start()
    const published = await until(store, 'i5', ({ state }) => state === 'published')
    assert.deepEqual([published.revision, turns], [1, ['reporter']])
  })

  it('who holds the floor too long loses it also while the log is away', async (t) => {
    let hangs = true
    let release = (): void => undefined
    const away = new Promise<void>((resolve) => (release = resolve))
    // Before those hooks that wait for the parts to stop.
    t.after(() => release())
    const odd = async (turn: Turn): Promise<TurnResult> => {
      if (turn.agent === 'triage' && hangs) {
        hangs = false
        return new Promise<TurnResult>(() => undefined)
      }
      return ordinary(turn)
    }
    const { eventLog, store } = await begin(t, odd, { floorLeaseMs: 500, republishAfterMs: 100 })
    const append = eventLog.append.bind(eventLog)
    let waiting = 0
    eventLog.append = async (topic, messages) => {
      if (topic === TOPICS.chatEvents) {
        waiting++
        await away
      }
      return append(topic, messages)
    }
    await tell(eventLog, { sequence: 1, change: 'opened', incident: incident('i6') })
    const published = await until(store, 'i6', ({ state }) => state === 'published')
    assert.equal(published.revision, 1)
    assert.ok(waiting > 0)
    release()
    await until(store, 'i6', ({ outbox }) => outbox.length === 0)
  })

  it('a storm of incidents is worked off, the critical ones first', async (t) => {
    const { eventLog, store, turns } = await begin(t, ordinary, { turnsInFlightMax: 1 })
    const some = Array.from({ length: 12 }, (_, i) => incident(`s${i}`, { severity: i % 4 === 3 ? 'critical' : 'warning' }))
    await tell(eventLog, ...some.map((each) => ({ sequence: 1, change: 'opened' as const, incident: each })))
    for (const { id } of some) await until(store, id, ({ state }) => state === 'published')
    assert.equal(turns.length, 48)
  })
})
