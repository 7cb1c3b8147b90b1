import { Type } from 'typebox'
import { MemorySchema } from '../../../agents/memory/memory-document.ts'
import { InvalidInputError } from '../../../kernel/errors.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const tags = ['agents']
const id = Type.String({ minLength: 1, maxLength: 64 })

/** What agents keep between conversations: to be seen, and to be forgotten. */
export function memoryRoutes(api: Api, context: RouteContext): void {
  const { memories, roster } = context
  api.get(
    '/agents/:id/memory',
    {
      schema: {
        summary: 'What an agent keeps between conversations, newest first',
        tags,
        params: Type.Object({ id }),
        querystring: Type.Object({ limit: LimitSchema, cursor: CursorSchema }),
        response: { 200: listOf(MemorySchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'agents', request.params.id)
      await roster.get(tenant, request.params.id)
      const { cursor } = request.query
      if (cursor !== undefined && !/^\d{1,16}$/.test(cursor))
        throw new InvalidInputError('cursor is not one that a page answered', { details: { field: 'cursor' } })
      const limit = context.pageSize(request.query.limit)
      const items = await memories.list(tenant, request.params.id, limit, cursor === undefined ? undefined : Number(cursor))
      return { items, next: items.length === limit ? String(items.at(-1)?.at) : null }
    },
  )
  api.delete(
    '/agents/:id/memory/:entry',
    {
      schema: {
        summary: 'Let an agent forget something',
        tags,
        params: Type.Object({ id, entry: id }),
        response: { 204: Type.Null(), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { entry } = request.params
      const { tenant } = context.allow(request, 'write', 'agents', request.params.id)
      const { kind, incident, devices } = await memories.forget(tenant, request.params.id, entry)
      context.tell(request, { action: 'agent.forget', before: { entry, kind, incident, devices } })
      return reply.code(204).send(null)
    },
  )
  api.delete(
    '/agents/memory/devices/:device',
    {
      schema: {
        summary: 'Let every agent forget a device',
        tags,
        params: Type.Object({ device: id }),
        response: { 200: Type.Object({ forgotten: Type.Integer() }), ...problemResponses() },
      },
    },
    async (request) => {
      const { device } = request.params
      const { tenant } = context.allow(request, 'write', 'agents')
      const forgotten = await memories.forgetDevice(tenant, device)
      context.tell(request, { action: 'agent.forget', subject: { kind: 'device', id: device }, device, after: { forgotten } })
      return { forgotten }
    },
  )
}
