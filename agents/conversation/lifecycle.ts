import type { ChatRole, ChatType, Participant, TerminationReason } from '../../contracts/conversation.ts'
import type { Severity } from '../../contracts/alert.ts'
import type { Digest } from '../../contracts/digest.ts'
import { tell } from '../bus/outbox.ts'
import { EMPTY_FLOOR, FLOOR_RANKS, grant, holds, release, request, withdraw, type FloorRank } from '../floor/floor.ts'
import { isAgent, isErased, present, seatOf, sitting, type ConversationDocument, type Mode, type Words } from './conversation-document.ts'
import { mayBeActedOn } from '../causes/catalogue.ts'
import { asked, DISPATCHER, failed, moderate, REPORTER, stateOfSpeaker, type Limits } from './moderation.ts'
import { afterTurn, takenBy } from './figures.ts'
import { caughtUp, receiptOf } from './receipts.ts'
import { takeWords } from './speaking.ts'
import { terminate } from './termination.ts'

/** Pure steps of a conversation's life. Each ends with the moderator's look, so that a stored conversation always knows what is due. */

export interface Opening {
  id: string
  tenant: string
  chatType: ChatType
  mode: Mode
  title: string
  createdBy: string
  participants: readonly { id: string; role: ChatRole }[]
  incident?: { id: string; sequence: number; severity: Severity; deviceCount: number; site: string }
  plan?: readonly string[]
  correlationId: string
}

export function open(opening: Opening, nowMs: number, limits: Limits): ConversationDocument {
  const { id, tenant, chatType, mode, title, createdBy, incident, plan, correlationId } = opening
  const participants = opening.participants.map((each) => ({ ...each, joinedAt: nowMs, leftAt: null }))
  const conversation: ConversationDocument = {
    ...{ v: 1, id, tenant, chatType, mode, title, createdBy, createdAt: nowMs, lastActivity: nowMs, participants },
    ...{ incidentId: incident?.id ?? null, incidentSequence: incident?.sequence ?? 0 },
    ...{ severity: incident?.severity ?? 'warning', deviceCount: incident?.deviceCount ?? 0, site: incident?.site ?? '' },
    ...{ state: 'open', round: 1, rounds: [], terminationReason: null, terminatedAt: null },
    ...{ plan: [...(plan ?? [])], roundStartedAt: nowMs, turns: 0, quietTurns: 0, similarTurns: 0, errors: 0 },
    ...{ knownEvidence: [], knownCauses: [], recent: [], questions: [], nextSeq: 1, floor: EMPTY_FLOOR, spoken: [] },
    ...{ evidenceHash: null, revision: 0, isResolved: false, dueAt: null, correlationId, sequence: 0, outbox: [], unpublishedSince: null },
  }
  const created = {
    chatId: id,
    creatorId: createdBy,
    participants: participants.map((each) => each.id),
    roles: Object.fromEntries(participants.map((each) => [each.id, each.role])),
    chatType,
    incidentId: incident?.id ?? null,
  }
  return moderate(tell(conversation, 'ChatCreated', created, nowMs), nowMs, limits)
}

export type Taken =
  { status: 'granted'; conversation: ConversationDocument; participant: string; epoch: number } | { status: 'busy' | 'empty' }

/** A worker takes the floor for whoever is next. */
export function take(conversation: ConversationDocument, worker: string, nowMs: number, limits: Limits): Taken {
  const ready = moderate(conversation, nowMs, limits)
  if (ready.state === 'closed') return { status: 'empty' }
  const granted = grant(ready.floor, worker, nowMs, limits)
  if (granted.status !== 'granted') return { status: granted.status }
  const { participant } = granted.request
  const { epoch } = granted.floor
  const state = stateOfSpeaker(ready, participant)
  const told = tell(
    caughtUp({ ...ready, floor: granted.floor, state }, participant),
    'FloorGranted',
    { chatId: ready.id, agentId: participant, floorEpoch: epoch },
    nowMs,
  )
  return { status: 'granted', conversation: moderate(told, nowMs, limits), participant, epoch }
}

export interface Speech {
  participant: string
  epoch: number
  words: Words
  /** Where the words are a digest: the whole of it, told on its own topic. */
  digest?: Digest
  /** Of a digest: its speaker wants another turn, after those who were asked. */
  again?: boolean
}
export type Spoken = { status: 'said'; conversation: ConversationDocument } | { status: 'stale' | 'ended' | 'too-much' }

