import type { Severity } from './types.ts'

/** Conversations, digests and evidence, as the API and the conversation's own WebSocket tell them. All text in them is shown as text. */

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

/** As people said; null: nobody has yet. Shares are 0 to 1. */
export interface ProactiveQuality {
  begun: number
  rated: number
  accuracy: number | null
  satisfaction: number | null
  adoption: number | null
}

export interface Participant {
  id: string
  role: string
  joinedAt: number
  leftAt: number | null
  /** Of an agent, in all rounds; absent: none. */
  turns?: number
  tokens?: number
  /** Place up to which it has read what was said; absent: nothing. */
  readSeq?: number
}

export interface Conversation {
  id: string
  chatType: 'private' | 'group'
  title: string
  incidentId: string | null
  createdBy: string
  createdAt: number
  lastActivity: number
  participants: Participant[]
  state: ConversationState
  round: number
  terminationReason: string | null
  terminatedAt: number | null
  severity: Severity
  turns: number
  /** In all rounds; tokens as providers said. */
  totalTurns: number
  totalTokens: number
  messageCount: number
  speaker: string | null
  floorEpoch: number
  waiting: string[]
  /** Of the digest that is published; 0: none yet. */
  revision: number
  version: number
}

export interface Author {
  kind: 'local' | 'model' | 'human'
  provider: string | null
  model: string | null
}

export interface Message {
  id: string
  seq: number
  from: string
  to: string | null
  at: number
  kind: 'message' | 'finding' | 'digest' | 'question' | 'answer' | 'statement'
  content: string
  isPrivate: boolean
  author: Author
  /** What a model's provider said; absent: no model was asked. */
  metadata?: { tokens: number | null; model: string | null }
  /** Ids. */
  evidence: string[]
}

export interface DigestRating {
  stars: number
  verdict: 'right' | 'partly' | 'wrong'
  note: string
  by: string
  at: number
}

export interface DigestClaim {
  id: string
  says: string
  figure: string
  device: string | null
  metric: string | null
  window: { from: number; to: number } | null
  /** Handles. */
  evidence: string[]
}

export interface Digest {
  incident: string
  revision: number
  status: string
  publishedAt: number
  asOf: number
  label: string
  author: Author
  headline: string
  sections: { title: string; lines: string[] }[]
  level: string
  causes: { code: string; level: string }[]
  /** Ids of evidence by handle. */
  evidence: Record<string, string>
  claims: DigestClaim[]
  gaps: { code: string; check: string | null; says: string }[]
  verification: { checkedBy: string; claims: number }
  rating: DigestRating | null
}

export interface Evidence {
  id: string
  kind: string
  status: 'success' | 'no_data' | 'error'
  asOf: number
  query: Record<string, unknown>
  result: Record<string, number | string | null>
  refs: { device: string; metric: string; ts: number }[]
  truncated: boolean
}

export interface DigestNotice {
  revision: number
  label: string
  rating: DigestRating | null
}

/** What the WebSocket of a conversation sends. */
export type ConversationFrame =
  | { type: 'conversation'; conversation: Conversation }
  | { type: 'floor'; speaker: string | null; floorEpoch: number; waiting: string[] }
  | { type: 'message'; message: Message }
  | { type: 'digest'; digest: DigestNotice }
  | { type: 'caught-up'; seq: number }

/** On the live stream: something happened in a conversation. */
export interface ConversationHint {
  conversation: string
  change: string
}
