import assert from 'node:assert/strict'
import { it, type TestContext } from 'node:test'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { integerBetween, seededRandom, type Random } from '../../kernel/random.ts'
import type { Service } from '../../kernel/service.ts'
import { sleep, systemClock, VirtualClock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog, LogMessage, LogRecord } from '../../storage/event-log/event-log.ts'
import { BusKey } from '../bus/bus-key.ts'
import { ConversationStore } from '../conversation/conversation-store.ts'
import { Roster } from '../roster/roster.ts'
import { agentsConfig, aboutIncident, T0 } from '../testing/agents-fixture.ts'
import { randomConversation } from '../testing/random-conversations.ts'
import { eventOf, recordsOf, sorted, stateHash, storedHistory } from '../testing/told-history.ts'
import { limitsOf } from '../agents.ts'
import { open, join, leave } from '../conversation/lifecycle.ts'
import { Events } from './events.ts'
import { conversationFrom } from './history.ts'
import { Journal } from './journal.ts'

export interface JournalEngines {
  documents: Documents
  eventLog: EventLog
}
export type OpenEngines = (t: TestContext) => Promise<JournalEngines>

const WAIT_MAX_MS = 20_000
const tenant = 'default'
const config = agentsConfig({ republishAfterMs: 100 })
const limits = limitsOf(config)

/** What the journal and the reactions promise, for every engine of the ports. */
export function journalContract(openEngines: OpenEngines, sizes: { shuffles: number; crashes: number }): void {
  it('holds the same, whatever order events of different keys come in and however often', async (t) => {
    const { documents } = await openEngines(t)
    const random = seededRandom(process.env.TEST_SEED ?? 'journal')
    const journal = new Journal({ documents, clock: new VirtualClock(T0), config })
    await journal.start()
    t.after(() => journal.stop())
    const told = Array.from({ length: 6 }, (_, i) => randomConversation(`c${i}`, random, 25, i === 5 ? 'erased' : 'kept'))
    const records = told.flatMap((conversation) => recordsOf(conversation))
    assert.ok(records.length > 200, `${records.length}`)
    const hashes = new Set<string>()
    for (let run = 0; run < sizes.shuffles; run++) {
      await (await documents.collection({ name: 'agent-events', indexes: [] })).deleteMany({})
      for (const batch of shuffled([...records, ...records], random)) {
        assert.deepEqual(new Set(await journal.take(batch.map((record) => eventOf(record)))), new Set([null]))
      }
      await journal.sweep()
      hashes.add(await stateHash(documents, 'agent-events'))
    }
    assert.equal(hashes.size, 1, 'one state, whatever the order')
    for (const conversation of told.slice(0, 5)) {
      const events = await journal.ofStream({ tenant, stream: `conversation:${conversation.id}` }, 0, 1_000)
      assert.deepEqual(
        events.map(({ sequence }) => sequence),
        Array.from({ length: conversation.sequence }, (_, i) => i + 1),
      )
      const history = conversationFrom(events)
      assert.ok(history !== null)
      assert.deepEqual(sorted(history), storedHistory(conversation), 'what is stored is what was told')
    }
    const erased = await journal.ofStream({ tenant, stream: 'conversation:c5' }, 0, 1_000)
    assert.deepEqual(
      erased.map(({ type }) => type),
      ['ChatDeleted'],
      'of an erased conversation it is known that it is gone, and nothing else',
    )
  })

  it('loses nothing and does nothing twice, wherever processes die between a change and its events', async (t) => {
    const { documents, eventLog } = await openEngines(t)
    const random = seededRandom(8)
    const common = { documents, clock: systemClock, random, log: silentLogger, metrics: new Metrics(), config }
    const key = new BusKey(common)
    await key.start()
    const effects: string[] = []
    const react = async ({ id, type }: { id: string; type: string }): Promise<void> => {
      if (type === 'AgentRetired') effects.push(id)
    }
    const auditTrail = { record: (): Promise<void> => Promise.reject(new Error('nothing is forged here')) }
    const events = new Events({ ...common, eventLog, key, auditTrail, react, works: true })
    await events.start()
    const started: Service[] = [events]

    try {
      for (let crash = 0; crash < sizes.crashes; crash++) {
        const dying = { append: dyingAppend(eventLog, crash % 3) }
        // Each is a process of its own: what it remembers goes with it.
        const store = new ConversationStore({ ...common, key, eventLog: dying })
        const roster = new Roster({ ...common, key, eventLog: dying })
        await store.start()
        await roster.start()
        const id = `c${crash % 10}`
        if ((await store.insert(id, open(aboutIncident(id), systemClock.nowMs(), limits))) === null) {
          await store.change({ id, tenant }, (conversation) => {
            const joined = join(conversation, 'user:ana', 'member', systemClock.nowMs(), limits)
            return joined === 'full' || joined === conversation ? leave(conversation, 'user:ana', systemClock.nowMs(), limits) : joined
          })
        }
        const agentId = `agent-${crash}`
        await roster.introduce(tenant, { agentId, role: 'historian', name: agentId, bio: '' })
        await roster.retire(tenant, agentId)
        await Promise.all([store.stop(), roster.stop()])
      }
      const clock = new VirtualClock(systemClock.nowMs() + 60_000)
      const store = new ConversationStore({ ...common, key, eventLog, clock })
      const roster = new Roster({ ...common, key, eventLog, clock })
      await store.start()
      await roster.start()
      started.push(store, roster)
      await store.republish()
      await roster.republish()

      const wanted = new Map<string, number>()
      for (const { id, sequence } of await store.collection.find({})) wanted.set(`conversation:${id}`, sequence)
      for (let crash = 0; crash < sizes.crashes; crash++) wanted.set(`agent:${tenant}/agent-${crash}`, 2)
      for (const [stream, count] of wanted) {
        await until(
          `${count} events of ${stream}`,
          async () => (await events.journal.ofStream({ tenant, stream }, 0, 1_000)).length === count,
        )
        const found = await events.journal.ofStream({ tenant, stream }, 0, 1_000)
        assert.deepEqual(
          found.map(({ sequence }) => sequence),
          Array.from({ length: count }, (_, i) => i + 1),
        )
      }
      await until('every effect', async () => new Set(effects).size === sizes.crashes)
      assert.equal(effects.length, sizes.crashes, 'no effect twice')
      const lifecycle = await eventLog.bounds(TOPICS.agentLifecycle)
      const appended = [...lifecycle.values()].reduce((sum, { first, next }) => sum + next - first, 0)
      assert.ok(appended > 2 * sizes.crashes, `${appended}: some were appended twice, or this test shows nothing`)
    } finally {
      // Before the engines, whose hooks run first.
      for (const service of started.toReversed()) await service.stop()
    }
  })
}