/** Says it and gives the floor back in one step; whoever lost the floor says nothing. */
export function speak(conversation: ConversationDocument, speech: Speech, nowMs: number, limits: Limits): Spoken {
  const { participant, epoch, words, digest, again = false } = speech
  if (conversation.state === 'closed') return { status: 'ended' }
  if (!holds(conversation.floor, participant, epoch)) return { status: 'stale' }
  if (isCrowded(conversation, limits)) return { status: 'too-much' }
  let next = takeWords(conversation, participant, epoch, words, nowMs, limits)
  next = given({ ...next, plan: withoutFirst(next.plan, participant) }, participant, epoch, nowMs)
  if (words.kind === 'answer') next = { ...next, questions: answered(next.questions, participant) }
  if (digest !== undefined) next = published(next, digest, again ? [participant] : [], nowMs)
  if (words.control === 'done' && mayEnd(next, participant)) next = terminate(next, 'termination_phrase', nowMs)
  return { status: 'said', conversation: moderate(next, nowMs, limits) }
}

/** Ends a turn without words. `failure` counts against the agent; where it names why nothing can go on, the round ends with it. */
export function yieldFloor(
  conversation: ConversationDocument,
  turn: { participant: string; epoch: number },
  end: 'nothing-to-say' | 'failed' | Extract<TerminationReason, 'circuit_open' | 'rate_limited' | 'budget_exhausted'>,
  nowMs: number,
  limits: Limits,
): ConversationDocument {
  const { participant, epoch } = turn
  if (!holds(conversation.floor, participant, epoch)) return conversation
  const { turns, errors, quietTurns, plan } = conversation
  const taken = { turns: turns + 1, participants: afterTurn(conversation.participants, participant, 0) }
  let next: ConversationDocument = given({ ...conversation, ...taken, lastActivity: nowMs }, participant, epoch, nowMs)
  if (end === 'nothing-to-say') next = asBefore({ ...next, quietTurns: quietTurns + 1, errors: 0, plan: withoutFirst(plan, participant) })
  else if (end === 'failed') next = failed({ ...next, errors: errors + 1 }, participant, limits)
  else next = terminate(next, end, nowMs)
  return moderate(next, nowMs, limits)
}

/** Looked at again with nothing new: the digest that is published stands. */
function asBefore(conversation: ConversationDocument): ConversationDocument {
  const { mode, plan, revision } = conversation
  if (mode !== 'protocol' || plan.length > 0 || revision === 0) return conversation
  return { ...conversation, mode: 'addressed', state: 'published', quietTurns: 0, similarTurns: 0 }
}

/** The digest is out: from here on agents speak when they are asked, those first who were asked already. */
function published(conversation: ConversationDocument, digest: Digest, then: readonly string[], nowMs: number): ConversationDocument {
  const { participants, questions, id, isResolved } = conversation
  const people = participants.some((each) => each.leftAt === null && !isAgent(each.id))
  const { evidenceHash, revision } = digest
  // What can be done about it is thought of when what happened is told, and holds nobody up.
  const dispatcher = sitting(conversation, DISPATCHER)
  const dispatching = dispatcher !== null && digest.causes.some(mayBeActedOn) ? [dispatcher] : []
  const next: ConversationDocument = {
    ...conversation,
    ...{ evidenceHash, revision, mode: 'addressed', plan: [...questions.map(({ to }) => to), ...dispatching, ...then] },
    state: people ? 'human-active' : 'published',
  }
  const told = tell(next, 'SummaryPublished', { ...digest, chatId: id }, nowMs)
  return isResolved && !people ? terminate(told, 'alert_resolved', nowMs) : told
}

function answered(questions: ConversationDocument['questions'], by: string): ConversationDocument['questions'] {
  const at = questions.findIndex(({ to }) => to === by)
  return questions.filter((_each, i) => i !== at)
}

function given(conversation: ConversationDocument, participant: string, epoch: number, nowMs: number): ConversationDocument {
  const { id, floor } = conversation
  const released = { ...conversation, floor: release(floor, participant, epoch) }
  return tell(released, 'FloorReleased', { chatId: id, agentId: participant, floorEpoch: epoch }, nowMs)
}

function withoutFirst(plan: readonly string[], participant: string): string[] {
  const at = plan.indexOf(participant)
  return plan.filter((_each, i) => i !== at)
}

export type Entered =
  { status: 'queued' | 'said' | 'repeated'; conversation: ConversationDocument } | { status: 'ended' | 'full' | 'too-much' }

