import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { limitsOf } from '../agents.ts'
import { BusKey } from '../bus/bus-key.ts'
import { open } from '../bus/envelope.ts'
import type { AgentsConfig } from '../config.ts'
import { ConversationStore } from '../conversation/conversation-store.ts'
import * as lifecycle from '../conversation/lifecycle.ts'
import type { Limits } from '../conversation/moderation.ts'
import { Roster } from '../roster/roster.ts'
import { aboutIncident, agentsConfig, agentsLog, readAll, words } from '../testing/agents-fixture.ts'
import type { Turn, TurnResult } from '../turns/speaker.ts'
import { TurnWorker } from '../turns/turn-worker.ts'
import type { Attention } from './attention-document.ts'
import { AttentionStates } from './attention-states.ts'

const WAIT_MAX_MS = 60_000
/** A durable change that takes longer than this while turns are under way: the machine is busy with something else. */
const SLOW_CHANGE_MS = 60

interface Process {
  store: ConversationStore
  attention: AttentionStates
  metrics: Metrics
  key: BusKey
  limits: Limits
  stop(): Promise<void>
}

/** One process of target `agents`, in which all agents do what `speak` says. */
async function processOf(
  stores: { documents: Documents; eventLog: EventLog },
  speak: (turn: Turn) => Promise<TurnResult>,
  changes: Partial<AgentsConfig> = {},
): Promise<Process> {
  const config = agentsConfig({ attentionWriteMs: 50, sweepIntervalMs: 50, ...changes })
  const [limits, metrics] = [limitsOf(config), new Metrics()]
  const common = { ...stores, clock: systemClock, log: silentLogger, metrics, config, limits }
  const key = new BusKey(common)
  await key.start()
  const store = new ConversationStore({ ...common, key })
  const roster = new Roster({ ...common, key })
  const attention = new AttentionStates({ ...common, key, worker: 'p-1' })
  const speakerOf = async () => ({ speak })
  const worker = new TurnWorker({ ...common, store, roster, attention, speakerOf, forgetIncident: async () => undefined, worker: 'p-1' })
  const parts = [store, roster, attention, worker]
  for (const part of parts) await part.start()
  const stop = async (): Promise<void> => {
    for (const part of parts.toReversed()) await part.stop()
  }
  await roster.ensureTeam('default')
  return { store, attention, metrics, key, limits, stop }
}

async function begin(t: TestContext): Promise<{ documents: Documents; eventLog: EventLog }> {
  return { documents: await lmdbDocuments(t), eventLog: await agentsLog(t) }
}

async function until<T>(what: string, look: () => Promise<T | null>): Promise<T> {
  const deadlineMs = systemClock.monotonicMs() + WAIT_MAX_MS
  for (;;) {
    const found = await look()
    if (found !== null) return found
    if (systemClock.monotonicMs() > deadlineMs) assert.fail(`waited too long until ${what}`)
    await sleep(systemClock, 5)
  }
}

const said = ({ agent, conversation: { nextSeq } }: Turn): TurnResult => ({
  status: 'said',
  words: words(`${agent} looked`, { kind: 'finding', evidence: [`ev_${agent}_${nextSeq}`] }),
})