/** How an append ends when the process dies: it never reaches the log; it does, but nobody hears of it; or all is well. */
function dyingAppend(eventLog: EventLog, way: number): EventLog['append'] {
  return async (topic: string, messages: readonly LogMessage[]) => {
    if (way === 0) throw new Error('died before the append')
    const appended = await eventLog.append(topic, messages)
    if (way === 1) throw new Error('died after the append')
    return appended
  }
}

/** The same records in batches; those of one key and topic keep their order. */
function shuffled(records: readonly LogRecord[], random: Random): LogRecord[][] {
  const lanes = new Map<string, LogRecord[]>()
  for (const record of records) {
    const lane = `${record.topic} ${record.key}`
    lanes.set(lane, [...(lanes.get(lane) ?? []), record])
  }
  const left = [...lanes.values()]
  const batches: LogRecord[][] = []
  while (left.length > 0) {
    const batch: LogRecord[] = []
    for (let size = integerBetween(random, 1, 150); size > 0 && left.length > 0; size--) {
      const at = integerBetween(random, 0, left.length - 1)
      batch.push(left[at]?.shift() as LogRecord)
      if (left[at]?.length === 0) left.splice(at, 1)
    }
    batches.push(batch)
  }
  return batches
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonicMs() + WAIT_MAX_MS
  while (!(await isSo())) {
    if (systemClock.monotonicMs() > endMs) assert.fail(`waited in vain for ${what}`)
    await sleep(systemClock, 20)
  }
}