/** Asks for the floor; with words, they are said at the next boundary between turns: at once when nobody speaks. */
export function ask(
  conversation: ConversationDocument,
  participant: string,
  request_: { rank?: FloorRank; reason: string; words: Words | null },
  nowMs: number,
  limits: Limits,
): Entered {
  const { words, reason } = request_
  if (conversation.state === 'closed') return { status: 'ended' }
  if (words !== null && isCrowded(conversation, limits)) return { status: 'too-much' }
  const rank = request_.rank ?? (isAgent(participant) ? FLOOR_RANKS.agent : FLOOR_RANKS.human)
  if (words === null) {
    const entered = asked(conversation, participant, rank, reason, nowMs, limits)
    if (entered !== conversation) return { status: 'queued', conversation: moderate(entered, nowMs, limits) }
    return conversation.floor.queue.length >= limits.requestsMax ? { status: 'full' } : { status: 'repeated', conversation }
  }
  const queued = request(conversation.floor, { participant, rank, reason, words }, nowMs, limits)
  if (queued.status !== 'queued') return { status: 'full' }
  const told = tell(
    { ...conversation, floor: queued.floor },
    'FloorRequested',
    { chatId: conversation.id, agentId: participant, priority: rank },
    nowMs,
  )
  const heard = moderate(told, nowMs, limits)
  return { status: heard.nextSeq > conversation.nextSeq ? 'said' : 'queued', conversation: heard }
}

/** Somebody takes part from now on. A person who joins what is published makes it theirs: agents speak when they are asked. */
export function join(
  conversation: ConversationDocument,
  id: string,
  role: ChatRole,
  nowMs: number,
  limits: Limits,
): ConversationDocument | 'full' {
  if (present(conversation, id) !== undefined) return conversation
  const before = conversation.participants.find((each) => each.id === id)
  const known = conversation.participants.filter((each) => each !== before)
  if (known.length >= limits.participantsMax) return 'full'
  const participants = [...known, { id, role, joinedAt: nowMs, leftAt: null, ...receiptOf(before ?? {}), ...takenBy(before ?? {}) }]
  const isTheirs = !isAgent(id) && conversation.mode === 'addressed' && conversation.state === 'published'
  const next: ConversationDocument = {
    ...conversation,
    participants,
    lastActivity: nowMs,
    ...(isTheirs ? { state: 'human-active' as const } : {}),
  }
  return moderate(tell(next, 'ParticipantJoined', { chatId: conversation.id, agentId: id, role }, nowMs), nowMs, limits)
}

/** Somebody leaves; what it asked for and had is free. Where no agent is left that was to speak, the round ends. */
export function leave(
  conversation: ConversationDocument,
  id: string,
  nowMs: number,
  limits: Limits,
  why: 'left' | 'agent_retired' = 'left',
): ConversationDocument {
  if (present(conversation, id) === undefined) return conversation
  const participants = conversation.participants.map((each) => (each.id === id ? { ...each, leftAt: nowMs, leftWhy: why } : each))
  const plan = conversation.plan.filter((each) => each !== id)
  const hadFloor = conversation.floor.holder?.participant === id
  let next: ConversationDocument = { ...conversation, participants, plan, floor: withdraw(conversation.floor, id), lastActivity: nowMs }
  if (hadFloor) next = tell(next, 'FloorRevoked', { chatId: next.id, agentId: id, floorEpoch: next.floor.epoch }, nowMs)
  next = tell(next, 'ParticipantLeft', { chatId: next.id, agentId: id, reason: why }, nowMs)
  const people = participants.filter((each) => each.leftAt === null && !isAgent(each.id))
  if (next.state === 'human-active' && people.length === 0 && next.incidentId !== null) next = { ...next, state: 'published' }
  const stays = participants.some((each) => each.leftAt === null && isAgent(each.id))
  const isLost = why === 'agent_retired' && (!stays || (next.mode === 'protocol' && plan.length === 0))
  return moderate(isLost ? terminate(next, 'agent_retired', nowMs) : next, nowMs, limits)
}

