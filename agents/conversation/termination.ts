import type { TerminationReason } from '../../contracts/conversation.ts'
import type { AgentsConfig } from '../config.ts'
import { clear } from '../floor/floor.ts'
import { tell } from '../bus/outbox.ts'
import type { ConversationDocument } from './conversation-document.ts'

/** Ends of rounds kept. */
const ROUNDS_MAX = 20

export type TerminationLimits = Pick<
  AgentsConfig,
  'turnsMax' | 'discussionTurnsMax' | 'summaryTimeoutMs' | 'idleTimeoutMs' | 'errorsMax' | 'quietTurnsMax' | 'similarTurnsMax'
>

/** Ends the round: the first reason stands, nobody speaks any more, everybody is out. */
export function terminate(conversation: ConversationDocument, reason: TerminationReason, nowMs: number): ConversationDocument {
  if (conversation.state === 'closed') return conversation
  const { id, round, turns, participants, rounds } = conversation
  const ended: ConversationDocument = {
    ...conversation,
    state: 'closed',
    terminationReason: reason,
    terminatedAt: nowMs,
    lastActivity: nowMs,
    rounds: [...rounds, { round, reason, at: nowMs }].slice(-ROUNDS_MAX),
    participants: participants.map((each) => (each.leftAt === null ? { ...each, leftAt: nowMs, leftWhy: 'ended' as const } : each)),
    floor: clear(conversation.floor),
    plan: [],
  }
  return tell(ended, 'ConversationTerminated', { chatId: id, reason, round, turns }, nowMs)
}

/** What ends the round now by itself, if anything. */
export function dueReason(conversation: ConversationDocument, nowMs: number, limits: TerminationLimits): TerminationReason | null {
  const { state, mode, incidentId, turns, errors, similarTurns, quietTurns } = conversation
  if (state === 'closed') return null
  const isUnderWay = mode !== 'addressed'
  if (isUnderWay) {
    if (turns >= (incidentId === null ? limits.discussionTurnsMax : limits.turnsMax)) return 'max_turns'
    if (errors >= limits.errorsMax) return 'consecutive_errors'
    if (similarTurns >= limits.similarTurnsMax) return 'similarity'
    if (quietTurns >= limits.quietTurnsMax) return 'no_new_evidence'
  }
  const deadline = endOf(conversation, limits)
  if (deadline.at > nowMs) return null
  return deadline.reason
}

/** When the round's time is over, if nothing happens before; about an incident the reporter then has as long for the last word. */
export function endOf(
  { mode, incidentId, state, roundStartedAt, lastWordAt, lastActivity }: ConversationDocument,
  limits: TerminationLimits,
): { at: number; reason: TerminationReason } {
  const isSummary = incidentId !== null && mode === 'protocol'
  if (isSummary) return { at: (lastWordAt ?? roundStartedAt) + limits.summaryTimeoutMs, reason: 'timeout' }
  return { at: lastActivity + limits.idleTimeoutMs, reason: state === 'published' ? 'goal_met' : 'timeout' }
}
