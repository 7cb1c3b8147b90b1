import type { ConversationState, TerminationReason } from '../../contracts/conversation.ts'
import { tell } from '../bus/outbox.ts'
import { FLOOR_RANKS, grant, release, request, revokeExpired, type FloorLimits, type FloorRank } from '../floor/floor.ts'
import { isAgent, present, seatOf, sitting, type ConversationDocument, type Words } from './conversation-document.ts'
import { caughtUp } from './receipts.ts'
import { takeWords } from './speaking.ts'
import { dueReason, endOf, terminate, type TerminationLimits } from './termination.ts'

/** Where the conversation is while this agent has its say. */
const STATE_OF_SPEAKER: Readonly<Record<string, ConversationState>> = {
  'agent:triage': 'open',
  'agent:watchdog': 'open',
  'agent:diagnostics': 'gathering',
  'agent:historian': 'discussing',
  'agent:reporter': 'reporting',
}
const LOOPS: ReadonlySet<TerminationReason> = new Set(['similarity', 'no_new_evidence'])
export const REPORTER = 'agent:reporter'
export const DISPATCHER = 'agent:dispatcher'

export type Limits = TerminationLimits &
  FloorLimits & {
    similarityThreshold: number
    recentMax: number
    knownMax: number
    participantsMax: number
    pendingMax: number
    retryTurnMs: number
  }

/**
 * The moderator, which is code and no agent: takes the floor from whom it expired, lets people speak who wait with their words, ends what
 * is to end, calls who is next, and says when to look again. After each step; it does nothing twice.
 */
export function moderate(conversation: ConversationDocument, nowMs: number, limits: Limits): ConversationDocument {
  let next = withoutExpired(conversation, nowMs, limits)
  next = heard(next, nowMs, limits)
  next = orEnded(next, nowMs, limits)
  next = called(next, nowMs, limits)
  const dueAt = dueOf(next, limits)
  return dueAt === next.dueAt ? next : { ...next, dueAt }
}

function withoutExpired(conversation: ConversationDocument, nowMs: number, limits: Limits): ConversationDocument {
  const { floor, id, errors } = conversation
  const revoked = revokeExpired(floor, nowMs)
  if (revoked === floor || floor.holder === null) return conversation
  const { participant } = floor.holder
  const told = tell(
    { ...conversation, floor: revoked },
    'FloorRevoked',
    { chatId: id, agentId: participant, floorEpoch: revoked.epoch },
    nowMs,
  )
  return failed({ ...told, errors: errors + 1 }, participant, limits)
}

/** An agent that fails again and again is left out, where others can go on without it. */
export function failed(conversation: ConversationDocument, participant: string, limits: TerminationLimits): ConversationDocument {
  const { errors, plan, floor } = conversation
  if (errors < limits.errorsMax || plan[0] !== participant || plan.length < 2) return conversation
  const queue = floor.queue.filter((entry) => entry.participant !== participant || entry.words !== null)
  return { ...conversation, errors: 0, plan: plan.slice(1), floor: { ...floor, queue } }
}

/** People's words that wait are said at the boundary between two turns. */
function heard(conversation: ConversationDocument, nowMs: number, limits: Limits): ConversationDocument {
  let next = conversation
  while (next.state !== 'closed') {
    const granted = grant(next.floor, 'moderator', nowMs, limits)
    if (granted.status !== 'granted' || granted.request.words === null) return next
    const { participant, words } = granted.request
    next = caughtUp({ ...next, floor: granted.floor }, participant)
    next = tell(next, 'FloorGranted', { chatId: next.id, agentId: participant, floorEpoch: granted.floor.epoch }, nowMs)
    next = takeWords(next, participant, granted.floor.epoch, words, nowMs, limits)
    next = { ...next, floor: release(next.floor, participant, granted.floor.epoch) }
    next = tell(next, 'FloorReleased', { chatId: next.id, agentId: participant, floorEpoch: granted.floor.epoch }, nowMs)
    next = addressed(next, participant, words)
  }
  return next
}

/** Questions of one conversation that wait for answers. */
const QUESTIONS_MAX = 20

