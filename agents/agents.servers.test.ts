import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Static, TSchema } from 'typebox'
import type { Principal } from '../contracts/authorisation.ts'
import type { Proposal } from '../contracts/proposal.ts'
import { TOPICS } from '../contracts/topics.ts'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { compileSchema } from '../kernel/schema.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import { documentsOn, freshDatabase } from '../storage/documents/testing/mongodb-fixture.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { openKafkaLog } from '../storage/event-log/kafka-testing.ts'
import { topicSpec } from '../storage/event-log/temporary-log.ts'
import { serverAddress } from '../test/testing/server-addresses.ts'
import { watchesThePlatform } from '../test/testing/watching-platform.ts'
import { limitsOf } from './agents.ts'
import { AttentionStates } from './attention/attention-states.ts'
import { BusKey } from './bus/bus-key.ts'
import { open } from './bus/envelope.ts'
import { BUS_TOPICS } from './bus/event-types.ts'
import { ConversationStore } from './conversation/conversation-store.ts'
import * as lifecycle from './conversation/lifecycle.ts'
import { MemoryConfigSchema } from './memory/config.ts'
import { Memories } from './memory/memories.ts'
import { KEEPER } from './memory/memory-document.ts'
import { ProactiveConfigSchema } from './proactive/config.ts'
import type { AlertFact, DomainFacts } from './proactive/domain-facts.ts'
import { ProactiveEngine } from './proactive/engine.ts'
import { Firings } from './proactive/firings.ts'
import { ProactiveRules } from './proactive/rules-service.ts'
import { ProposalsConfigSchema } from './proposals/config.ts'
import { Proposals } from './proposals/proposals.ts'
import { CountingActions } from './proposals/testing/counting-actions.ts'
import { GROUNDS, incidentOf } from './proposals/testing/proposals-fixture.ts'
import { killWhenItSpeaks } from './proposals/testing/killed-child.ts'
import { Roster } from './roster/roster.ts'
import { aboutIncident, agentsConfig, readAll } from './testing/agents-fixture.ts'
import { TurnWorker } from './turns/turn-worker.ts'

/* What agents keep and decide, over MongoDB's protocol and Kafka, where every process has connections of its own. */

const PROPOSALS = 12
const WAIT_MAX_MS = 60_000
const [ana, bob]: Principal[] = ['ana', 'bob'].map((id) => ({ kind: 'user', id, tenant: 'default', roles: ['admin'] }))

interface Stores {
  documents: Documents
  eventLog: EventLog
}

/** The stores as `count` processes have them: one database, one set of topics. */
async function storesOf(t: TestContext, count: number): Promise<{ all: Stores[]; place: string; stop: () => Promise<void> }> {
  const url = serverAddress('mongodb')
  const database = freshDatabase(t, url)
  const topics = [...BUS_TOPICS, TOPICS.alerts, TOPICS.anomalies, TOPICS.deviceEvents].flatMap((topic) => [topic, `${topic}.dlq`])
  const opened: { stores: Stores; stop: () => Promise<void> }[] = []
  let topicPrefix: string | undefined
  for (let i = 0; i < count; i++) {
    const documents = documentsOn({ url, database })
    await documents.start()
    const {
      log: eventLog,
      dispose,
      ...kafka
    } = await openKafkaLog(serverAddress('kafka'), topicPrefix === undefined ? {} : { topicPrefix })
    topicPrefix ??= kafka.topicPrefix
    if (i === 0) await eventLog.ensureTopics(topics.map((topic) => topicSpec(topic)))
    const stop = async (): Promise<void> => {
      await dispose()
      await documents.stop()
    }
    opened.push({ stores: { documents, eventLog }, stop })
  }
  const stop = async (): Promise<void> => {
    for (const each of opened) await each.stop()
  }
  return { all: opened.map(({ stores }) => stores), place: `${url.replace(/\/$/, '')}/${database}`, stop }
}

async function until<T>(what: string, look: () => Promise<T | null | undefined | false>): Promise<T> {
  const deadlineMs = systemClock.monotonicMs() + WAIT_MAX_MS
  for (;;) {
    const found = await look()
    if (found !== null && found !== undefined && found !== false) return found
    if (systemClock.monotonicMs() > deadlineMs) assert.fail(`waited too long until ${what}`)
    await sleep(systemClock, 10)
  }
}

