import { Type } from 'typebox'
import { RoutingSchema, type Routing } from '../../../alerts/routing/routing-tree.ts'
import type { Api, RouteContext } from '../context.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'
import { CHANGES_NOTHING } from '../request-audit.ts'

const tags = ['routing']
const ViewSchema = Type.Object({
  // Without a shape: a serializer would leave out what lies deeper than the schema of a route says.
  routing: Type.Unsafe<Routing | null>({ description: 'as it was put; null: only endpoints that subscribed to incidents are told' }),
  updatedAt: Type.Union([Type.Integer(), Type.Null()]),
  updatedBy: Type.Union([Type.String(), Type.Null()]),
  version: Type.Integer(),
})
const PreviewSchema = Type.Object({
  receivers: Type.Array(Type.Object({ receiver: Type.String(), path: Type.String({ description: 'the route that chose it' }) })),
  endpoints: Type.Array(Type.String()),
})

/** Whom notices of incidents go to: a tree of routes by label, receivers and on-call schedules. One document. */
export function routingRoutes(api: Api, context: RouteContext): void {
  const { routing } = context
  api.get('/routing', { schema: { summary: 'The routing of notices', tags, response: { 200: ViewSchema, ...problemResponses() } } }, async (request, reply) => {
    const view = await routing.get(context.allow(request, 'read', 'alerts'))
    reply.header('etag', etagOf(view.version))
    return view
  })
  api.put(
    '/routing',
    { schema: { summary: 'Replace it; one that cannot be is refused with every fault and its path', tags, body: RoutingSchema, response: { 200: ViewSchema, ...problemResponses() } } },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'alerts')
      const before = await routing.get(principal)
      const view = await routing.put(principal, request.body, expectedVersion(request))
      context.tell(request, { subject: { kind: 'routing', id: principal.tenant }, before: before.routing, after: view.routing })
      reply.header('etag', etagOf(view.version))
      return view
    },
  )
  api.post(
    '/routing/preview',
    {
      schema: {
        summary: 'Whom a notice with these labels would reach; by this tree or else by the one in force; changes nothing',
        [CHANGES_NOTHING]: true,
        tags,
        body: Type.Object({ labels: Type.Record(Type.String({ maxLength: 64 }), Type.String({ maxLength: 512 })), at: Type.Optional(Type.Integer({ description: 'epoch ms; now' })), routing: Type.Optional(RoutingSchema) }, { additionalProperties: false }),
        response: { 200: PreviewSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'read', 'alerts')
      return routing.preview(principal, request.body.labels, { atMs: request.body.at, routing: request.body.routing })
    },
  )
}