describe('attention', () => {
  it('of a hundred dialogues at once the critical ones have their first turn within a second', async (t) => {
    const firstAt = new Map<string, number>()
    const [askedAt, turnMs] = [new Map<string, number>(), 20]
    const process = await processOf(await begin(t), async (turn) => {
      const { id } = turn.conversation
      if (!firstAt.has(id)) firstAt.set(id, systemClock.monotonicMs())
      await sleep(systemClock, turnMs)
      return said(turn)
    })
    t.after(() => process.stop())
    const { store, limits } = process
    const open = async (id: string, severity: 'warning' | 'critical'): Promise<void> => {
      const opening = aboutIncident(id, {
        plan: ['agent:triage'],
        incident: { id, sequence: 1, severity, deviceCount: 1, site: id.slice(-1) },
      })
      await store.insert(id, lifecycle.open(opening, systemClock.nowMs(), limits))
      askedAt.set(id, Math.min(firstAt.get(id) ?? Infinity, systemClock.monotonicMs()))
    }
    const critical = Array.from({ length: 25 }, (_, i) => `critical-${i}`)
    await Promise.all(Array.from({ length: 75 }, (_, i) => open(`warning-${i}`, 'warning')))
    const slowMs = await oneChangeMs(process)
    await Promise.all(critical.map((id) => open(id, 'critical')))
    const lastAskedAt = Math.max(...critical.map((id) => askedAt.get(id) ?? 0))
    await until('all had their first turn', async () => (firstAt.size === 100 ? true : null))
    const lastCriticalAt = Math.max(...critical.map((id) => firstAt.get(id) ?? Infinity))
    const overtaking = [...firstAt].filter(([id, at]) => id.startsWith('warning') && at > lastAskedAt && at < lastCriticalAt)
    // Those whose grant was under way when the last critical one came.
    assert.ok(overtaking.length <= 16, `${overtaking.length} warnings were begun while critical ones waited`)
    const waited = critical.map((id) => Math.max(0, (firstAt.get(id) ?? Infinity) - (askedAt.get(id) ?? 0))).toSorted((a, b) => a - b)
    const p99 = waited[Math.ceil(waited.length * 0.99) - 1] ?? Infinity
    t.diagnostic(
      `25 critical of 100 dialogues, first turn: p50 ${waited[12]?.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms; a change takes ${slowMs.toFixed(1)} ms`,
    )
    // Two durable changes a turn: a disk on which others wait too says nothing of who is chosen.
    if (slowMs < SLOW_CHANGE_MS) assert.ok(p99 < 1_000, `p99 ${p99} ms`)
    else t.diagnostic(`SLOW MACHINE: a durable change takes ${slowMs.toFixed(0)} ms, so the bound of a second is not asserted`)
  })

  it('is written down, told when its focus changes, and taken up again after a restart: first what it was in the middle of', async (t) => {
    const stores = await begin(t)
    const wait = new AbortController()
    // The first process never comes to an end of a turn; its lease is long over when the second one looks.
    const first = await processOf(stores, (turn) => sleep(systemClock, WAIT_MAX_MS, wait.signal).then(() => said(turn)), {
      ...{ turnsInFlightMax: 1, floorLeaseMs: 400, errorsMax: 20, retryTurnMs: 0 },
    })
    for (const [i, id] of ['begun', 'waits-1', 'waits-2'].entries()) {
      const opening = aboutIncident(id, {
        plan: ['agent:triage'],
        incident: { id, sequence: 1, severity: 'warning', deviceCount: 9 - i, site: id },
      })
      await first.store.insert(id, lifecycle.open(opening, systemClock.nowMs(), first.limits))
    }
    const attention = await until('it is written', async () => {
      const found = await first.attention.of('default', 'triage')
      return found.waiting === 2 && found.currentFocus !== null ? found : null
    })
    assertAttends(attention)
    await first.stop()
    wait.abort()
    const order: string[] = []
    const second = await processOf(
      stores,
      async (turn) => {
        order.push(turn.conversation.id)
        await sleep(systemClock, 5)
        return said(turn)
      },
      { turnsInFlightMax: 1, floorLeaseMs: 400, errorsMax: 20, retryTurnMs: 0 },
    )
    t.after(() => second.stop())
    await until('all had their turns', async () => (new Set(order).size === 3 ? true : null))
    assert.equal(order[0], 'begun')
    const events = await until('its end is told', async () => {
      const told = (await readAll(stores.eventLog, TOPICS.agentStatus)).flatMap((record) => {
        const opened = open(record, second.key.secret)
        return opened.status === 'event' && opened.event.type === 'AgentStatusUpdated' && 'focus' in opened.event.data
          ? [opened.event.data]
          : []
      })
      // Between two turns there is no focus either.
      return told.at(-1)?.focus === null && told.at(-1)?.runState === 'idle' ? told : null
    })
    assert.deepEqual(
      [events[0]?.agentId, events[0]?.newStatus, events[0]?.focus, events[0]?.runState],
      ['triage', 'busy', 'begun', 'generating'],
    )
    assert.deepEqual([events.at(-1)?.newStatus, events.at(-1)?.runState], ['idle', 'idle'])
    assert.equal((await second.attention.of('default', 'triage')).runState, 'idle')
  })
})

/** How long one durable change of a conversation takes at the moment. */
async function oneChangeMs({ store, limits }: Process): Promise<number> {
  const opening = aboutIncident('probe', { plan: [] })
  const startMs = systemClock.monotonicMs()
  await store.insert('probe', lifecycle.open(opening, systemClock.nowMs(), limits))
  return systemClock.monotonicMs() - startMs
}

function assertAttends(attention: Attention): void {
  assert.equal(attention.runState, 'generating')
  assert.equal(attention.currentFocus, 'begun')
  assert.deepEqual(
    attention.activities.map(({ dialogueId, runState }) => [dialogueId, runState]),
    [['begun', 'generating']],
  )
  assert.deepEqual(
    attention.attentionQueue.map(({ dialogueId }) => dialogueId),
    ['waits-1', 'waits-2'],
  )
  const [one, two] = attention.attentionQueue
  assert.ok(one !== undefined && two !== undefined && one.priority >= two.priority && one.since <= one.lastInteraction)
}