/** Whoever was asked answers, before anything else; in a conversation about an incident the reporter, where nobody was named. */
function addressed(conversation: ConversationDocument, from: string, { kind, to, content, isPrivate }: Words): ConversationDocument {
  const { plan, questions, nextSeq } = conversation
  const asked = to ?? (conversation.incidentId === null ? null : sitting(conversation, REPORTER))
  if (kind !== 'question' || asked === null || !isAgent(asked) || present(conversation, asked) === undefined) return conversation
  if (questions.length >= QUESTIONS_MAX) return conversation
  return { ...conversation, plan: [asked, ...plan], questions: [...questions, { seq: nextSeq - 1, from, to: asked, content, isPrivate }] }
}

/**
 * Neither a loop nor the end of its time costs an incident its digest: the reporter has the last word. The time for that begins when
 * somebody looks, so that a round whose agents or stores were away is not over when they come back.
 */
function orEnded(conversation: ConversationDocument, nowMs: number, limits: Limits): ConversationDocument {
  const reason = dueReason(conversation, nowMs, limits)
  if (reason === null) return conversation
  const { mode, plan, floor, lastWordAt } = conversation
  const isTimeOver = reason === 'timeout' && (lastWordAt ?? null) === null
  const reporter = plan.find((each) => seatOf(conversation, each) === REPORTER)
  if (!(isTimeOver || LOOPS.has(reason)) || mode !== 'protocol' || reporter === undefined) return terminate(conversation, reason, nowMs)
  const queue = floor.queue.filter(({ participant, words }) => words !== null || participant === reporter)
  const last = { ...conversation, plan: [reporter], quietTurns: 0, similarTurns: 0, floor: { ...floor, queue } }
  return isTimeOver ? { ...last, errors: 0, lastWordAt: nowMs } : last
}

function called(conversation: ConversationDocument, nowMs: number, limits: Limits): ConversationDocument {
  const { floor, state, id } = conversation
  if (state === 'closed' || floor.holder !== null || floor.queue.length > 0) return conversation
  const next = nextSpeaker(conversation)
  if (next === null) return conversation
  return asked(conversation, next, FLOOR_RANKS.called, `called in ${id}`, nowMs, limits)
}

/** Asks for the floor for somebody. */
export function asked(
  conversation: ConversationDocument,
  participant: string,
  rank: FloorRank,
  reason: string,
  nowMs: number,
  limits: Limits,
): ConversationDocument {
  const requested = request(conversation.floor, { participant, rank, reason, words: null }, nowMs, limits)
  if (requested.status !== 'queued') return conversation
  const entered = { ...conversation, floor: requested.floor }
  return tell(entered, 'FloorRequested', { chatId: conversation.id, agentId: participant, priority: rank }, nowMs)
}

/** By the plan, else in a discussion the agent after the one who spoke last. The first speaker is the first who joined. */
export function nextSpeaker({ plan, mode, participants, recent }: ConversationDocument): string | null {
  if (plan[0] !== undefined) return plan[0]
  if (mode !== 'discussion') return null
  const agents = participants.filter(({ id, leftAt }) => leftAt === null && isAgent(id)).map(({ id }) => id)
  const last = recent.at(-1)?.from
  const next = agents[(agents.indexOf(last ?? '') + 1) % agents.length]
  return next === undefined || next === last ? null : next
}

function dueOf(conversation: ConversationDocument, limits: Limits): number | null {
  const { state, floor } = conversation
  if (state === 'closed') return null
  const end = endOf(conversation, limits).at
  if (floor.holder !== null) return Math.min(end, floor.holder.leaseUntil)
  if (floor.queue.length === 0) return end
  // Whoever failed is not called again at once: what it needs may be there in a moment.
  const asked = Math.min(...floor.queue.map(({ at }) => at))
  return Math.min(end, conversation.errors === 0 ? asked : conversation.lastActivity + conversation.errors * limits.retryTurnMs)
}

/** The state in which this speaker works; people change nothing of it. */
export function stateOfSpeaker(conversation: ConversationDocument, participant: string): ConversationState {
  if (conversation.mode !== 'protocol') return conversation.state
  return STATE_OF_SPEAKER[seatOf(conversation, participant)] ?? conversation.state
}
