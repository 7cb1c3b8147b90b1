import { Type, type TSchema } from 'typebox'
import { AuthorSchema, TERMINATION_REASONS } from '../../contracts/conversation.ts'
import type { CheckResult } from '../../kernel/schema.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { EVENT_TYPES, isEventType, type EventType } from './event-types.ts'

const text = Type.String({ maxLength: 200_000 })
const id = Type.String({ minLength: 1, maxLength: 200 })
const idOrNull = Type.Union([id, Type.Null()])
const ids = Type.Array(id, { maxItems: 5_000 })
const count = Type.Integer({ minimum: 0 })

/** In every event: what it is called and when it was. More members than a version knows are let pass: newer versions add, and never take away. */
function event(type: EventType, members: Record<string, TSchema>): TSchema {
  return Type.Object({ eventType: Type.Literal(type), timestamp: Type.String({ format: 'date-time' }), ...members })
}

const manifest = { agentId: id, manifest: Type.Object({ role: id, brain: id, status: id }) }
const profile = {
  agentId: id,
  manifest: Type.Object({
    ...{ role: id, brain: id, status: id },
    ...{ name: Type.Optional(text), bio: Type.Optional(text), availableResources: Type.Optional(ids) },
  }),
}

const floor = (type: EventType) => event(type, { chatId: id, agentId: id, floorEpoch: count })

const MESSAGE_SENT_1 = { messageId: id, from: id, to: idOrNull, chatId: id, content: Type.Union([text, Type.Null()]) }

const SUMMARY_PUBLISHED_1 = {
  ...{ chatId: id, incident: id, revision: Type.Integer({ minimum: 1 }), headline: text, level: id, label: text, evidenceHash: id },
  sections: Type.Array(Type.Object({ title: text, lines: Type.Array(text) })),
}

/** Everything that was said up to this place. */
const marked = (type: EventType) => event(type, { chatId: id, agentId: id, seq: Type.Integer({ minimum: 1 }) })

/** Versions of each event, oldest first. A published version never changes: a change is a new version, which must read the old one's events. */
export const EVENT_SCHEMAS: Readonly<Record<EventType, readonly TSchema[]>> = {
  AgentIntroduced: [event('AgentIntroduced', manifest), event('AgentIntroduced', profile)],
  AgentRetired: [event('AgentRetired', { agentId: id })],
  ManifestUpdated: [event('ManifestUpdated', manifest), event('ManifestUpdated', profile)],
  ChatCreated: [
    event('ChatCreated', { chatId: id, creatorId: id, participants: ids }),
    event('ChatCreated', {
      ...{ chatId: id, creatorId: id, participants: ids },
      roles: Type.Optional(Type.Record(Type.String(), id)),
      chatType: Type.Optional(id),
      incidentId: Type.Optional(idOrNull),
    }),
  ],
  ChatUpdated: [event('ChatUpdated', { chatId: id, change: id })],
  ChatDeleted: [event('ChatDeleted', { chatId: id })],
  ParticipantJoined: [event('ParticipantJoined', { chatId: id, agentId: id, role: id })],
  ParticipantLeft: [event('ParticipantLeft', { chatId: id, agentId: id, reason: id })],
  FloorRequested: [event('FloorRequested', { chatId: id, agentId: id, priority: count })],
  FloorGranted: [floor('FloorGranted')],
  FloorReleased: [floor('FloorReleased')],
  FloorRevoked: [floor('FloorRevoked')],
  ConversationTerminated: [
    event('ConversationTerminated', {
      chatId: id,
      reason: Type.Unsafe({ type: 'string', enum: [...TERMINATION_REASONS] }),
      round: count,
      turns: count,
    }),
  ],
  ProposalCreated: [event('ProposalCreated', { proposalId: id, chatId: id, kind: id, target: id, diffHash: id })],
  ProposalDecided: [event('ProposalDecided', { proposalId: id, chatId: id, state: id, by: idOrNull })],
  ProposalSettled: [event('ProposalSettled', { proposalId: id, chatId: id, state: id, outcome: text })],
  AgentStatusUpdated: [
    event('AgentStatusUpdated', { agentId: id, newStatus: id }),
    event('AgentStatusUpdated', { agentId: id, newStatus: id, focus: Type.Optional(idOrNull), runState: Type.Optional(id) }),
  ],
  AttentionChanged: [event('AttentionChanged', { agentId: id, focus: idOrNull, waiting: count })],
  SummaryPublished: [
    event('SummaryPublished', SUMMARY_PUBLISHED_1),
    event('SummaryPublished', {
      ...SUMMARY_PUBLISHED_1,
      author: Type.Optional(AuthorSchema),
      publishedAt: Type.Optional(count),
      causes: Type.Optional(Type.Array(Type.Object({ code: id, level: id }))),
      evidence: Type.Optional(ids),
    }),
  ],
  SummaryRated: [
    event('SummaryRated', {
      ...{ chatId: id, incident: id, revision: Type.Integer({ minimum: 1 }), by: id, verdict: id },
      stars: Type.Integer({ minimum: 1, maximum: 5 }),
    }),
  ],
  MessageSent: [
    event('MessageSent', MESSAGE_SENT_1),
    event('MessageSent', {
      ...MESSAGE_SENT_1,
      seq: Type.Optional(Type.Integer({ minimum: 1 })),
      kind: Type.Optional(id),
      floorEpoch: Type.Optional(count),
      claims: Type.Optional(ids),
      evidence: Type.Optional(ids),
    }),
  ],
  MessageDelivered: [marked('MessageDelivered')],
  MessageRead: [marked('MessageRead')],
}

