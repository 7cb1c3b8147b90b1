import { Type } from 'typebox'
import type { Whose } from '../../../agents/events/event-desk.ts'
import { DEAD_LETTER_STATES, type DeadLetterPlace, type DeadLetterState } from '../../../agents/events/dead-letters.ts'
import type { JournalEntry } from '../../../agents/events/journal.ts'
import type { ReplayPlace } from '../../../agents/events/replay.ts'
import { deprecationOf } from '../../../agents/bus/deprecations.ts'
import { EVENT_SCHEMAS } from '../../../agents/bus/event-schemas.ts'
import { BUS_TOPICS, EVENT_TOPICS, EVENT_TYPES, type EventType } from '../../../agents/bus/event-types.ts'
import { AGENT_ID_PATTERN } from '../../../agents/roster/agent-document.ts'
import { CHAT_ROLES, type ChatRole } from '../../../contracts/conversation.ts'
import { InvalidInputError } from '../../../kernel/errors.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, decodeCursor, encodeCursor, LimitSchema, listOf, parseTime, TimeSchema } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const tags = ['events']
const TypeSchema = Type.Unsafe<EventType>({ type: 'string', enum: [...EVENT_TYPES] })
const TopicSchema = Type.Optional(Type.Unsafe<string>({ type: 'string', enum: [...BUS_TOPICS] }))
const WhoseSchema = {
  conversation: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'events of this conversation, in their order' })),
  agent: Type.Optional(Type.String({ pattern: AGENT_ID_PATTERN, description: 'events of this agent, in their order' })),
}
const DeprecationSchema = Type.Object({
  since: Type.String({ format: 'date', description: 'nothing writes it from then on' }),
  until: Type.String({ format: 'date', description: 'the earliest day on which it is read no more' }),
  replacedBy: Type.String({ description: '`Type/version`' }),
  retired: Type.Boolean({ description: 'it is refused' }),
})
const EventSchema = Type.Object({
  id: Type.String({ description: 'the same event has the same id, however often it is told' }),
  stream: Type.String({ description: '`conversation:ID` or `agent:TENANT/ID`' }),
  sequence: Type.Integer({ description: 'its place in the stream, from 1' }),
  type: TypeSchema,
  version: Type.Integer(),
  at: Type.Integer({ description: 'epoch ms' }),
  correlationId: Type.String(),
  data: Type.Record(Type.String(), Type.Unknown()),
})

/** What the agents told, in order; what it made of a conversation or an agent at any time; and events that could not be taken. */
export function eventRoutes(api: Api, context: RouteContext): void {
  listRoutes(api, context)
  stateRoute(api, context)
  replayRoute(api, context)
  deadLetterRoutes(api, context)
}

