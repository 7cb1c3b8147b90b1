import { integerBetween, type Random } from '../../kernel/random.ts'
import { limitsOf } from '../agents.ts'
import type { ConversationDocument } from '../conversation/conversation-document.ts'
import { ask, end, erase, join, leave, open, reopen, speak, take } from '../conversation/lifecycle.ts'
import { receive } from '../conversation/receipts.ts'
import { aboutIncident, agentsConfig, discussion, PLAN, T0, words } from './agents-fixture.ts'

const limits = limitsOf(agentsConfig({ pendingMax: 1_000 }))

/** A conversation in which this and that happened; everything that it told waits in it. */
export function randomConversation(id: string, random: Random, steps: number, fate: 'kept' | 'erased' = 'kept'): ConversationDocument {
  let nowMs = T0 + integerBetween(random, 0, 1_000)
  const opening = random.next() < 0.5 ? aboutIncident(id) : discussion(id, ['agent:triage', 'agent:reporter'])
  let conversation = open(opening, nowMs, limits)
  for (let step = 0; step < steps; step++) {
    nowMs += integerBetween(random, 1, 500)
    conversation = stepped(conversation, random, nowMs, step)
  }
  return fate === 'erased' ? erase(conversation, nowMs + 1, limits) : conversation
}

function stepped(conversation: ConversationDocument, random: Random, nowMs: number, n: number): ConversationDocument {
  const kind = integerBetween(random, 0, 9)
  if (conversation.state === 'closed') return reopen(conversation, { mode: 'protocol', plan: PLAN, by: 'user:ana' }, nowMs, limits)
  if (kind === 0) {
    const joined = join(conversation, 'user:ana', 'member', nowMs, limits)
    return joined === 'full' ? conversation : joined
  }
  if (kind === 1) return leave(conversation, random.next() < 0.5 ? 'user:ana' : 'agent:historian', nowMs, limits)
  if (kind === 2 && random.next() < 0.3) return end(conversation, 'user_interrupt', nowMs, limits)
  if (kind === 3) return receive(conversation, 'user:ana', { kind: random.next() < 0.5 ? 'read' : 'delivered', seq: n + 1 }, nowMs)
  if (kind === 4) {
    const said = words(`question ${n}`, { kind: 'question', author: { kind: 'human', provider: null, model: null } })
    const asked = ask(conversation, 'user:ana', { reason: 'asks', words: said }, nowMs, limits)
    return 'conversation' in asked ? asked.conversation : conversation
  }
  const taken = take(conversation, 'w', nowMs, limits)
  if (taken.status !== 'granted') return conversation
  const { participant, epoch } = taken
  const said = speak(taken.conversation, { participant, epoch, words: words(`finding ${n}`, { evidence: [`e${n}`] }) }, nowMs + 1, limits)
  return said.status === 'said' ? said.conversation : taken.conversation
}