/** The version that is written. */
export function latestVersion(type: EventType): number {
  return EVENT_SCHEMAS[type].length
}

type Check = (value: unknown) => CheckResult<unknown>
const checks = new Map<string, Check>(
  EVENT_TYPES.flatMap((type) => EVENT_SCHEMAS[type].map((schema, i): [string, Check] => [`${type}/${i + 1}`, compileSchema(schema)])),
)

/** The oldest version whose readers can read what is written now: versions only add, which a test holds neighbours to. */
export const READABLE_FROM = 1

export type EventCheck = { status: 'valid' } | { status: 'unknown-type' | 'invalid'; why: string }

/**
 * Does this data fit its type? A version newer than any here is read as the newest here where its writer says that readers of that one can
 * (`readableFrom`); any other is unknown, and so is a type that is not here.
 */
export function checkEvent(type: string, version: number, data: unknown, readableFrom?: number): EventCheck {
  if (!isEventType(type) || !Number.isInteger(version) || version < 1) {
    return { status: 'unknown-type', why: `there is no event ${type}/${version}` }
  }
  const read = Math.min(version, latestVersion(type))
  if (read < version && !(readableFrom !== undefined && readableFrom >= 1 && readableFrom <= read)) {
    return { status: 'unknown-type', why: `${type}/${version} is unknown here: the newest version that can be read is ${read}` }
  }
  const result = (checks.get(`${type}/${read}`) as Check)(data)
  if (result.status === 'valid') return { status: 'valid' }
  const [fault] = result.faults
  return { status: 'invalid', why: `${type}/${version}: ${fault?.path ?? ''} ${fault?.problem ?? 'is not valid'}` }
}

/**
 * What makes a new version unfit to follow an old one: an event of either must be read by the other. `samples` are events of the old version
 * and of the new one, all of which both must accept. Empty: compatible.
 */
export function incompatibilities(
  older: TSchema,
  newer: TSchema,
  samples: { older: readonly unknown[]; newer: readonly unknown[] },
): string[] {
  const [readOlder, readNewer] = [compileSchema(older), compileSchema(newer)]
  const faults: string[] = []
  const see = (read: Check, value: unknown, what: string): void => {
    const result = read(structuredClone(value))
    if (result.status === 'invalid') faults.push(...result.faults.map(({ path, problem }) => `${what}: ${path} ${problem}`))
  }
  for (const sample of samples.older) see(readNewer, sample, 'the new version does not read an event of the old one')
  for (const sample of samples.newer) see(readOlder, sample, 'a consumer of the old version does not read an event of the new one')
  return faults
}
