import type { Logger } from '../../kernel/log.ts'
import type { StoredConversation, Words } from '../conversation/conversation-document.ts'
import type { Digest } from '../../contracts/digest.ts'

/** One turn of one agent. */
export interface Turn {
  conversation: StoredConversation
  /** Without `agent:`. */
  agent: string
  participant: string
  epoch: number
  /** The question that waits for this agent, if any: it answers before anything else. */
  question: { seq: number; from: string; content: string; isPrivate: boolean } | null
  /** Aborts when the lease is about to end, the floor is lost or the conversation is over. */
  signal: AbortSignal
  log: Logger
  /** Is this among so many most important conversations about incidents that opened within so long? Absent: there are no others. */
  isAmongTop?: (most: number, withinMs: number) => Promise<boolean>
}

/** How a turn ends. What it throws counts as failed. */
export type TurnResult =
  /** `again`: the speaker of a digest wants another turn, after those who were asked. `tokens`: that a model wrote for it. */
  | { status: 'said'; words: Words; digest?: Digest; again?: boolean; tokens?: number }
  | { status: 'nothing-to-say' }
  | { status: 'failed'; why: string }
  | { status: 'circuit_open' | 'rate_limited' | 'budget_exhausted' }

/** What an agent of one role does when it has the floor. It may be repeated after a crash: what it writes must be the same then. */
export interface Speaker {
  speak(turn: Turn): Promise<TurnResult>
}
