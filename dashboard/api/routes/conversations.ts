import { Type } from 'typebox'
import type { FastifyRequest } from 'fastify'
import type { ConversationView } from '../../../agents/conversation/conversation-service.ts'
import { SeveritySchema } from '../../../contracts/alert.ts'
import type { Principal } from '../../../contracts/authorisation.ts'
import {
  CHAT_TYPES,
  CONVERSATION_STATES,
  ConversationSchema,
  MessageSchema,
  type ConversationState,
} from '../../../contracts/conversation.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf, parseTime, TimeSchema } from '../lists.ts'
import { etagOf } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'

const tags = ['conversations']
const ViewSchema = Type.Intersect([ConversationSchema, Type.Object({ version: Type.Integer() })])
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const AgentName = Type.String({ minLength: 1, maxLength: 64 })
const NoBody = Type.Optional(Type.Union([Type.Null(), Type.Object({}, { additionalProperties: false })]))
const StateSchema = Type.Unsafe<ConversationState>({ type: 'string', enum: [...CONVERSATION_STATES] })
/** A device's alerts, the newest, whose incidents are looked for. */
const ALERTS_LOOKED_AT = 1_000
const answers = { 200: ViewSchema, ...problemResponses() }

/** Conversations of agents and people. One about an incident has the incident's id; its live socket: `GET /conversations/ID/socket` (WebSocket). */
export function conversationRoutes(api: Api, context: RouteContext): void {
  const { conversations } = context
  const body = Type.Object(
    {
      title: Type.String({ minLength: 1, maxLength: 200 }),
      agents: Type.Array(AgentName, { minItems: 1, maxItems: 20, description: 'ids, the first speaks first' }),
      chatType: Type.Unsafe<'private' | 'group'>({ type: 'string', enum: [...CHAT_TYPES], default: 'group' }),
      message: Type.Optional(Type.String({ minLength: 1, maxLength: 16_000, description: 'the first question' })),
      discuss: Type.Optional(Type.Boolean({ description: 'the agents talk in turn; otherwise they answer who asks' })),
    },
    { additionalProperties: false },
  )
  api.post(
    '/conversations',
    { schema: { summary: 'Begin a conversation with agents', tags, body, response: { 201: ViewSchema, ...problemResponses() } } },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'conversations')
      const view = await conversations.create(principal, { ...request.body, correlationId: request.id })
      context.tell(request, {
        subject: { kind: 'conversation', id: view.id },
        after: { title: view.title, participants: view.participants.map(({ id }) => id) },
      })
      return reply.code(201).header('etag', etagOf(view.version)).send(view)
    },
  )
  api.get(
    '/conversations/:id',
    { schema: { summary: 'One conversation', tags, params: IdSchema, response: answers } },
    async (request, reply) => {
      const view = await conversations.get(context.allow(request, 'read', 'conversations', request.params.id), request.params.id)
      reply.header('etag', etagOf(view.version))
      return view
    },
  )
  listRoute(api, context)
  messageRoutes(api, context)
  eraseRoute(api, context)
  receiptRoute(api, context)
  participantRoutes(api, context)
}

function listRoute(api: Api, context: RouteContext): void {
  const { conversations } = context
  const query = Type.Object({
    state: Type.Optional(StateSchema),
    severity: Type.Optional(SeveritySchema),
    device: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        description: 'only those about incidents that took in an alert of this device, the newest',
      }),
    ),
    incident: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'only the one about this incident' })),
    participant: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: '`agent:ID` or `user:NAME`' })),
    search: Type.Optional(
      Type.String({
        maxLength: 200,
        description: 'words of the title or of what was said; a page may hold few or none and have a next one all the same',
      }),
    ),
    from: TimeSchema,
    until: TimeSchema,
    limit: LimitSchema,
    cursor: CursorSchema,
  })
  api.get(
    '/conversations',
    {
      schema: {
        summary: 'Conversations, newest first',
        tags,
        querystring: query,
        response: { 200: listOf(ViewSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'read', 'conversations')
      const { device, incident, from, until, ...rest } = request.query
      const begun = { from: parseTime('from', from), until: parseTime('until', until) }
      const ofDevice = device === undefined ? undefined : await incidentsOf(context, principal, device)
      const incidents = incident === undefined ? ofDevice : [incident].filter((each) => ofDevice?.includes(each) !== false)
      return conversations.list(principal, {
        ...rest,
        ...(begun.from === undefined ? {} : { from: begun.from }),
        ...(begun.until === undefined ? {} : { until: begun.until }),
        ...(incidents === undefined ? {} : { incidents }),
        limit: context.pageSize(request.query.limit, conversations.pageItemsMax),
      })
    },
  )
}

/** Incidents that the device's newest alerts are part of. */
async function incidentsOf({ alerts, pageSize }: RouteContext, principal: Principal, device: string): Promise<string[]> {
  const { items } = await alerts.list(principal, { device, limit: pageSize(ALERTS_LOOKED_AT, alerts.pageItemsMax) })
  return [...new Set(items.flatMap(({ incident }) => (incident === null ? [] : [incident.id])))]
}

function messageRoutes(api: Api, context: RouteContext): void {
  const { conversations } = context
  const query = Type.Object({
    after_seq: Type.Optional(Type.Integer({ minimum: 0, description: 'only what comes after this place' })),
    limit: LimitSchema,
  })
  const page = Type.Object({
    items: Type.Array(MessageSchema),
    next: Type.Union([Type.Integer(), Type.Null()], { description: '`after_seq` of what follows' }),
  })
  api.get(
    '/conversations/:id/messages',
    {
      schema: {
        summary: 'What was said, in order',
        tags,
        params: IdSchema,
        querystring: query,
        response: { 200: page, ...problemResponses() },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'read', 'conversations', request.params.id)
      const limit = context.pageSize(request.query.limit, conversations.pageItemsMax - 1)
      const found = await conversations.messages(principal, request.params.id, request.query.after_seq ?? 0, limit + 1)
      const items = found.slice(0, limit)
      return { items, next: found.length > limit ? (items.at(-1)?.seq ?? null) : null }
    },
  )
  const said = Type.Object(
    {
      content: Type.String({ minLength: 1, maxLength: 16_000 }),
      kind: Type.Unsafe<'message' | 'question' | 'statement'>({
        type: 'string',
        enum: ['message', 'question', 'statement'],
        default: 'question',
        description: 'a question is answered by whom it is asked, about an incident by the reporter',
      }),
      to: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'a participant; absent: everybody' })),
      isPrivate: Type.Optional(Type.Boolean({ description: 'only the one it is said to may read it' })),
    },
    { additionalProperties: false },
  )
  api.post(
    '/conversations/:id/messages',
    {
      schema: {
        summary: 'Say or ask something: it has the floor at the next boundary between turns',
        tags,
        params: IdSchema,
        body: said,
        response: answers,
      },
    },
    async (request) => {
      const { id } = request.params
      const principal = context.allow(request, 'write', 'conversations', id)
      const { to = null, isPrivate = false, ...words } = request.body
      const view = await conversations.say(principal, id, { ...words, to, isPrivate })
      // What was said is in the conversation; the trail says that it was.
      context.tell(request, { after: { kind: words.kind, to } })
      return view
    },
  )
}

