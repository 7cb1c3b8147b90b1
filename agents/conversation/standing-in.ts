import { withdraw } from '../floor/floor.ts'
import { tell } from '../bus/outbox.ts'
import { present, seatOf, type ConversationDocument } from './conversation-document.ts'
import { join, leave } from './lifecycle.ts'
import { moderate, type Limits } from './moderation.ts'
import { terminate } from './termination.ts'

/**
 * A retired agent is out. About an incident, what it was to say and was asked is for `other` of its role, which joins where it does not take part
 * yet; without one it is left out, and where nobody is left to speak the round ends. What people began with agents of their choice has no stand-in.
 */
export function replaceRetired(
  conversation: ConversationDocument,
  retired: string,
  other: string | null,
  nowMs: number,
  limits: Limits,
): ConversationDocument {
  const { state, plan, questions, incidentId } = conversation
  const isWanted = present(conversation, retired) !== undefined || plan.includes(retired)
  if (state === 'closed' || !isWanted) return conversation
  const joined = other === null || incidentId === null ? 'full' : join(conversation, other, 'member', nowMs, limits)
  const next = other === null || joined === 'full' ? conversation : seated(joined, retired, other)
  if (next !== conversation && other !== null) {
    const given = {
      ...next,
      plan: plan.map((each) => (each === retired ? other : each)),
      questions: questions.map((each) => (each.to === retired ? { ...each, to: other } : each)),
    }
    return without(given, retired, nowMs, limits)
  }
  return without({ ...conversation, questions: questions.filter(({ to }) => to !== retired) }, retired, nowMs, limits)
}

function seated(conversation: ConversationDocument, retired: string, other: string): ConversationDocument {
  const seat = seatOf(conversation, retired)
  return { ...conversation, participants: conversation.participants.map((each) => (each.id === other ? { ...each, seat } : each)) }
}

/** Also where it does not take part, and was called all the same: it may have been retired since the conversation ended before. */
function without(conversation: ConversationDocument, retired: string, nowMs: number, limits: Limits): ConversationDocument {
  if (present(conversation, retired) !== undefined) return leave(conversation, retired, nowMs, limits, 'agent_retired')
  const { id, mode, floor } = conversation
  const plan = conversation.plan.filter((each) => each !== retired)
  let next: ConversationDocument = { ...conversation, plan, floor: withdraw(floor, retired) }
  if (floor.holder?.participant === retired)
    next = tell(next, 'FloorRevoked', { chatId: id, agentId: retired, floorEpoch: next.floor.epoch }, nowMs)
  return moderate(mode === 'protocol' && plan.length === 0 ? terminate(next, 'agent_retired', nowMs) : next, nowMs, limits)
}
