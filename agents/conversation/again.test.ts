import assert from 'node:assert/strict'
import { it } from 'node:test'
import { limitsOf } from '../agents.ts'
import { aboutIncident, agentsConfig, digest, T0, words } from '../testing/agents-fixture.ts'
import type { ConversationDocument } from './conversation-document.ts'
import { open, speak, take, yieldFloor } from './lifecycle.ts'

const limits = limitsOf(agentsConfig())

function granted(
  conversation: ConversationDocument,
  by: string,
): { conversation: ConversationDocument; participant: string; epoch: number } {
  const taken = take(conversation, 'w', T0, limits)
  assert.ok(taken.status === 'granted', taken.status)
  assert.equal(taken.participant, by)
  return taken
}

it('gives the speaker of a digest one more turn when it wants it, and the digest stands when nothing comes of that', () => {
  const reporter = 'agent:reporter'
  const opened = open(aboutIncident('c', { plan: [reporter] }), T0, limits)
  const first = granted(opened, reporter)
  const speech = { participant: reporter, epoch: first.epoch, words: words('digest', { kind: 'digest' }), digest: digest('c') }
  const spoken = speak(first.conversation, { ...speech, again: true }, T0, limits)
  assert.ok(spoken.status === 'said')
  const second = granted(spoken.conversation, reporter)
  assert.equal(second.conversation.state, 'published')
  const without = yieldFloor(second.conversation, second, 'nothing-to-say', T0, limits)
  assert.deepEqual([without.state, without.plan, without.revision], ['published', [], spoken.conversation.revision])
  assert.notEqual(take(without, 'w', T0, limits).status, 'granted')
  const reworded = speak(second.conversation, { ...speech, epoch: second.epoch }, T0, limits)
  assert.ok(reworded.status === 'said')
  assert.deepEqual([reworded.conversation.state, reworded.conversation.plan], ['published', []])
})
