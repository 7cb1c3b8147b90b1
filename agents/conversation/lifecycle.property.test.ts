import { limitsOf } from '../agents.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FLOOR_RANKS } from '../floor/floor.ts'
import { agentsConfig, discussion, PLAN, aboutIncident, T0, words } from '../testing/agents-fixture.ts'
import { conversationOf, type ConversationDocument } from './conversation-document.ts'
import { ask, end, join, leave, open, reopen, speak, take, yieldFloor } from './lifecycle.ts'
import { conversationFrom } from '../events/history.ts'
import { eventOf, recordsOf, sorted, storedHistory } from '../testing/told-history.ts'
import { moderate } from './moderation.ts'
import { receive } from './receipts.ts'
import { replaceRetired } from './standing-in.ts'
import { terminate } from './termination.ts'

const limits = limitsOf(agentsConfig({ participantsMax: 6, floorRequestsMax: 5, pendingMax: 1_000 }))
const STAND_IN = 'agent:second'
const WHO = [...PLAN, 'user:ana', 'user:ben']

interface World {
  conversation: ConversationDocument
  nowMs: number
  /** Grants that workers believe they have, stale ones too. */
  grants: { participant: string; epoch: number }[]
  said: number
  terminations: number
  /** Of agents, that ended with words or without. */
  turns: number
  tokens: number
}

/** What must hold after every step, whatever it was. */
function check(world: World, before: ConversationDocument): void {
  const { conversation } = world
  const { floor, spoken, outbox, participants, state } = conversation
  assert.ok(floor.epoch >= before.floor.epoch, 'the epoch never goes back')
  assert.ok(floor.queue.length <= limits.requestsMax + 1, 'the queue is bounded')
  assert.deepEqual(
    spoken.map(({ seq }) => seq),
    spoken.map((_, i) => i + 1),
    'places without gaps',
  )
  assert.equal(new Set(spoken.map(({ id }) => id)).size, spoken.length, 'nothing is said twice')
  assert.equal(new Set(spoken.map(({ floorEpoch }) => floorEpoch)).size, spoken.length, 'one message a grant')
  assert.deepEqual(
    outbox.map(({ sequence }) => sequence),
    outbox.map((_, i) => i + 1),
    'events without gaps',
  )
  assert.ok(new Set(participants.map(({ id }) => id)).size === participants.length && participants.length <= limits.participantsMax)
  assert.equal(outbox.filter(({ type }) => type === 'ConversationTerminated').length, conversation.rounds.length)
  assert.equal(state === 'closed', conversation.terminationReason !== null)
  const { totalTurns, totalTokens } = conversationOf(conversation, limits)
  assert.deepEqual([totalTurns, totalTokens], [world.turns, world.tokens], 'figures outlast rounds, leaving and coming back')
  assert.ok(participants.every(({ id, turns }) => turns === undefined || id.startsWith('agent:')))
  if (state === 'closed') assert.deepEqual([floor.holder, floor.queue, conversation.plan, conversation.dueAt], [null, [], [], null])
  else assert.ok(conversation.dueAt !== null, 'somebody looks again')
  assert.equal(moderate(conversation, world.nowMs, limits), conversation, 'the moderator does nothing twice')
}

/** The events alone say what the conversation is. */
function checkHistory({ conversation }: World): void {
  const history = conversationFrom(recordsOf(conversation).map((record) => eventOf(record)))
  assert.ok(history !== null)
  assert.deepEqual(sorted(history), storedHistory(conversation))
}

type Step = (world: World) => void
const who = fc.constantFrom(...WHO)
const steps: fc.Arbitrary<{ name: string; run: Step }> = fc.oneof(
  { weight: 6, arbitrary: fc.constant(null).map(() => ({ name: 'take', run: taking })) },
  { weight: 5, arbitrary: fc.tuple(fc.nat(9), fc.nat(4)).map(([grant, e]) => ({ name: `speak ${grant}`, run: speaking(grant, e) })) },
  { weight: 2, arbitrary: fc.nat(9).map((grant) => ({ name: `fail ${grant}`, run: failing(grant) })) },
  { weight: 3, arbitrary: fc.tuple(who, fc.boolean()).map(([id, words]) => ({ name: `ask ${id} ${words}`, run: asking(id, words) })) },
  { weight: 2, arbitrary: who.map((id) => ({ name: `join ${id}`, run: step((c, now) => joined(c, id, now)) })) },
  { weight: 1, arbitrary: who.map((id) => ({ name: `leave ${id}`, run: step((c, now) => leave(c, id, now, limits)) })) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 40_000 }).map((ms) => ({ name: `wait ${ms}`, run: waiting(ms) })) },
  { weight: 1, arbitrary: fc.constant({ name: 'end', run: step((c, now) => end(c, 'user_interrupt', now, limits)) }) },
  {
    weight: 2,
    arbitrary: fc.tuple(who, fc.constantFrom('delivered', 'read'), fc.integer({ min: 1, max: 9 })).map(([id, kind, seq]) => ({
      name: `${kind} ${id} ${seq}`,
      run: step((c, now) => receive(c, id, { kind, seq }, now)),
    })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom(...PLAN, STAND_IN), fc.boolean()).map(([id, hasOther]) => ({
      name: `retire ${id} ${hasOther}`,
      run: step((c, now) => replaceRetired(c, id, hasOther && id !== STAND_IN ? STAND_IN : null, now, limits)),
    })),
  },
  {
    weight: 1,
    arbitrary: fc.constant({
      name: 'reopen',
      run: step((c, now) => reopen(c, { mode: 'protocol', plan: PLAN, by: 'user:ana' }, now, limits)),
    }),
  },
)

