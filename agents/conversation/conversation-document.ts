import type { Severity } from '../../contracts/alert.ts'
import type { ChatType, Conversation, ConversationState, Message, Participant, TerminationReason } from '../../contracts/conversation.ts'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'
import type { Told } from '../bus/outbox.ts'
import { figuresOf } from './figures.ts'
import { inOrder, type Floor, type FloorLimits } from '../floor/floor.ts'

/** How the next speaker is found. `protocol`: by the plan; `discussion`: the agents in turn; `addressed`: only who is asked. */
export type Mode = 'protocol' | 'discussion' | 'addressed'

/** What somebody says; the conversation adds place, time and sender. */
export type Words = Pick<Message, 'to' | 'kind' | 'content' | 'isPrivate' | 'author' | 'metadata' | 'claims' | 'evidence' | 'causes'> & {
  /** `done`: from somebody who may end it, the conversation is over. Only this field says so, never the text. */
  control: 'done' | null
}

/** What was said last, for the look at whether anything is new. */
export interface Said {
  from: string
  content: string
}

/**
 * A conversation as it is stored: one document with its floor and what was said but is not in the collection of messages yet, so that a
 * single compare-and-set decides who spoke. Everything else follows from it.
 */
export interface ConversationDocument extends Told {
  v: 1
  chatType: ChatType
  mode: Mode
  title: string
  incidentId: string | null
  /** Of the last change of the incident that was taken. */
  incidentSequence: number
  createdBy: string
  createdAt: number
  lastActivity: number
  participants: Participant[]
  state: ConversationState
  round: number
  /** Ends of earlier rounds, latest last. */
  rounds: { round: number; reason: TerminationReason; at: number }[]
  terminationReason: TerminationReason | null
  terminatedAt: number | null
  severity: Severity
  deviceCount: number
  site: string
  /** Who is to be called, in this order. */
  plan: string[]
  roundStartedAt: number
  /** Since when only the reporter is called, because the round's time was over; absent or null: it is not. */
  lastWordAt?: number | null
  turns: number
  /** Successive turns that said nothing new. */
  quietTurns: number
  /** Successive turns that said the same again. */
  similarTurns: number
  /** Successive turns that failed. */
  errors: number
  knownEvidence: string[]
  knownCauses: string[]
  recent: Said[]
  /** Asked and not answered yet; `seq` of the question. */
  questions: { seq: number; from: string; to: string; content: string; isPrivate: boolean }[]
  nextSeq: number
  floor: Floor<Words>
  /** Messages that are not in their collection yet. */
  spoken: Message[]
  evidenceHash: string | null
  revision: number
  /** The incident is over. */
  isResolved: boolean
  /** Since when it is to be gone, epoch ms; absent: it is not. */
  erasedAt?: number
  /** Wall time at which something is to be done; null: nothing. */
  dueAt: number | null
}
export type StoredConversation = ConversationDocument & Stored

export const CONVERSATIONS_COLLECTION: CollectionSpec = {
  name: 'conversations',
  indexes: [
    { name: 'newest', paths: ['tenant', 'id'] },
    { name: 'by-state', paths: ['tenant', 'state', 'id'] },
    { name: 'by-participant', paths: ['tenant', 'participants.id'] },
    { name: 'by-due', paths: ['dueAt'] },
    { name: 'unpublished', paths: ['unpublishedSince'] },
    { name: 'terminated', paths: ['terminatedAt'] },
    { name: 'erased', paths: ['erasedAt'] },
  ],
  // Wherever words of people and agents are; who takes part, when and in which state is searched.
  sealed: ['title', 'recent', 'questions', 'floor', 'spoken', 'outbox'],
}

export const MESSAGES_COLLECTION: CollectionSpec = {
  name: 'conversation-messages',
  indexes: [
    { name: 'place', paths: ['conversation', 'seq'], unique: true },
    { name: 'recipient', paths: ['tenant', 'to', 'at'] },
  ],
  sealed: ['content'],
}

/** As it is seen from outside. */
export function conversationOf(document: ConversationDocument, limits: Pick<FloorLimits, 'jumpTickets'>): Conversation {
  const { id, tenant, chatType, title, incidentId, createdBy, createdAt, lastActivity, participants, state, round } = document
  const { terminationReason, terminatedAt, severity, turns, nextSeq, floor, revision, correlationId } = document
  return {
    ...{ id, tenant, chatType, title, incidentId, createdBy, createdAt, lastActivity, participants, state, round },
    ...{ terminationReason, terminatedAt, severity, turns, revision, correlationId, messageCount: nextSeq - 1 },
    ...figuresOf(participants),
    speaker: floor.holder?.participant ?? null,
    floorEpoch: floor.epoch,
    waiting: inOrder(floor, limits).map(({ participant }) => participant),
  }
}

/** Agents and people have different rights and duties in a conversation. */
export function isAgent(participant: string): boolean {
  return participant.startsWith('agent:')
}

/** It is there only until everybody was told that it is not. */
export function isErased({ erasedAt }: Pick<ConversationDocument, 'erasedAt'>): boolean {
  return erasedAt !== undefined
}

/** Takes part now. */
export function present(conversation: Pick<ConversationDocument, 'participants'>, id: string): Participant | undefined {
  return conversation.participants.find((each) => each.id === id && each.leftAt === null)
}

/** Whose part this agent plays: its own, or that of one that it stands in for. */
export function seatOf(conversation: Pick<ConversationDocument, 'participants'>, participant: string): string {
  return present(conversation, participant)?.seat ?? participant
}

/** Who plays the part of this agent, if anybody. */
export function sitting({ participants }: Pick<ConversationDocument, 'participants'>, seat: string): string | null {
  return participants.find((each) => each.leftAt === null && (each.seat ?? each.id) === seat)?.id ?? null
}
