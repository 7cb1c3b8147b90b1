import { Type } from 'typebox'
import type { FastifyRequest } from 'fastify'
import type { IncidentCommand, IncidentView } from '../../../alerts/incidents/incident-service.ts'
import { AlertStateSchema } from '../../../contracts/alert.ts'
import type { Principal } from '../../../contracts/authorisation.ts'
import { IncidentSchema } from '../../../contracts/incident.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf } from '../lists.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'

const tags = ['incidents']
const ViewSchema = Type.Intersect([IncidentSchema, Type.Object({ version: Type.Integer() })])
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const CommandBody = Type.Optional(Type.Union([Type.Null(), Type.Object({ note: Type.Optional(Type.String({ maxLength: 2_000 })) }, { additionalProperties: false })]))

/** Incidents: alerts that belong together. Their alerts: `GET /alerts?incident=ID`. */
export function incidentRoutes(api: Api, context: RouteContext): void {
  const { incidents } = context
  const answers = { 200: ViewSchema, ...problemResponses() }
  api.get(
    '/incidents',
    { schema: { summary: 'Incidents, newest first', tags, querystring: Type.Object({ state: Type.Optional(AlertStateSchema), limit: LimitSchema, cursor: CursorSchema }), response: { 200: listOf(ViewSchema), ...problemResponses() } } },
    async (request) => {
      const principal = context.allow(request, 'read', 'alerts')
      return incidents.list(principal, { ...request.query, limit: context.pageSize(request.query.limit, incidents.pageItemsMax) })
    },
  )
  api.get('/incidents/:id', { schema: { summary: 'One incident', tags, params: IdSchema, response: answers } }, async (request, reply) => {
    const incident = await incidents.get(context.allow(request, 'read', 'alerts'), request.params.id)
    reply.header('etag', etagOf(incident.version))
    return incident
  })
  const act = async (request: FastifyRequest, id: string, note: string | undefined, run: (principal: Principal, command: IncidentCommand) => Promise<IncidentView>): Promise<IncidentView> => {
    const principal = context.allow(request, 'write', 'alerts', id)
    const before = await incidents.get(principal, id)
    const after = await run(principal, { id, note, expectedVersion: expectedVersion(request) })
    context.tell(request, { before: { state: before.state, alerts: before.alertCount }, after: { state: after.state }, ...(note === undefined ? {} : { why: note }) })
    return after
  }
  api.post('/incidents/:id/ack', { schema: { summary: 'Acknowledge it with all of its alerts, those that will join too', tags, params: IdSchema, body: CommandBody, response: answers } }, (request) =>
    act(request, request.params.id, request.body?.note, (principal, command) => incidents.acknowledge(principal, command)),
  )
  api.post('/incidents/:id/resolve', { schema: { summary: 'Resolve all of its alerts, and it with the last of them', tags, params: IdSchema, body: CommandBody, response: answers } }, (request) =>
    act(request, request.params.id, request.body?.note, (principal, command) => incidents.resolve(principal, command)),
  )
}