function listRoutes(api: Api, context: RouteContext): void {
  const { agentEvents } = context
  const querystring = Type.Object({
    ...WhoseSchema,
    ...{ type: Type.Optional(TypeSchema), from: TimeSchema, to: TimeSchema, limit: LimitSchema, cursor: CursorSchema },
  })
  api.get(
    '/events',
    {
      schema: {
        summary: 'Events of a conversation or an agent, in their order; without either, all of them, newest first (administrators)',
        tags,
        querystring,
        response: { 200: listOf(EventSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'read', 'events')
      const { type, cursor } = request.query
      const limit = context.pageSize(request.query.limit)
      const whose = whoseOf(request.query)
      const [from, to] = [parseTime('from', request.query.from), parseTime('to', request.query.to)]
      if (whose !== null) {
        if (type !== undefined || from !== undefined || to !== undefined) {
          throw new InvalidInputError('type, from and to choose among all events, not among those of one conversation or agent')
        }
        const after = cursor === undefined ? 0 : decodeCursor(cursor, isAfter).after
        return page(await agentEvents.of(principal, whose, after, limit + 1), limit, ({ sequence }) => ({ after: sequence }))
      }
      const range = {
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
        ...(type === undefined ? {} : { type }),
      }
      const before = cursor === undefined ? {} : { before: decodeCursor(cursor, isBefore) }
      return page(await agentEvents.list(principal, { ...range, ...before, limit: limit + 1 }), limit, ({ at, id }) => ({ at, id }))
    },
  )
  const SchemaSchema = Type.Object({
    ...{ type: Type.String(), version: Type.Integer(), topic: Type.String() },
    deprecation: Type.Union([DeprecationSchema, Type.Null()], { description: 'null: it is what is written' }),
    jsonSchema: Type.Unknown(),
  })
  api.get(
    '/events/schemas',
    {
      schema: {
        summary: 'What the agents tell: every event with each version of its JSON Schema',
        tags,
        response: { 200: listOf(SchemaSchema), ...problemResponses() },
      },
    },
    async (request) => {
      context.allow(request, 'read', 'events')
      const items = EVENT_TYPES.flatMap((type) =>
        EVENT_SCHEMAS[type].map((jsonSchema, i) => ({
          ...{ type, version: i + 1, topic: EVENT_TOPICS[type] },
          deprecation: deprecationOf(type, i + 1),
          jsonSchema,
        })),
      )
      return { items, next: null }
    },
  )
}

const ConversationStateSchema = Type.Object({
  createdBy: Type.String(),
  createdAt: Type.Integer({ description: 'epoch ms' }),
  round: Type.Integer(),
  isClosed: Type.Boolean(),
  terminationReason: Type.Union([Type.String(), Type.Null()]),
  participants: Type.Array(
    Type.Object({
      ...{ id: Type.String(), role: Type.Unsafe<ChatRole>({ type: 'string', enum: [...CHAT_ROLES] }) },
      ...{ deliveredSeq: Type.Integer(), readSeq: Type.Integer() },
    }),
    { description: 'who took part' },
  ),
  speaker: Type.Union([Type.String(), Type.Null()]),
  floorEpoch: Type.Integer(),
  messageCount: Type.Integer(),
  revision: Type.Integer({ description: 'of the digest; 0: none' }),
})
const AgentStateSchema = Type.Object({ role: Type.String(), brain: Type.String(), isRetired: Type.Boolean(), introducedAt: Type.Integer() })

function stateRoute(api: Api, context: RouteContext): void {
  const { agentEvents, clock } = context
  api.get(
    '/events/state',
    {
      schema: {
        summary: 'What a conversation or an agent was at a time, made of its events alone',
        tags,
        querystring: Type.Object({ ...WhoseSchema, at: TimeSchema }),
        response: {
          200: Type.Object({
            at: Type.Integer({ description: 'epoch ms' }),
            sequence: Type.Integer({ description: 'of the last event that counts' }),
            conversation: Type.Union([ConversationStateSchema, Type.Null()]),
            agent: Type.Union([AgentStateSchema, Type.Null()]),
          }),
          ...problemResponses(),
        },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'read', 'events')
      const whose = whoseOf(request.query)
      if (whose === null) throw new InvalidInputError('name a conversation or an agent')
      const at = parseTime('at', request.query.at) ?? clock.nowMs()
      return { at, ...(await agentEvents.stateAt(principal, whose, at)) }
    },
  )
}

function replayRoute(api: Api, context: RouteContext): void {
  const { agentEvents } = context
  const body = Type.Object(
    {
      from: Type.String({ minLength: 1, maxLength: 40, description: 'epoch ms or RFC 3339: what the log took from then on' }),
      cursor: CursorSchema,
    },
    { additionalProperties: false },
  )
  const answer = Type.Object({
    read: Type.Integer(),
    added: Type.Integer({ description: 'what the journal had not' }),
    known: Type.Integer(),
    refused: Type.Integer({ description: 'what is not ours, cannot be read, or has the place of another event' }),
    next: Type.Union([Type.String(), Type.Null()], { description: '`cursor` of the next request; null: that was all' }),
  })
  api.post(
    '/events/replay',
    {
      schema: {
        summary: 'Read the bus again from a time on and add to the journal what it has not; nothing else happens again',
        tags,
        body,
        response: { 200: answer, ...problemResponses() },
      },
    },
    async (request) => {
      context.allow(request, 'write', 'events')
      const from = parseTime('from', request.body.from) as number
      const { cursor } = request.body
      const { next, ...sums } = await agentEvents.replay(from, cursor === undefined ? undefined : decodeCursor(cursor, isReplayPlace))
      context.tell(request, { subject: { kind: 'event', id: 'journal' }, after: { from, ...sums } })
      return { ...sums, next: next === null ? null : encodeCursor(next) }
    },
  )
}

const DeadLetterSchema = Type.Object({
  ...{ id: Type.String(), topic: Type.String(), at: Type.Integer({ description: 'epoch ms' }), cause: Type.String() },
  group: Type.String({ description: 'which consumer set it aside' }),
  state: Type.Unsafe<DeadLetterState>({
    type: 'string',
    enum: [...DEAD_LETTER_STATES],
    description:
      'waiting: it can be replayed; unreadable: not by this version; recovered: it was taken since; foreign: none of ours wrote it',
  }),
  eventId: Type.Union([Type.String(), Type.Null()]),
  schema: Type.String(),
  content: Type.String({ description: 'the first of it' }),
})

const WholeDeadLetterSchema = Type.Object({
  ...DeadLetterSchema.properties,
  key: Type.String(),
  headers: Type.Record(Type.String(), Type.String(), { description: 'of the event, and `dlq-…`: what set it aside, why and from where' }),
  encoding: Type.Union([Type.Literal('text'), Type.Literal('base64')], { description: 'of the content: base64 where it is no UTF-8' }),
  content: Type.String({ description: 'the whole of it; what looks like a key was masked when it was set aside' }),
  sizeBytes: Type.Integer({ description: 'of the content' }),
})

function deadLetterRoutes(api: Api, context: RouteContext): void {
  const { agentEvents } = context
  api.get(
    '/events/dead-letters',
    {
      schema: {
        summary: 'Events that could not be taken, with their cause',
        tags,
        querystring: Type.Object({ topic: TopicSchema, limit: LimitSchema, cursor: CursorSchema }),
        response: { 200: listOf(DeadLetterSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'read', 'dead-letters')
      const { topic, cursor } = request.query
      const place = cursor === undefined ? undefined : decodeCursor(cursor, isDeadLetterPlace)
      const { items, next } = await agentEvents.deadLetters(principal, { limit: context.pageSize(request.query.limit), topic, place })
      return { items, next: next === null ? null : encodeCursor(next) }
    },
  )
  const params = Type.Object({ id: Type.String({ minLength: 1, maxLength: 128 }) })
  api.get(
    '/events/dead-letters/:id',
    {
      schema: {
        summary: 'One event that could not be taken, whole',
        tags,
        params,
        response: { 200: WholeDeadLetterSchema, ...problemResponses() },
      },
    },
    async (request) => agentEvents.deadLetter(context.allow(request, 'read', 'dead-letters', request.params.id), request.params.id),
  )
  api.post(
    '/events/dead-letters/:id/replay',
    {
      schema: {
        summary: 'Tell an event again that could not be taken',
        tags,
        params,
        response: { 202: DeadLetterSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'dead-letters', request.params.id)
      const letter = await agentEvents.replayDeadLetter(principal, request.params.id)
      context.tell(request, { subject: { kind: 'event', id: letter.eventId ?? letter.id }, after: { state: letter.state } })
      return reply.code(202).send(letter)
    },
  )
  const body = Type.Optional(Type.Union([Type.Null(), Type.Object({ topic: TopicSchema }, { additionalProperties: false })]))
  api.post(
    '/events/dead-letters/replay',
    {
      schema: {
        summary: 'Tell all events again that can be taken and were not, oldest first',
        tags,
        body,
        response: { 202: Type.Object({ replayed: Type.Integer() }), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'dead-letters')
      const replayed = await agentEvents.replayDeadLetters(principal, request.body?.topic)
      context.tell(request, { subject: { kind: 'event', id: request.body?.topic ?? 'all' }, after: { replayed } })
      return reply.code(202).send({ replayed })
    },
  )
}

function whoseOf({ conversation, agent }: { conversation?: string; agent?: string }): Whose | null {
  if (conversation !== undefined && agent !== undefined) throw new InvalidInputError('name a conversation or an agent, not both')
  if (conversation !== undefined) return { conversation }
  return agent === undefined ? null : { agent }
}

function page(found: readonly JournalEntry[], limit: number, placeOf: (last: JournalEntry) => object) {
  const items = found.slice(0, limit).map(({ id, stream, sequence, type, schemaVersion, at, correlationId, data }) => ({
    ...{ id, stream, sequence, type, version: schemaVersion, at, correlationId, data },
  }))
  const last = found[items.length - 1]
  return { items, next: found.length > limit && last !== undefined ? encodeCursor(placeOf(last)) : null }
}

function isAfter(value: unknown): value is { after: number } {
  return Number.isSafeInteger((value as { after?: unknown } | null)?.after)
}
function isBefore(value: unknown): value is { at: number; id: string } {
  const place = value as { at?: unknown; id?: unknown } | null
  return Number.isSafeInteger(place?.at) && typeof place?.id === 'string'
}
function isReplayPlace(value: unknown): value is ReplayPlace {
  const place = value as Partial<ReplayPlace> | null
  return [place?.topic, place?.partition, place?.offset].every((each) => Number.isSafeInteger(each))
}
function isDeadLetterPlace(value: unknown): value is DeadLetterPlace {
  const place = value as Partial<DeadLetterPlace> | null
  return [place?.topic, place?.partition, place?.before].every((each) => Number.isSafeInteger(each))
}
