import type { Message, MessageStatus, Participant } from '../../contracts/conversation.ts'
import { tell } from '../bus/outbox.ts'
import { isAgent, present, type ConversationDocument } from './conversation-document.ts'

/** How far what was said came to a participant, and how far it was read, by place. */
export interface Receipt {
  deliveredSeq: number
  readSeq: number
}

/** Whoever has the floor has been given what was said so far; the grant tells it, so that it needs no event of its own. */
export function caughtUp(conversation: ConversationDocument, participant: string): ConversationDocument {
  const seq = conversation.nextSeq - 1
  return isAgent(participant) ? marked(conversation, participant, { deliveredSeq: seq, readSeq: seq }) : conversation
}

/** Somebody got, or has read, everything up to a place. Marks never go back; who does not take part has none. */
export function receive(
  conversation: ConversationDocument,
  participant: string,
  upTo: { kind: 'delivered' | 'read'; seq: number },
  nowMs: number,
): ConversationDocument {
  const who = present(conversation, participant)
  const seq = Math.min(upTo.seq, conversation.nextSeq - 1)
  if (who === undefined || seq < 1) return conversation
  const before = receiptOf(who)
  const data = { chatId: conversation.id, agentId: participant, seq }
  if (upTo.kind === 'read') {
    if (seq <= before.readSeq) return conversation
    return tell(marked(conversation, participant, { deliveredSeq: seq, readSeq: seq }), 'MessageRead', data, nowMs)
  }
  if (seq <= before.deliveredSeq) return conversation
  return tell(marked(conversation, participant, { deliveredSeq: seq, readSeq: 0 }), 'MessageDelivered', data, nowMs)
}

/** `read` and `delivered`: to at least one of those whom it was said to. */
export function statusOf(message: Message, participants: readonly Participant[]): MessageStatus {
  const { to, from, seq } = message
  const receipts = participants.filter(({ id }) => (to === null ? id !== from : id === to)).map(receiptOf)
  if (receipts.some(({ readSeq }) => readSeq >= seq)) return 'read'
  return receipts.some(({ deliveredSeq }) => deliveredSeq >= seq) ? 'delivered' : 'sent'
}

export function receiptOf({ deliveredSeq = 0, readSeq = 0 }: Pick<Participant, 'deliveredSeq' | 'readSeq'>): Receipt {
  return { deliveredSeq, readSeq }
}

function marked(conversation: ConversationDocument, participant: string, to: Receipt): ConversationDocument {
  const participants = conversation.participants.map((each) => {
    if (each.id !== participant) return each
    const { deliveredSeq, readSeq } = receiptOf(each)
    return { ...each, deliveredSeq: Math.max(deliveredSeq, to.deliveredSeq), readSeq: Math.max(readSeq, to.readSeq) }
  })
  return { ...conversation, participants }
}
