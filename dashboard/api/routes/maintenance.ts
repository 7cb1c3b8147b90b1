import { Type } from 'typebox'
import type { MaintenanceWindowView } from '../../../alerts/maintenance/maintenance-service.ts'
import { MaintenanceSettingsSchema, MaintenanceWindowSchema } from '../../../alerts/maintenance/maintenance-window.ts'
import type { Api, RouteContext } from '../context.ts'
import { listOf } from '../lists.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'

const tags = ['maintenance']
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const ViewSchema = Type.Object({
  ...MaintenanceWindowSchema.properties,
  version: Type.Integer(),
  next: Type.Union([Type.Object({ from: Type.Integer(), until: Type.Integer() }), Type.Null()], { description: 'when it is on next, or is on now; null: never again' }),
})

/** Maintenance windows: while one is on, matching alerts are recorded and nobody is told. */
export function maintenanceRoutes(api: Api, context: RouteContext): void {
  const answers = { 200: ViewSchema, ...problemResponses() }
  api.get('/maintenance', { schema: { summary: 'Maintenance windows, newest first', tags, response: { 200: listOf(ViewSchema), ...problemResponses() } } }, async (request) => {
    return { items: await context.maintenance.list(context.allow(request, 'read', 'alerts')), next: null }
  })
  api.post('/maintenance', { schema: { summary: 'Add a window, once or weekly', tags, body: MaintenanceSettingsSchema, response: { 201: ViewSchema, ...problemResponses() } } }, async (request, reply) => {
    const principal = context.allow(request, 'write', 'alerts')
    const window = await context.maintenance.create(principal, request.body)
    context.tell(request, { subject: { kind: 'maintenance', id: window.id }, after: settingsOf(window) })
    return reply.code(201).header('location', `/api/v1/maintenance/${window.id}`).header('etag', etagOf(window.version)).send(window)
  })
  api.get('/maintenance/:id', { schema: { summary: 'One window', tags, params: IdSchema, response: answers } }, async (request, reply) => {
    const window = await context.maintenance.get(context.allow(request, 'read', 'alerts'), request.params.id)
    reply.header('etag', etagOf(window.version))
    return window
  })
  api.put('/maintenance/:id', { schema: { summary: 'Replace what a window says', tags, params: IdSchema, body: MaintenanceSettingsSchema, response: answers } }, async (request, reply) => {
    const principal = context.allow(request, 'write', 'alerts', request.params.id)
    const before = await context.maintenance.get(principal, request.params.id)
    const window = await context.maintenance.replace(principal, request.params.id, request.body, expectedVersion(request))
    context.tell(request, { before: settingsOf(before), after: settingsOf(window) })
    reply.header('etag', etagOf(window.version))
    return window
  })
  api.delete('/maintenance/:id', { schema: { summary: 'End a window; what it kept quiet and is not over is told', tags, params: IdSchema, response: { 204: Type.Null(), ...problemResponses() } } }, async (request, reply) => {
    const principal = context.allow(request, 'write', 'alerts', request.params.id)
    const before = await context.maintenance.get(principal, request.params.id)
    await context.maintenance.remove(principal, request.params.id, expectedVersion(request))
    context.tell(request, { before: settingsOf(before) })
    return reply.code(204).send(null)
  })
}

function settingsOf({ name, matchers, once, weekly }: MaintenanceWindowView) {
  return { name, matchers, ...(once === undefined ? {} : { once }), ...(weekly === undefined ? {} : { weekly }) }
}
