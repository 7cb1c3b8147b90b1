import assert from 'node:assert/strict'
import { it } from 'node:test'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { limitsOf } from '../agents.ts'
import { AttentionStates } from '../attention/attention-states.ts'
import { BusKey } from '../bus/bus-key.ts'
import type { ConversationDocument } from '../conversation/conversation-document.ts'
import { ConversationStore } from '../conversation/conversation-store.ts'
import { end, open, speak, take } from '../conversation/lifecycle.ts'
import { Roster } from '../roster/roster.ts'
import { aboutIncident, agentsConfig, agentsLog, readAll, T0, words } from '../testing/agents-fixture.ts'
import { damage, sealedEngines } from '../testing/sealed-engines.ts'
import { TurnWorker } from './turn-worker.ts'

it('conversations that do not open go when their time is over, as others do: with all that is kept of them, and everybody is told', async (t) => {
  const { documents, lying } = await sealedEngines(t)
  const clock = new VirtualClock(T0)
  const eventLog = await agentsLog(t)
  const config = agentsConfig()
  const limits = limitsOf(config)
  const common = { documents, eventLog, clock, random: seededRandom('kept'), log: silentLogger, metrics: new Metrics(), config, limits }
  const key = new BusKey(common)
  await key.start()
  const store = new ConversationStore({ ...common, key })
  const roster = new Roster({ ...common, key })
  const attention = new AttentionStates({ ...common, key, worker: 'w' })
  for (const part of [store, roster, attention]) await part.start()
  t.after(async () => {
    for (const part of [attention, roster, store]) await part.stop()
  })
  const forgotten: string[] = []
  const forgetIncident = async (tenant: string, incident: string): Promise<void> => void forgotten.push(`${tenant}/${incident}`)
  const worker = new TurnWorker({ ...common, store, roster, attention, speakerOf: async () => undefined, forgetIncident, worker: 'w' })

  const change = (id: string, step: (conversation: ConversationDocument) => ConversationDocument): Promise<unknown> =>
    store.change({ id, tenant: 'default' }, step)
  const begin = async (id: string): Promise<void> => {
    await store.insert(id, open(aboutIncident(id), clock.nowMs(), limits))
    await change(id, (conversation) => {
      const taken = take(conversation, 'w', clock.nowMs(), limits)
      assert.ok(taken.status === 'granted')
      const spoken = speak(taken.conversation, { ...taken, words: words(`${id} says`) }, clock.nowMs(), limits)
      return spoken.status === 'said' ? spoken.conversation : assert.fail(spoken.status)
    })
  }
  for (const id of ['ended', 'never-ended', 'opens']) await begin(id)
  for (const id of ['ended', 'opens']) await change(id, (each) => end(each, 'user_interrupt', clock.nowMs(), limits))
  await begin('young')
  const engine = await lying('conversations')
  const longAgo = clock.nowMs() - config.retentionMs - 1
  for (const id of ['ended', 'opens']) await engine.update(id, { $set: { terminatedAt: longAgo } })
  await engine.update('never-ended', { $set: { dueAt: longAgo } })
  await damage(engine, 'ended', 'title')
  await damage(engine, 'never-ended', 'floor')
  await damage(engine, 'young', 'title')
  assert.equal(await store.messages.count({}), 4)

  for (let sweep = 0; sweep < 3; sweep++) {
    await worker.republish()
    await worker.sweep()
    await clock.advance(config.republishAfterMs)
  }
  assert.deepEqual(
    (await engine.find({})).map(({ _id }) => _id),
    ['young'],
  )
  assert.deepEqual(forgotten.sort(), ['default/ended', 'default/never-ended', 'default/opens'])
  assert.deepEqual(
    (await store.messages.find({})).map(({ conversation }) => conversation),
    ['young'],
  )
  const deleted = (await readAll(eventLog, TOPICS.chatEvents)).filter(({ schema }) => schema.startsWith('ChatDeleted/'))
  const subjects = ['conversation:ended', 'conversation:never-ended', 'conversation:opens']
  assert.deepEqual([...new Set(deleted.map(({ headers }) => headers.ce_subject))].sort(), subjects)
})