function step(run: (conversation: ConversationDocument, nowMs: number) => ConversationDocument): Step {
  return (world) => {
    world.conversation = run(world.conversation, world.nowMs)
  }
}
function joined(conversation: ConversationDocument, id: string, nowMs: number): ConversationDocument {
  const next = join(conversation, id, 'member', nowMs, limits)
  return next === 'full' || conversation.state === 'closed' ? conversation : next
}
function taking(world: World): void {
  const taken = take(world.conversation, 'w', world.nowMs, limits)
  if (taken.status !== 'granted') return
  assert.ok(
    world.grants.every(({ epoch }) => epoch < taken.epoch),
    'no two grants have one epoch',
  )
  world.grants.push({ participant: taken.participant, epoch: taken.epoch })
  world.conversation = taken.conversation
}
function speaking(grant: number, evidence: number): Step {
  return (world) => {
    const had = world.grants[world.grants.length - 1 - grant]
    if (had === undefined) return
    const { floor } = world.conversation
    const isHolder = floor.holder?.participant === had.participant && floor.epoch === had.epoch
    const spoken = speak(
      world.conversation,
      { ...had, words: words(`said ${world.said}`, { evidence: [`e${evidence}`], metadata: { tokens: evidence, model: 'm' } }) },
      world.nowMs,
      limits,
    )
    assert.equal(spoken.status === 'said', isHolder && world.conversation.state !== 'closed', 'only who has the floor is heard')
    if (spoken.status !== 'said') return
    world.said++
    world.turns++
    world.tokens += evidence
    world.conversation = spoken.conversation
  }
}
function failing(grant: number): Step {
  return (world) => {
    const had = world.grants[world.grants.length - 1 - grant]
    if (had === undefined) return
    const before = world.conversation
    world.conversation = yieldFloor(before, had, 'failed', world.nowMs, limits)
    if (world.conversation !== before) world.turns++
  }
}
function asking(id: string, hasWords: boolean): Step {
  return (world) => {
    const said = hasWords && id.startsWith('user:') ? words('why?', { kind: 'question' }) : null
    const rank = id.startsWith('user:') ? FLOOR_RANKS.human : FLOOR_RANKS.agent
    const asked = ask(world.conversation, id, { rank, reason: 'test', words: said }, world.nowMs, limits)
    if ('conversation' in asked) world.conversation = asked.conversation
  }
}
function waiting(ms: number): Step {
  return (world) => {
    world.nowMs += ms
    world.conversation = moderate(world.conversation, world.nowMs, limits)
  }
}

for (const opening of [aboutIncident('c'), discussion('c', ['agent:triage', 'agent:reporter'])]) {
  test(`whatever happens in a ${opening.mode}, one speaks at a time and everything is told once`, () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 60 }), (all) => {
        const world: World = {
          conversation: open(opening, T0, limits),
          nowMs: T0,
          grants: [],
          said: 0,
          terminations: 0,
          turns: 0,
          tokens: 0,
        }
        for (const { run } of all) {
          const before = world.conversation
          run(world)
          check(world, before)
        }
        checkHistory(world)
      }),
      { numRuns: 300, seed: Number(process.env.TEST_SEED ?? 8) },
    )
  })
}

test('what never ends by itself ends by time: in every state there is a date at which it does', () => {
  let conversation = open(discussion('c', ['agent:a']), T0, limits)
  conversation = moderate(conversation, T0 + limits.idleTimeoutMs, limits)
  assert.equal(conversation.terminationReason, 'timeout')
  assert.equal(terminate(conversation, 'merged', T0), conversation)
})