/** Takes a closed conversation up again: a new round with its own end. */
export function reopen(
  conversation: ConversationDocument,
  again: { mode: Mode; plan: readonly string[]; by: string },
  nowMs: number,
  limits: Limits,
): ConversationDocument {
  if (conversation.state !== 'closed' || isErased(conversation)) return conversation
  const { id, round } = conversation
  const participants = conversation.participants.map((each) => (comesBack(each) ? stays({ ...each, joinedAt: nowMs }) : each))
  const state = again.mode === 'protocol' || conversation.incidentId === null ? 'open' : conversation.revision > 0 ? 'published' : 'open'
  const next: ConversationDocument = {
    ...conversation,
    ...{ state, round: round + 1, terminationReason: null, terminatedAt: null, participants },
    ...{ mode: again.mode, plan: [...again.plan], roundStartedAt: nowMs, lastWordAt: null, lastActivity: nowMs },
    ...{ turns: 0, quietTurns: 0, similarTurns: 0, errors: 0, knownEvidence: [], knownCauses: [], recent: [], questions: [] },
  }
  return moderate(tell(next, 'ChatUpdated', { chatId: id, change: 'reopened', round: round + 1, by: again.by }, nowMs), nowMs, limits)
}

/** An agent that was there when the round ended; who went before that stays away. */
function comesBack({ id, leftAt, leftWhy = 'ended' }: Participant): boolean {
  return isAgent(id) && leftAt !== null && leftWhy === 'ended'
}
function stays({ leftWhy: _leftWhy, ...participant }: Participant): Participant {
  return { ...participant, leftAt: null }
}

/** Nobody may know of it any more. What it was goes from the stores when everybody was told. */
export function erase(conversation: ConversationDocument, nowMs: number, limits: Limits): ConversationDocument {
  if (isErased(conversation)) return conversation
  const ended = terminate(conversation, 'user_interrupt', nowMs)
  return moderate(tell({ ...ended, erasedAt: nowMs }, 'ChatDeleted', { chatId: conversation.id }, nowMs), nowMs, limits)
}

/** What became of the incident. Repeated or late changes do nothing. */
export function follow(
  conversation: ConversationDocument,
  change: { sequence: number; severity: Severity; deviceCount: number; isResolved: boolean; isNew: boolean },
  plans: { first: readonly string[]; again: readonly string[] },
  nowMs: number,
  limits: Limits,
): ConversationDocument {
  const { incidentSequence, state, mode, participants } = conversation
  if (change.sequence <= incidentSequence || isErased(conversation)) return conversation
  const { sequence, severity, deviceCount, isResolved, isNew } = change
  const next: ConversationDocument = { ...conversation, incidentSequence: sequence, severity, deviceCount, isResolved }
  if (isResolved) {
    // Who is there may go on; a digest under way is finished first.
    const people = participants.some((each) => each.leftAt === null && !isAgent(each.id))
    return moderate(mode === 'protocol' || people ? next : terminate(next, 'alert_resolved', nowMs), nowMs, limits)
  }
  if (state === 'closed') return isNew ? reopen(next, { mode: 'protocol', plan: plans.first, by: 'system' }, nowMs, limits) : next
  if (!isNew || mode === 'protocol') return moderate(next, nowMs, limits)
  return renew(next, plans.again, 'system', nowMs, limits)
}

/** The agents look again, in this order; where they do already, nothing changes. */
export function renew(
  conversation: ConversationDocument,
  plan: readonly string[],
  by: string,
  nowMs: number,
  limits: Limits,
): ConversationDocument {
  if (conversation.state === 'closed' || conversation.mode === 'protocol') return conversation
  const renewed: ConversationDocument = {
    ...conversation,
    ...{ mode: 'protocol', plan: [...conversation.plan, ...plan], roundStartedAt: nowMs, lastWordAt: null },
    ...{ turns: 0, quietTurns: 0, similarTurns: 0 },
  }
  return moderate(tell(renewed, 'ChatUpdated', { chatId: conversation.id, change: 'renewed', by }, nowMs), nowMs, limits)
}

/** A person or the platform ends it. */
export function end(conversation: ConversationDocument, reason: TerminationReason, nowMs: number, limits: Limits): ConversationDocument {
  return moderate(terminate(conversation, reason, nowMs), nowMs, limits)
}

/** Only who may end the conversation ends it with a word. */
function mayEnd(conversation: ConversationDocument, participant: string): boolean {
  const role = present(conversation, participant)?.role
  return role === 'owner' || role === 'admin' || seatOf(conversation, participant) === REPORTER
}

/** The log does not take what happened: nothing more may happen until it does. */
function isCrowded({ outbox, spoken }: ConversationDocument, { pendingMax }: Limits): boolean {
  return outbox.length >= pendingMax || spoken.length >= pendingMax
}