function participantRoutes(api: Api, context: RouteContext): void {
  const { conversations } = context
  const act = async (
    request: FastifyRequest,
    id: string,
    run: (principal: Principal) => Promise<ConversationView>,
  ): Promise<ConversationView> => {
    const principal = context.allow(request, 'write', 'conversations', id)
    const view = await run(principal)
    context.tell(request, {
      after: { state: view.state, participants: view.participants.filter(({ leftAt }) => leftAt === null).map((each) => each.id) },
    })
    return view
  }
  const simple = { tags, params: IdSchema, body: NoBody, response: answers }
  api.post('/conversations/:id/join', { schema: { summary: 'Take part; a closed conversation is taken up again', ...simple } }, (request) =>
    act(request, request.params.id, (principal) => conversations.join(principal, request.params.id)),
  )
  api.post('/conversations/:id/leave', { schema: { summary: 'Take part no more', ...simple } }, (request) =>
    act(request, request.params.id, (principal) => conversations.leave(principal, request.params.id)),
  )
  api.post('/conversations/:id/terminate', { schema: { summary: 'End it', ...simple } }, (request) =>
    act(request, request.params.id, (principal) => conversations.terminate(principal, request.params.id)),
  )
  api.post(
    '/conversations/:id/recheck',
    { schema: { summary: 'Look at its incident again, and publish a new digest if anything changed', ...simple } },
    (request) => act(request, request.params.id, (principal) => conversations.recheck(principal, request.params.id)),
  )
  const agent = Type.Object({ agent: AgentName }, { additionalProperties: false })
  api.post(
    '/conversations/:id/participants',
    { schema: { summary: 'Add an agent', tags, params: IdSchema, body: agent, response: answers } },
    (request) => act(request, request.params.id, (principal) => conversations.invite(principal, request.params.id, request.body.agent)),
  )
  const who = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }), participant: Type.String({ minLength: 1, maxLength: 200 }) })
  api.delete(
    '/conversations/:id/participants/:participant',
    { schema: { summary: 'Take a participant out', tags, params: who, response: answers } },
    (request) =>
      act(request, request.params.id, (principal) => conversations.remove(principal, request.params.id, request.params.participant)),
  )
}

function eraseRoute(api: Api, { allow, conversations }: RouteContext): void {
  api.delete(
    '/conversations/:id',
    {
      schema: {
        summary: 'Erase a conversation with all that was said; one about an incident goes with its retention',
        tags,
        params: IdSchema,
        response: { 204: Type.Null(), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const principal = allow(request, 'write', 'conversations', request.params.id)
      await conversations.erase(principal, request.params.id)
      return reply.code(204).send(null)
    },
  )
}

function receiptRoute(api: Api, { allow, conversations, tell }: RouteContext): void {
  const receipt = Type.Object(
    {
      kind: Type.Unsafe<'delivered' | 'read'>({ type: 'string', enum: ['delivered', 'read'] }),
      seq: Type.Integer({ minimum: 1, description: 'everything up to this place' }),
    },
    { additionalProperties: false },
  )
  api.post(
    '/conversations/:id/receipts',
    { schema: { summary: 'Say how far you got, or have read, what was said', tags, params: IdSchema, body: receipt, response: answers } },
    async (request) => {
      const { id } = request.params
      const view = await conversations.receive(allow(request, 'write', 'conversations', id), id, request.body)
      tell(request, { after: request.body })
      return view
    },
  )
}