function configOf<S extends TSchema>(schema: S, changes: object = {}): Static<S> {
  const checked = compileSchema(schema)(changes)
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

test('what is approved in two processes at once, or in one that is killed, is done once and told once', async (t) => {
  const { all, place, stop } = await storesOf(t, 2)
  const settings = configOf(ProposalsConfigSchema, { leaseMs: 300, sweepIntervalMs: 100 })
  const processes: Proposals[] = []
  const start = async (stores: Stores, works: boolean): Promise<Proposals> => {
    const { actions } = new CountingActions(stores.documents)
    const trail = { record: async () => undefined }
    const around = { ...stores, clock: systemClock, log: silentLogger, config: settings, auditTrail: trail, works }
    const proposals = new Proposals({ ...around, actions })
    await proposals.start()
    processes.push(proposals)
    return proposals
  }
  // Nobody takes up what is due before the last child was killed: it might take it from a child that is slow.
  const here = await start(all[0] as Stores, false)
  const there = await start(all[1] as Stores, false)
  const [{ documents, eventLog }] = all as [Stores]
  const things = await new CountingActions(documents).things()
  const propose = async (target: string): Promise<Proposal> => {
    await things.put(target, { state: 'running', changes: [] })
    const [made] = await here.propose(incidentOf(target), 'inc-1', 'agent:dispatcher', GROUNDS)
    assert.ok(made !== undefined)
    return made
  }
  try {
    const made: Proposal[] = []
    for (let i = 0; i < PROPOSALS; i++) made.push(await propose(`pump-${i}`))
    await Promise.all(
      made.map(({ id, diffHash }) =>
        Promise.allSettled([here.approve(ana as Principal, id, diffHash), there.approve(bob as Principal, id, diffHash)]),
      ),
    )
    const cut: Proposal[] = []
    const child = fileURLToPath(new URL('./proposals/testing/execution-child.js', import.meta.url))
    for (const stopAt of ['before', 'after']) {
      const proposal = await propose(`cut-${stopAt}`)
      cut.push(proposal)
      const killed = spawn(process.execPath, [child, place, proposal.id, proposal.diffHash, stopAt], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      await killWhenItSpeaks(killed)
    }
    for (const stores of all) await start(stores, true)
    const ends = await Promise.all(
      [...made, ...cut].map(({ id }) =>
        until(`${id} is done`, async () => {
          const proposal = await there.get('default', id)
          return proposal.state === 'done' && proposal
        }),
      ),
    )
    for (const { target } of ends) assert.equal((await things.get(target))?.changes.length, 1, `${target} was changed once`)
    assert.deepEqual(
      ends.slice(-2).map(({ outcome, decidedBy }) => [outcome, decidedBy]),
      [
        ['done', 'user:ana'],
        ['found done', 'user:ana'],
      ],
    )
    const key = new BusKey({ documents })
    await key.start()
    const told = await until('the ends are told', async () => {
      const events = (await readAll(eventLog, TOPICS.chatEvents)).flatMap((record) => {
        const opened = open(record, key.secret)
        return opened.status === 'event' && opened.event.type === 'ProposalSettled' ? [opened.event] : []
      })
      const ids = new Set(events.map(({ id }) => id))
      return ids.size >= ends.length && ids
    })
    assert.equal(told.size, ends.length, 'each end is one event, by its id')
  } finally {
    for (const each of processes) await each.stop()
    await stop()
  }
})

test('what agents remember and attend to is there in another process', async (t) => {
  const { all, stop } = await storesOf(t, 2)
  const [first, second] = all as [Stores, Stores]
  const wait = new AbortController()
  const config = agentsConfig({ attentionWriteMs: 50, sweepIntervalMs: 50, turnsInFlightMax: 1 })
  const memoriesOf = ({ documents }: Stores): Memories =>
    new Memories({ documents, clock: systemClock, log: silentLogger, config: configOf(MemoryConfigSchema) })
  const around = { clock: systemClock, log: silentLogger, metrics: new Metrics(), config, limits: limitsOf(config) }
  const of = { ...first, ...around, key: new BusKey(first) }
  await of.key.start()
  const [store, roster, attention] = [new ConversationStore(of), new Roster(of), new AttentionStates({ ...of, worker: 'p-1' })]
  const speak = () => sleep(systemClock, WAIT_MAX_MS, wait.signal).then(() => ({ status: 'nothing-to-say' as const }))
  const turns = { store, roster, attention, speakerOf: async () => ({ speak }), forgetIncident: async () => undefined, worker: 'p-1' }
  const there = { key: new BusKey(second) }
  await there.key.start()
  const seen = new AttentionStates({ ...second, ...around, ...there, worker: 'p-2' })
  const [learning, reading] = [memoriesOf(first), memoriesOf(second)]
  const parts = [store, roster, attention, seen, learning, reading, new TurnWorker({ ...of, ...turns })]
  for (const part of parts) await part.start()
  try {
    await roster.ensureTeam('default')
    for (const [i, id] of ['begun', 'waits-1', 'waits-2'].entries()) {
      const incident = { id, sequence: 1, severity: 'warning' as const, deviceCount: 9 - i, site: id }
      await store.insert(id, lifecycle.open(aboutIncident(id, { plan: ['agent:triage'], incident }), systemClock.nowMs(), of.limits))
    }
    const found = await until('the attention is seen in the other process', async () => {
      const states = await seen.of('default', 'triage')
      return states.waiting === 2 && states.currentFocus !== null && states
    })
    assert.deepEqual([found.currentFocus, found.attentionQueue.map(({ dialogueId }) => dialogueId)], ['begun', ['waits-1', 'waits-2']])
    await Promise.all(
      Array.from({ length: 3 }, (_, i) =>
        (i % 2 === 0 ? learning : reading).learn({
          ...{ tenant: 'default', of: 'i1', agent: KEEPER, kind: 'resolution', incident: 'i1', devices: ['d-1'], type: 'pump' },
          ...{ cause: 'sensor_fault.drift', content: null, by: null, resolution: 'operator', tookMs: 60_000, at: systemClock.nowMs() },
        }),
      ),
    )
    const kept = await reading.list('default', KEEPER, 10)
    assert.deepEqual(
      kept.map(({ incident, cause }) => [incident, cause]),
      [['i1', 'sensor_fault.drift']],
    )
  } finally {
    wait.abort()
    for (const part of parts.toReversed()) await part.stop()
    await stop()
  }
})

test('a pattern that two processes see at once begins one conversation', async (t) => {
  const { all, stop } = await storesOf(t, 2)
  const config = agentsConfig()
  const openedAt = systemClock.nowMs() - 1_000
  const alerts: AlertFact[] = Array.from({ length: 8 }, (_, i) => {
    return { id: `a-${i}`, device: `d-${i}`, type: 'pump', cause: 'value', metric: 'pressure', labels: {}, openedAt }
  })
  const none = async () => []
  const facts: DomainFacts = {
    ...{ tenants: async () => ['default'], alerts: async (_tenant, fromMs) => ({ items: alerts, fromMs }) },
    ...{ expiries: none, devices: none, limits: none, means: none },
  }
  const processes = await Promise.all(
    all.map(async (stores, i) => {
      const key = new BusKey(stores)
      const of = { ...stores, key, clock: systemClock, log: silentLogger, metrics: new Metrics(), limits: limitsOf(config) }
      const ours = { ...of, config: configOf(ProactiveConfigSchema) }
      const [store, roster] = [new ConversationStore({ ...of, config }), new Roster({ ...of, config })]
      const [rules, firings] = [new ProactiveRules(ours), new Firings(ours)]
      for (const part of [key, store, roster, rules, firings]) await part.start()
      const engine = new ProactiveEngine({ ...ours, facts, rules, firings, store, roster, processId: `p-${i}` })
      return { engine, firings, store, parts: [firings, rules, roster, store, key] }
    }),
  )
  try {
    await Promise.all(processes.flatMap(({ engine }) => [engine.look(), engine.look()]))
    for (const { firings, store } of processes) {
      const [firing, ...more] = await firings.list('default', 10)
      assert.deepEqual([more.length, firing?.deviceCount], [0, 8])
      assert.equal(await store.collection.count({ tenant: 'default' }), 1)
    }
  } finally {
    for (const { parts } of processes) for (const part of parts) await part.stop()
    await stop()
  }
})

test('the watchdog watches there too', async (t) => {
  const { all, stop } = await storesOf(t, 1)
  try {
    await watchesThePlatform(all[0] as Stores)
  } finally {
    await stop()
  }
})
