import { Type } from 'typebox'
import { AlertSchema, AlertStateSchema } from '../../../contracts/alert.ts'
import type { AlertCommand, AlertView } from '../../../alerts/alert-service.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf } from '../lists.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'

const ViewSchema = Type.Intersect([AlertSchema, Type.Object({ version: Type.Integer() })])
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const NoteSchema = Type.Optional(Type.String({ maxLength: 2_000 }))
const CommandBody = Type.Optional(Type.Union([Type.Null(), Type.Object({ note: NoteSchema }, { additionalProperties: false })]))

export function alertRoutes(api: Api, context: RouteContext): void {
  const answers = { 200: ViewSchema, ...problemResponses() }
  const tags = ['alerts']
  api.get(
    '/alerts',
    {
      schema: {
        summary: 'Alerts, newest first',
        tags,
        querystring: Type.Object({
          state: Type.Optional(AlertStateSchema),
          device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
          severity: Type.Optional(Type.Union([Type.Literal('warning'), Type.Literal('critical')])),
          limit: LimitSchema,
          cursor: CursorSchema,
        }),
        response: { 200: listOf(ViewSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'read', 'alerts')
      return context.alerts.list(principal, { ...request.query, limit: context.pageSize(request.query.limit, context.alerts.pageItemsMax) })
    },
  )
  api.get('/alerts/:id', { schema: { summary: 'One alert with its history', tags, params: IdSchema, response: answers } }, async (request, reply) => {
    const principal = context.allow(request, 'read', 'alerts', request.params.id)
    return answer(reply, await context.alerts.get(principal, request.params.id))
  })
  api.post('/alerts/:id/ack', { schema: { summary: 'Acknowledge: somebody looks after it', tags, params: IdSchema, body: CommandBody, response: answers } }, async (request, reply) => {
    const principal = context.allow(request, 'write', 'alerts', request.params.id)
    const command = commandOf(request, request.params.id, request.body?.note)
    return answer(reply, await told(context, request, command, () => context.alerts.acknowledge(principal, command)))
  })
  api.post('/alerts/:id/resolve', { schema: { summary: 'Resolve: it is over', tags, params: IdSchema, body: CommandBody, response: answers } }, async (request, reply) => {
    const principal = context.allow(request, 'write', 'alerts', request.params.id)
    const command = commandOf(request, request.params.id, request.body?.note)
    return answer(reply, await told(context, request, command, () => context.alerts.resolve(principal, command)))
  })
  api.post(
    '/alerts/:id/silence',
    { schema: { summary: 'No notices until a time', tags, params: IdSchema, body: Type.Object({ until: Type.Integer({ description: 'epoch ms' }), note: NoteSchema }, { additionalProperties: false }), response: answers } },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'alerts', request.params.id)
      const command = { ...commandOf(request, request.params.id, request.body.note), untilMs: request.body.until }
      return answer(reply, await told(context, request, command, () => context.alerts.silence(principal, command)))
    },
  )
}

/** Does it, and leaves for the audit trail what became of the alert. */
async function told(context: RouteContext, request: FastifyRequest, { id, note }: AlertCommand, act: () => Promise<AlertView>): Promise<AlertView> {
  const before = stateOf(await context.alerts.get(context.allow(request, 'write', 'alerts', id), id))
  const view = await act()
  context.tell(request, { device: view.device, before, after: stateOf(view), ...(note === undefined ? {} : { why: note }) })
  return view
}

function stateOf({ state, silencedUntil }: AlertView) {
  return { state, silencedUntil }
}

function commandOf(request: FastifyRequest, id: string, note: string | undefined): AlertCommand {
  const version = expectedVersion(request)
  return { id, ...(note === undefined ? {} : { note }), ...(version === undefined ? {} : { expectedVersion: version }) }
}

function answer(reply: FastifyReply, view: AlertView): AlertView {
  reply.header('etag', etagOf(view.version))
  return view
}
