import { Type, type Static } from 'typebox'
import { SeveritySchema } from './alert.ts'

const textOrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description })
const timeOrNull = (description: string) => Type.Union([Type.Integer(), Type.Null()], { description })
const oneOf = <T extends string>(values: readonly T[], description: string) =>
  Type.Unsafe<T>({ type: 'string', enum: [...values], description })

/** Of an incident: from the first look to the digest that is out. Between people and agents: `open`, `human-active`, `closed`. */
export const CONVERSATION_STATES = [
  'open',
  'gathering',
  'discussing',
  'reporting',
  'verifying',
  'published',
  'human-active',
  'closed',
] as const
export type ConversationState = (typeof CONVERSATION_STATES)[number]

/** Why a round of a conversation ended; the first reason stands. */
export const TERMINATION_REASONS = [
  'goal_met',
  'max_turns',
  'termination_phrase',
  'circuit_open',
  'similarity',
  'user_interrupt',
  'timeout',
  'consecutive_errors',
  'rate_limited',
  'budget_exhausted',
  'no_new_evidence',
  'alert_resolved',
  'merged',
  'agent_retired',
  'shutdown',
] as const
export type TerminationReason = (typeof TERMINATION_REASONS)[number]

/** What somebody may do in one conversation, most to least. */
export const CHAT_ROLES = ['owner', 'admin', 'member', 'guest'] as const
export type ChatRole = (typeof CHAT_ROLES)[number]

export const CHAT_TYPES = ['private', 'group'] as const
export type ChatType = (typeof CHAT_TYPES)[number]

/** `left`: it went, or was taken out; `ended`: the round did. */
export const LEAVING_REASONS = ['left', 'agent_retired', 'ended'] as const

export const ParticipantSchema = Type.Object({
  id: Type.String({ description: '`agent:ID`, `user:NAME` or `api-key:ID`' }),
  role: oneOf(CHAT_ROLES, 'its rights in this conversation'),
  joinedAt: Type.Integer({ description: 'epoch ms' }),
  leftAt: timeOrNull('epoch ms; null: it takes part'),
  seat: Type.Optional(Type.String({ description: 'the retired agent that it stands in for; absent: none' })),
  leftWhy: Type.Optional(oneOf(LEAVING_REASONS, 'why it takes part no more')),
  deliveredSeq: Type.Optional(Type.Integer({ minimum: 0, description: 'place up to which messages came to it; absent: none' })),
  readSeq: Type.Optional(Type.Integer({ minimum: 0, description: 'place up to which it has read; absent: nothing' })),
  turns: Type.Optional(Type.Integer({ minimum: 0, description: 'of an agent: that it took, in all rounds; absent: none' })),
  tokens: Type.Optional(Type.Integer({ minimum: 0, description: 'that providers said they used for what it said; absent: none' })),
})
export type Participant = Static<typeof ParticipantSchema>

/** One conversation as it is seen from outside. */
export const ConversationSchema = Type.Object({
  id: Type.String({ description: 'of an incident: the id of the incident' }),
  tenant: Type.String(),
  chatType: oneOf(CHAT_TYPES, 'private: two take part; group: any number'),
  title: Type.String(),
  incidentId: textOrNull('the incident it is about'),
  createdBy: Type.String(),
  createdAt: Type.Integer({ description: 'epoch ms' }),
  lastActivity: Type.Integer({ description: 'epoch ms' }),
  participants: Type.Array(ParticipantSchema),
  state: oneOf(CONVERSATION_STATES, 'where it is'),
  round: Type.Integer({ minimum: 1, description: 'grows when a closed conversation is taken up again' }),
  terminationReason: Type.Union([oneOf(TERMINATION_REASONS, 'why the round ended'), Type.Null()]),
  terminatedAt: timeOrNull('epoch ms'),
  severity: SeveritySchema,
  turns: Type.Integer({ description: 'of agents, in this round' }),
  totalTurns: Type.Integer({ minimum: 0, description: 'of agents, in all rounds' }),
  totalTokens: Type.Integer({ minimum: 0, description: 'that providers said they used for what was said, in all rounds' }),
  messageCount: Type.Integer(),
  speaker: textOrNull('who has the floor'),
  floorEpoch: Type.Integer({ description: 'grows with every grant of the floor' }),
  waiting: Type.Array(Type.String(), { description: 'who asked for the floor, in the order in which they get it' }),
  revision: Type.Integer({ description: 'of the digest that is published; 0: none yet' }),
  correlationId: Type.String(),
})
export type Conversation = Static<typeof ConversationSchema>

export const MESSAGE_KINDS = ['message', 'finding', 'digest', 'question', 'answer', 'statement'] as const
export type MessageKind = (typeof MESSAGE_KINDS)[number]

export const MESSAGE_STATUSES = ['sent', 'delivered', 'read'] as const
export type MessageStatus = (typeof MESSAGE_STATUSES)[number]

/** Who found the words, said wherever they are shown. */
export const AuthorSchema = Type.Object({
  kind: Type.Union([Type.Literal('local'), Type.Literal('model'), Type.Literal('human')]),
  provider: textOrNull('of kind model'),
  model: textOrNull('of kind model'),
})
export type Author = Static<typeof AuthorSchema>

/** What a model's provider said of a message: input and output of the request that brought its words. */
export const MessageMetadataSchema = Type.Object({
  tokens: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], { description: 'null: the provider did not say' }),
  model: textOrNull('that was asked'),
})
export type MessageMetadata = Static<typeof MessageMetadataSchema>

export const MessageSchema = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  conversation: Type.String(),
  seq: Type.Integer({ minimum: 1, description: 'its place in the conversation, without gaps' }),
  from: Type.String(),
  to: textOrNull('null: everybody'),
  at: Type.Integer({ description: 'epoch ms' }),
  kind: oneOf(MESSAGE_KINDS, 'what it is'),
  content: Type.String(),
  isPrivate: Type.Boolean({ description: 'only its sender and its recipient may read it' }),
  status: oneOf(MESSAGE_STATUSES, 'delivered and read: to and by one at least of those whom it was said to'),
  author: AuthorSchema,
  metadata: Type.Optional(MessageMetadataSchema),
  floorEpoch: Type.Integer(),
  claims: Type.Array(Type.String()),
  evidence: Type.Array(Type.String()),
  causes: Type.Array(Type.String()),
  correlationId: Type.String(),
})
export type Message = Static<typeof MessageSchema>

/** Key of a conversation's events: one conversation's stay in order. */
export function conversationKey(tenant: string, conversation: string): string {
  return `${tenant}/conversation:${conversation}`
}
/** Key of an agent's events. */
export function agentKey(tenant: string, agent: string): string {
  return `${tenant}/agent:${agent}`
}
