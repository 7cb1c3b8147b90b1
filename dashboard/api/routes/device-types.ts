import { Type } from 'typebox'
import { DEVICE_ID_PATTERN, DeviceTypeSchema, MetricSpecSchema } from '../../../contracts/device.ts'
import type { DeviceTypeInput } from '../../../device-registry/registry.ts'
import { EARLIEST_TS, FUTURE_TOLERANCE_MS } from '../../../device-registry/generic-type.ts'
import type { Api, RouteContext } from '../context.ts'
import { listOf } from '../lists.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'

const ViewSchema = Type.Intersect([DeviceTypeSchema, Type.Object({ version: Type.Integer() })])
const IdSchema = Type.Object({ id: Type.String({ pattern: DEVICE_ID_PATTERN }) })
const DEFINITION = {
  open: Type.Optional(Type.Boolean({ description: 'takes metrics that are not listed; default true' })),
  metrics: Type.Optional(Type.Record(Type.String(), MetricSpecSchema, { maxProperties: 512, propertyNames: { minLength: 1, maxLength: 128 } })),
  silenceAfterMs: Type.Optional(Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], { description: 'silent after so long, in ms; 0: never; null (default): learnt from its own pace' })),
  futureToleranceMs: Type.Optional(Type.Integer({ minimum: 0, description: 'event time accepted this long after receipt, in ms; default ten minutes' })),
  earliestTs: Type.Optional(Type.Integer({ description: 'event time accepted from, epoch ms; default the year 2000' })),
}

export function deviceTypeRoutes(api: Api, context: RouteContext): void {
  const tags = ['devices']
  const answers = { 200: ViewSchema, ...problemResponses() }
  api.get('/device-types', { schema: { summary: 'Device types', tags, response: { 200: listOf(ViewSchema), ...problemResponses() } } }, async (request) => {
    const { tenant } = context.allow(request, 'read', 'device-types')
    return { items: await context.registry.listTypes(tenant), next: null }
  })
  api.get('/device-types/:id', { schema: { summary: 'One device type', tags, params: IdSchema, response: answers } }, async (request, reply) => {
    const { tenant } = context.allow(request, 'read', 'device-types', request.params.id)
    const type = await context.registry.getType(tenant, request.params.id)
    reply.header('etag', etagOf(type.version))
    return type
  })
  api.post(
    '/device-types',
    { schema: { summary: 'Define a device type', tags, body: Type.Object({ id: Type.String({ pattern: DEVICE_ID_PATTERN }), ...DEFINITION }, { additionalProperties: false }), response: { 201: ViewSchema, ...problemResponses() } } },
    async (request, reply) => {
      const { tenant } = context.allow(request, 'write', 'device-types')
      const created = await context.registry.createType(tenant, inputOf(request.body.id, request.body))
      context.tell(request, { after: created })
      return reply.code(201).header('location', `/api/v1/device-types/${created.id}`).header('etag', etagOf(created.version)).send(created)
    },
  )
  api.put(
    '/device-types/:id',
    { schema: { summary: 'Replace a device type\'s definition', tags, params: IdSchema, body: Type.Object(DEFINITION, { additionalProperties: false }), response: answers } },
    async (request, reply) => {
      const { tenant } = context.allow(request, 'write', 'device-types', request.params.id)
      const version = expectedVersion(request)
      const before = await context.registry.getType(tenant, request.params.id)
      const updated = await context.registry.updateType(tenant, inputOf(request.params.id, request.body), version)
      context.tell(request, { before, after: updated })
      reply.header('etag', etagOf(updated.version))
      return updated
    },
  )
}

function inputOf(id: string, body: Partial<Omit<DeviceTypeInput, 'id'>>): DeviceTypeInput {
  return {
    id,
    open: body.open ?? true,
    metrics: body.metrics ?? {},
    silenceAfterMs: body.silenceAfterMs ?? null,
    futureToleranceMs: body.futureToleranceMs ?? FUTURE_TOLERANCE_MS,
    earliestTs: body.earliestTs ?? EARLIEST_TS,
  }
}
