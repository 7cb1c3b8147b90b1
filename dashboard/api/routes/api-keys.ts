import { Type } from 'typebox'
import { InvalidInputError } from '../../../kernel/errors.ts'
import { ApiKeySchema, KeyRoleSchema, ScopesSchema } from '../access/api-keys.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf } from '../lists.ts'
import type { Principals } from '../principals.ts'
import { problemResponses } from '../problem.ts'

const tags = ['api-keys']
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const NAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}$'

/** Keys of programs and people. A key's secret is answered once, when it is made. */
export function apiKeyRoutes(api: Api, context: RouteContext, { keys }: Principals): void {
  const { config } = context
  api.get(
    '/api-keys',
    {
      schema: {
        summary: 'API keys, newest first; never their secrets',
        tags,
        querystring: Type.Object({ limit: LimitSchema, cursor: CursorSchema }),
        response: { 200: listOf(ApiKeySchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'api-keys')
      const limit = context.pageSize(request.query.limit)
      const found = await keys.list(tenant, limit + 1, request.query.cursor)
      const items = found.slice(0, limit)
      return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null }
    },
  )
  const body = Type.Object(
    {
      name: Type.String({ pattern: NAME_PATTERN, description: 'of the person or program that holds it' }),
      role: KeyRoleSchema,
      scopes: Type.Optional(ScopesSchema),
      lifetimeMs: Type.Optional(
        Type.Integer({ minimum: 60_000, maximum: config.apiKeyLifetimeMaxMs, description: 'ms; default api.apiKeyLifetimeMs' }),
      ),
    },
    { additionalProperties: false },
  )
  const MadeSchema = Type.Object({ key: ApiKeySchema, secret: Type.String({ description: 'shown this once: it is not kept' }) })
  api.post(
    '/api-keys',
    { schema: { summary: 'Make an API key', tags, body, response: { 201: MadeSchema, ...problemResponses() } } },
    async (request, reply) => {
      const { tenant, actor } = context.allow(request, 'write', 'api-keys')
      const { name, role, scopes = ['*:*'], lifetimeMs = config.apiKeyLifetimeMs } = request.body
      if (name.trim() !== name) throw new InvalidInputError('name: it must not end with a space', { details: { field: 'name' } })
      const made = await keys.create(tenant, { name, role, scopes, lifetimeMs }, actor)
      const { id, expiresAt } = made.key
      context.tell(request, { subject: { kind: 'api-key', id }, after: { name, role, scopes, expiresAt } })
      return reply.code(201).header('cache-control', 'no-store').send(made)
    },
  )
  api.get(
    '/api-keys/:id',
    { schema: { summary: 'One key', tags, params: IdSchema, response: { 200: ApiKeySchema, ...problemResponses() } } },
    (request) => keys.get(context.allow(request, 'read', 'api-keys', request.params.id).tenant, request.params.id),
  )
  api.post(
    '/api-keys/:id/revoke',
    {
      schema: {
        summary: 'Revoke a key and the sessions opened with it: at once, in every process; repeating it changes nothing',
        tags,
        params: IdSchema,
        response: { 200: ApiKeySchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { id } = request.params
      const { tenant, actor } = context.allow(request, 'write', 'api-keys', id)
      const before = await keys.get(tenant, id)
      const key = await keys.revoke(tenant, id, actor)
      context.tell(request, { before: { revokedAt: before.revokedAt }, after: { revokedAt: key.revokedAt } })
      return key
    },
  )
}
