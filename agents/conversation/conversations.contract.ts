import { limitsOf } from '../agents.ts'
import assert from 'node:assert/strict'
import { it, type TestContext } from 'node:test'
import { TERMINATION_REASONS } from '../../contracts/conversation.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { sleep, systemClock, VirtualClock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { FLOOR_RANKS } from '../floor/floor.ts'
import { aboutIncident, agentsConfig, agentsLog, conversationStore, discussion, readAll, T0, words } from '../testing/agents-fixture.ts'
import type { ConversationStore } from './conversation-store.ts'
import { ask, end, join, open, speak, take } from './lifecycle.ts'

/** Several stores over one engine, as several processes have them. */
export type OpenDocuments = (t: TestContext, count: number) => Promise<Documents[]>

const limits = limitsOf(agentsConfig())
/** Where it is no lease that is tested: a slow server must not end one. */
const patient = { ...limits, leaseMs: 600_000 }
const of = (id: string): { id: string; tenant: string } => ({ id, tenant: 'default' })

/** What the conversations ask of the documents: one floor, nobody twice, nothing late, nothing lost. For every engine of the port. */
export function conversationsContract(openDocuments: OpenDocuments, sizes: { grants: number; kills: number }): void {
  it('gives one floor to one of many at a time, loses no request, and lets nobody wait for long', async (t) => {
    const [workers, agents] = [3, 20]
    const documents = await openDocuments(t, workers)
    const eventLog = await agentsLog(t)
    const stores = await Promise.all(documents.map((each) => conversationStore(t, { documents: each, eventLog, clock: systemClock })))
    const names = Array.from({ length: agents }, (_, i) => `agent:a${i}`)
    const opening = { ...discussion('floor', names), mode: 'addressed' as const }
    await stores[0]?.insert('floor', open(opening, systemClock.nowMs(), limits))
    const random = seededRandom(11)
    const granted: string[] = []
    let wanted = 0
    const waits: number[] = []
    const askedAt = new Map<string, number>()
    const worker = async (store: (typeof stores)[number], name: string): Promise<void> => {
      while (granted.length < sizes.grants) {
        const agent = names[Math.floor(random.next() * agents)] as string
        const rank = random.next() < 0.2 ? FLOOR_RANKS.called : FLOOR_RANKS.agent
        let isQueued = false
        await store.change(of('floor'), (conversation) => {
          const asked = ask(conversation, agent, { rank, reason: 'test', words: null }, systemClock.nowMs(), limits)
          isQueued = asked.status === 'queued'
          return 'conversation' in asked ? asked.conversation : conversation
        })
        if (isQueued) {
          askedAt.set(agent, granted.length)
          wanted++
        }
        let taken: ReturnType<typeof take> | undefined
        await store.change(of('floor'), (conversation) => {
          taken = take(conversation, name, systemClock.nowMs(), patient)
          return taken.status === 'granted' ? taken.conversation : conversation
        })
        if (taken?.status !== 'granted') {
          await sleep(systemClock, 1)
          continue
        }
        const { participant, epoch } = taken
        granted.push(participant)
        waits.push(granted.length - (askedAt.get(participant) ?? granted.length))
        askedAt.delete(participant)
        let said: ReturnType<typeof speak> | undefined
        const speech = { participant, epoch, words: words(`${granted.length}`, { evidence: [`e${granted.length}`] }) }
        await store.change(of('floor'), (conversation) => {
          said = speak({ ...conversation, turns: 0 }, speech, systemClock.nowMs(), patient)
          return said.status === 'said' ? said.conversation : conversation
        })
        assert.equal(said?.status, 'said')
      }
    }
    await Promise.all(stores.map((store, i) => worker(store, `w${i}`)))
    const conversation = await stores[0]?.collection.get('floor')
    const told = await readAll(eventLog, TOPICS.chatEvents)
    const floors = new Map(
      told
        .filter(({ schema }) => schema === 'FloorGranted/1' || schema === 'FloorReleased/1')
        .map(({ headers, value }) => [Number(headers.ce_sequence), JSON.parse(Buffer.from(value).toString()) as Record<string, unknown>]),
    )
    const inOrder = [...floors]
      .sort(([a], [b]) => a - b)
      .map(([, { eventType, floorEpoch }]) => `${String(eventType)} ${String(floorEpoch)}`)
    const wantedOrder = granted.flatMap((_, i) => [`FloorGranted ${i + 1}`, `FloorReleased ${i + 1}`])
    assert.deepEqual(inOrder, wantedOrder, 'nobody is granted what another has')
    assert.equal(conversation?.floor.epoch, granted.length, 'an epoch for each grant')
    assert.equal(granted.length + (conversation?.floor.queue.length ?? 0), wanted, 'who asked has spoken or waits')
    assert.ok(Math.max(...waits) <= 2 * agents, `${Math.max(...waits)} slots`)
    const messages = await stores[0]?.messages.find({ conversation: 'floor' }, { sort: { seq: 1 } })
    assert.deepEqual(
      messages?.map(({ seq }) => seq),
      granted.map((_, i) => i + 1),
      'places without gaps',
    )
  })

  it('takes the floor from a speaker that died when its lease is over; what it says later is not heard', async (t) => {
    const clock = new VirtualClock(T0)
    const documents = await openDocuments(t, 2)
    const eventLog = await agentsLog(t)
    const [dying, other] = (await Promise.all(documents.map((each) => conversationStore(t, { documents: each, eventLog, clock })))) as [
      Awaited<ReturnType<typeof conversationStore>>,
      Awaited<ReturnType<typeof conversationStore>>,
    ]
    await other.insert('dying', open(discussion('dying', ['agent:a', 'agent:b']), T0, limits))
    const taking = async (store: typeof dying): Promise<ReturnType<typeof take> | undefined> => {
      let taken: ReturnType<typeof take> | undefined
      await store.change(of('dying'), (conversation) => {
        taken = take(conversation, 'w', clock.nowMs(), limits)
        return taken.status === 'granted' ? taken.conversation : conversation
      })
      return taken
    }
    for (let round = 1; round <= sizes.kills; round++) {
      const first = await taking(dying)
      assert.equal(first?.status, 'granted')
      if (first?.status !== 'granted') return
      await clock.advance(limits.leaseMs - 1)
      assert.equal((await taking(other))?.status, 'busy')
      await clock.advance(1)
      const second = await taking(other)
      if (second?.status !== 'granted') assert.fail('the floor did not come back')
      assert.equal(second.participant, first.participant, 'whoever was interrupted is asked again')
      const late = { participant: first.participant, epoch: first.epoch, words: words(`late ${round}`) }
      await dying.change(of('dying'), (conversation) => {
        assert.equal(speak(conversation, late, clock.nowMs(), limits).status, 'stale')
        return conversation
      })
      const speech = { participant: second.participant, epoch: second.epoch, words: words(`in time ${round}`, { evidence: [`e${round}`] }) }
      await other.change(of('dying'), (conversation) => {
        const said = speak(conversation, speech, clock.nowMs(), { ...limits, discussionTurnsMax: 1_000 })
        return said.status === 'said' ? said.conversation : conversation
      })
    }
    const messages = await other.messages.find({ conversation: 'dying' })
    assert.equal(messages.length, sizes.kills)
    assert.ok(messages.every(({ content }) => content.startsWith('in time')))
  })

  it('keeps one end of many that come at once, and everybody is out', async (t) => {
    const documents = await openDocuments(t, 3)
    const eventLog = await agentsLog(t)
    const clock = new VirtualClock(T0)
    const stores = await Promise.all(documents.map((each) => conversationStore(t, { documents: each, eventLog, clock })))
    await stores[0]?.insert('end', open(aboutIncident('end'), T0, limits))
    await Promise.all(
      TERMINATION_REASONS.map((reason, i) =>
        (stores[i % 3] as ConversationStore).change(of('end'), (conversation) => end(conversation, reason, clock.nowMs(), limits)),
      ),
    )
    const ended = await stores[1]?.collection.get('end')
    assert.equal(ended?.rounds.length, 1)
    assert.equal(ended?.rounds[0]?.reason, ended?.terminationReason)
    assert.ok(ended?.participants.every(({ leftAt }) => leftAt === clock.nowMs()))
    const told = await readAll(eventLog, TOPICS.chatEvents)
    const ends = new Set(told.filter(({ schema }) => schema === 'ConversationTerminated/1').map(({ headers }) => headers.ce_id))
    assert.equal(ends.size, 1)
  })

  it('says what people wait to say at the boundary between two turns, and their question is answered first', async (t) => {
    const clock = new VirtualClock(T0)
    const [documents] = await openDocuments(t, 1)
    const eventLog = await agentsLog(t)
    const store = await conversationStore(t, { documents: documents as Documents, eventLog, clock })
    await store.insert('ask', open(aboutIncident('ask'), T0, limits))
    let turn: ReturnType<typeof take> | undefined
    const taking = (): Promise<unknown> =>
      store.change(of('ask'), (conversation) => {
        turn = take(conversation, 'w', clock.nowMs(), limits)
        return turn.status === 'granted' ? turn.conversation : conversation
      })
    await taking()
    if (turn?.status !== 'granted') assert.fail('nobody was called')
    assert.equal(turn.participant, 'agent:triage')
    await store.change(of('ask'), (conversation) => {
      const joined = join(conversation, 'user:ana', 'member', clock.nowMs(), limits)
      if (joined === 'full') assert.fail('full')
      const human = { reason: 'asks', words: words('why?', { kind: 'question', author: { kind: 'human', provider: null, model: null } }) }
      const asked = ask(joined, 'user:ana', human, clock.nowMs(), limits)
      assert.equal(asked.status, 'queued')
      return 'conversation' in asked ? asked.conversation : conversation
    })
    const { participant, epoch } = turn
    await store.change(of('ask'), (conversation) => {
      const said = speak(conversation, { participant, epoch, words: words('one device', { evidence: ['e1'] }) }, clock.nowMs(), limits)
      return said.status === 'said' ? said.conversation : conversation
    })
    const messages = await store.messages.find({ conversation: 'ask' }, { sort: { seq: 1 } })
    assert.deepEqual(
      messages.map(({ from, kind }) => [from, kind]),
      [
        ['agent:triage', 'message'],
        ['user:ana', 'question'],
      ],
    )
    await taking()
    assert.equal(turn?.status === 'granted' && turn.participant, 'agent:reporter')
  })
}
