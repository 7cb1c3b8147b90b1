import { Type } from 'typebox'
import { BRAIN_KINDS, type BrainKind } from '../../../agents/brains/brain.ts'
import { AttentionSchema } from '../../../agents/attention/attention-document.ts'
import { ConflictError } from '../../../kernel/errors.ts'
import {
  AGENT_ID_PATTERN,
  AGENT_RESOURCES,
  AGENT_ROLES,
  ManifestSchema,
  type AgentResource,
  type AgentRole,
  type Manifest,
} from '../../../agents/roster/agent-document.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf } from '../lists.ts'
import type { Principals } from '../principals.ts'
import { problemResponses } from '../problem.ts'

const tags = ['agents']
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const ResourcesSchema = Type.Array(Type.Unsafe<AgentResource>({ type: 'string', enum: [...AGENT_RESOURCES] }), {
  ...{ maxItems: AGENT_RESOURCES.length, uniqueItems: true },
  description: 'what it may use; absent: what its role needs',
})
const answers = { 200: ManifestSchema, ...problemResponses() }

/** Agents: who there is, and what they do at the moment. */
export function agentRoutes(api: Api, context: RouteContext, principals: Principals): void {
  const { roster } = context
  api.get(
    '/agents',
    {
      schema: {
        summary: 'Agents by id',
        tags,
        querystring: Type.Object({ limit: LimitSchema, cursor: CursorSchema }),
        response: { 200: listOf(ManifestSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'agents')
      const limit = context.pageSize(request.query.limit)
      const found = await roster.list(tenant, limit + 1, request.query.cursor)
      const items = found.slice(0, limit)
      return { items, next: found.length > limit ? (items.at(-1)?.agentId ?? null) : null }
    },
  )
  const body = Type.Object(
    {
      agentId: Type.String({ pattern: AGENT_ID_PATTERN }),
      role: Type.Unsafe<AgentRole>({ type: 'string', enum: [...AGENT_ROLES] }),
      brain: Type.Unsafe<BrainKind>({ type: 'string', enum: [...BRAIN_KINDS], default: 'local' }),
      name: Type.String({ minLength: 1, maxLength: 64 }),
      bio: Type.String({ maxLength: 500, default: '' }),
      availableResources: Type.Optional(ResourcesSchema),
    },
    { additionalProperties: false },
  )
  api.post(
    '/agents',
    { schema: { summary: 'Introduce an agent', tags, body, response: { 201: ManifestSchema, ...problemResponses() } } },
    async (request, reply) => {
      const { tenant } = context.allow(request, 'write', 'agents')
      const manifest = await roster.introduce(tenant, request.body)
      context.tell(request, {
        action: 'agent.introduce',
        subject: { kind: 'agent', id: manifest.agentId },
        after: { role: manifest.role, brain: manifest.brain },
      })
      return reply.code(201).send(manifest)
    },
  )
  oneAgentRoutes(api, context, principals)
}

function oneAgentRoutes(api: Api, context: RouteContext, principals: Principals): void {
  const { roster, conversations } = context
  api.get(
    '/agents/:id',
    { schema: { summary: 'The manifest of an agent', tags, params: IdSchema, response: answers } },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'agents', request.params.id)
      return roster.get(tenant, request.params.id)
    },
  )
  const changes = Type.Object(
    {
      brain: Type.Optional(Type.Unsafe<BrainKind>({ type: 'string', enum: [...BRAIN_KINDS] })),
      name: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
      bio: Type.Optional(Type.String({ maxLength: 500 })),
      availableResources: Type.Optional(ResourcesSchema),
    },
    { additionalProperties: false, minProperties: 1 },
  )
  api.patch(
    '/agents/:id',
    { schema: { summary: 'Change what an agent is', tags, params: IdSchema, body: changes, response: answers } },
    async (request) => {
      const { tenant } = context.allow(request, 'write', 'agents', request.params.id)
      const { before, after } = await roster.update(tenant, request.params.id, request.body)
      const told = ({ brain, publicProfile, availableResources }: Manifest): object => ({ brain, ...publicProfile, availableResources })
      context.tell(request, { before: told(before), after: told(after) })
      return after
    },
  )
  api.delete(
    '/agents/:id',
    { schema: { summary: 'Retire an agent: it leaves its conversations', tags, params: IdSchema, response: answers } },
    async (request) => {
      const { tenant } = context.allow(request, 'write', 'agents', request.params.id)
      const manifest = await roster.retire(tenant, request.params.id)
      const left = await conversations.withdrawAgent(tenant, request.params.id)
      await principals.endAgent(tenant, request.params.id)
      context.tell(request, { action: 'agent.retire', after: { status: manifest.status, conversationsLeft: left } })
      return manifest
    },
  )
  attentionRoute(api, context)
  tokenRoute(api, context, principals)
}

function attentionRoute(api: Api, { allow, roster, attention }: RouteContext): void {
  api.get(
    '/agents/:id/attention',
    {
      schema: {
        summary: 'What an agent attends to: its focus, its turns under way, and what waits for it',
        tags,
        params: IdSchema,
        response: { 200: AttentionSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { id } = request.params
      const { tenant } = allow(request, 'read', 'agents', id)
      await roster.get(tenant, id)
      return attention.of(tenant, id)
    },
  )
}

function tokenRoute(api: Api, context: RouteContext, principals: Principals): void {
  const TokenSchema = Type.Object({
    accessToken: Type.String(),
    tokenType: Type.Literal('Bearer'),
    expiresAt: Type.Integer({ description: 'epoch ms' }),
  })
  api.post(
    '/agents/:id/token',
    {
      schema: {
        summary: 'An access token with which an agent that runs elsewhere looks at its conversations; retiring the agent ends it',
        tags,
        params: IdSchema,
        response: { 201: TokenSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const { tenant } = context.allow(request, 'write', 'agents', id)
      if ((await context.roster.get(tenant, id)).status === 'retired') throw new ConflictError(`agent ${id} is retired`)
      const { accessToken, expiresAt } = await principals.agentToken(tenant, id)
      context.tell(request, { after: { expiresAt } })
      return reply
        .code(201)
        .header('cache-control', 'no-store')
        .send({ accessToken, tokenType: 'Bearer' as const, expiresAt })
    },
  )
}
