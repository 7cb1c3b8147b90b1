import { createHash } from 'node:crypto'
import type { Message } from '../../contracts/conversation.ts'
import { maskSecrets } from '../../kernel/mask.ts'
import { tell } from '../bus/outbox.ts'
import { isRepeat } from '../turns/similarity.ts'
import { afterTurn } from './figures.ts'
import { isAgent, type ConversationDocument, type Words } from './conversation-document.ts'

export interface SpeakingLimits {
  similarityThreshold: number
  recentMax: number
  knownMax: number
}

/** The id of what is said with one grant of the floor: a second try has the same. */
export function messageId(conversation: string, epoch: number, participant: string): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([conversation, epoch, participant]))
    .digest('hex')
  return `msg_${hash.slice(0, 40)}`
}

/** Adds a message of the holder of the floor, and counts what it brought. The caller made sure that it holds the floor. */
export function takeWords(
  conversation: ConversationDocument,
  from: string,
  epoch: number,
  given: Words,
  nowMs: number,
  limits: SpeakingLimits,
): ConversationDocument {
  const { id, tenant, nextSeq, correlationId } = conversation
  const words: Words = { ...given, content: maskSecrets(given.content) }
  const { control: _control, ...said } = words
  const message: Message = {
    ...said,
    id: messageId(id, epoch, from),
    ...{ tenant, conversation: id, seq: nextSeq, from, at: nowMs, status: 'sent', floorEpoch: epoch, correlationId },
  }
  const next: ConversationDocument = {
    ...conversation,
    ...counted(conversation, from, words, limits),
    ...(isAgent(from) ? { participants: afterTurn(conversation.participants, from, words.metadata?.tokens ?? 0) } : {}),
    nextSeq: nextSeq + 1,
    spoken: [...conversation.spoken, message],
    lastActivity: nowMs,
  }
  const { to, kind, claims, evidence, isPrivate } = message
  const data = {
    ...{ messageId: message.id, from, to, chatId: id, seq: nextSeq, kind, floorEpoch: epoch, claims, evidence },
    // Private words stay in the store: whoever may read them fetches them.
    content: isPrivate || conversation.chatType === 'private' ? null : message.content,
  }
  return tell(next, 'MessageSent', data, nowMs)
}

type Counts = Pick<ConversationDocument, 'turns' | 'quietTurns' | 'similarTurns' | 'errors' | 'knownEvidence' | 'knownCauses' | 'recent'>

/** People are never a loop, and what answers them or ends the search is not expected to bring anything new. */
function counted(conversation: ConversationDocument, from: string, words: Words, limits: SpeakingLimits): Counts {
  const { turns, quietTurns, similarTurns, knownEvidence, knownCauses, recent } = conversation
  const evidence = added(knownEvidence, words.evidence, limits.knownMax)
  const causes = added(knownCauses, words.causes, limits.knownMax)
  const known = {
    knownEvidence: evidence,
    knownCauses: causes,
    recent: [...recent, { from, content: words.content }].slice(-limits.recentMax),
  }
  if (!isAgent(from)) return { ...known, turns, quietTurns: 0, similarTurns: 0, errors: 0 }
  const isSearch = words.kind === 'message' || words.kind === 'finding'
  const isNew = words.evidence.some((each) => !knownEvidence.includes(each)) || words.causes.some((each) => !knownCauses.includes(each))
  if (!isSearch || isNew) return { ...known, turns: turns + 1, quietTurns: 0, similarTurns: 0, errors: 0 }
  const before = recent.map(({ content }) => content)
  const repeats = isRepeat(words.content, before, limits.similarityThreshold)
  return { ...known, turns: turns + 1, quietTurns: quietTurns + 1, similarTurns: repeats ? similarTurns + 1 : 0, errors: 0 }
}

function added(known: readonly string[], said: readonly string[], itemsMax: number): string[] {
  return [...new Set([...known, ...said])].slice(0, Math.max(itemsMax, known.length))
}
