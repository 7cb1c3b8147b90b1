import type { ChatRole, TerminationReason } from '../../contracts/conversation.ts'
import type { BusEvent } from '../bus/envelope.ts'
import { receiptOf } from '../conversation/receipts.ts'
import { isAgent } from '../conversation/conversation-document.ts'

/** A conversation as its events tell it. */
export interface ConversationHistory {
  createdBy: string
  createdAt: number
  round: number
  isClosed: boolean
  terminationReason: TerminationReason | null
  /** Who takes part, with its rights. */
  participants: { id: string; role: ChatRole; deliveredSeq: number; readSeq: number }[]
  speaker: string | null
  floorEpoch: number
  messageCount: number
  /** Of the digest. */
  revision: number
}

/** An agent as its events tell it. */
export interface AgentHistory {
  role: string
  brain: string
  isRetired: boolean
  introducedAt: number
}

interface Past extends ConversationHistory {
  /** Everybody who ever took part, and whether it left by itself: an agent that was there at the end of a round is there in the next one. */
  known: Map<string, { role: ChatRole; state: 'present' | 'left' | 'ended'; deliveredSeq: number; readSeq: number }>
}
/** What of an event counts here. */
type Happening = Pick<BusEvent, 'type' | 'at' | 'data'>
type Step = (past: Past, data: BusEvent['data']) => void

/** Events that change what a conversation is; the others only tell of it. */
const STEPS: Partial<Record<BusEvent['type'], Step>> = {
  ParticipantJoined: ({ known }, { agentId, role }) => {
    known.set(String(agentId), { ...receiptOf(known.get(String(agentId)) ?? {}), role: role as ChatRole, state: 'present' })
  },
  ParticipantLeft: ({ known }, { agentId }) => {
    const who = known.get(String(agentId))
    if (who !== undefined) who.state = 'left'
  },
  FloorGranted: (past, { agentId, floorEpoch }) => {
    past.speaker = String(agentId)
    past.floorEpoch = Number(floorEpoch)
    // Whoever is given the floor is given what was said so far.
    if (isAgent(past.speaker)) mark(past, past.speaker, past.messageCount, past.messageCount)
  },
  FloorReleased: (past) => {
    past.speaker = null
  },
  FloorRevoked: (past, { floorEpoch }) => {
    past.speaker = null
    past.floorEpoch = Number(floorEpoch)
  },
  MessageSent: (past, { seq }) => {
    past.messageCount = typeof seq === 'number' ? seq : past.messageCount + 1
  },
  MessageDelivered: (past, { agentId, seq }) => mark(past, String(agentId), Number(seq), 0),
  MessageRead: (past, { agentId, seq }) => mark(past, String(agentId), Number(seq), Number(seq)),
  SummaryPublished: (past, { revision }) => {
    past.revision = Number(revision)
  },
  ChatUpdated: (past, { change, round }) => {
    if (change !== 'reopened') return
    Object.assign(past, { round: Number(round), isClosed: false, terminationReason: null })
    for (const [id, who] of past.known) if (isAgent(id) && who.state === 'ended') who.state = 'present'
  },
  ConversationTerminated: (past, { reason }) => {
    Object.assign(past, { isClosed: true, terminationReason: reason })
    if (past.speaker !== null) Object.assign(past, { speaker: null, floorEpoch: past.floorEpoch + 1 })
    for (const who of past.known.values()) if (who.state === 'present') who.state = 'ended'
  },
}

/** What the events of a conversation, in their order, make of it; null without its beginning. */
export function conversationFrom(events: readonly Happening[]): ConversationHistory | null {
  const [created, ...rest] = events
  if (created?.type !== 'ChatCreated') return null
  const {
    creatorId,
    participants,
    roles = {},
  } = created.data as { creatorId: string; participants: string[]; roles?: Record<string, ChatRole> }
  const past: Past = {
    ...{ createdBy: creatorId, createdAt: created.at, round: 1, isClosed: false, terminationReason: null, participants: [] },
    ...{ speaker: null, floorEpoch: 0, messageCount: 0, revision: 0 },
    known: new Map(participants.map((id) => [id, { role: roles[id] ?? 'member', state: 'present', deliveredSeq: 0, readSeq: 0 }])),
  }
  for (const event of rest) STEPS[event.type]?.(past, event.data)
  const { known, ...conversation } = past
  const present = [...known].filter(([, { state }]) => state === 'present')
  return { ...conversation, participants: present.map(([id, { state: _state, ...who }]) => ({ id, ...who })) }
}

/** What the events of an agent make of it; null without its introduction. */
export function agentFrom(events: readonly Happening[]): AgentHistory | null {
  let agent = null as AgentHistory | null
  for (const { type, data, at } of events) {
    const { role = '', brain = '' } = (data.manifest ?? {}) as { role?: string; brain?: string }
    if (type === 'AgentIntroduced') agent = { role, brain, isRetired: false, introducedAt: at }
    else if (type === 'ManifestUpdated' && agent !== null) agent = { ...agent, role, brain }
    else if (type === 'AgentRetired' && agent !== null) agent = { ...agent, isRetired: true }
  }
  return agent
}

function mark({ known }: Past, id: string, deliveredSeq: number, readSeq: number): void {
  const who = known.get(id)
  if (who === undefined) return
  who.deliveredSeq = Math.max(who.deliveredSeq, deliveredSeq)
  who.readSeq = Math.max(who.readSeq, readSeq)
}
