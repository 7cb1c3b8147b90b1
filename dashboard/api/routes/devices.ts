import { Type } from 'typebox'
import { DEVICE_ID_PATTERN, DeviceSchema, DeviceStateSchema } from '../../../contracts/device.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, decodeCursor, encodeCursor, LimitSchema, listOf } from '../lists.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'

export const DeviceViewSchema = Type.Intersect([DeviceSchema, Type.Object({ version: Type.Integer() })])
export const DeviceIdSchema = Type.Object({ id: Type.String({ pattern: DEVICE_ID_PATTERN }) })
const LabelsSchema = Type.Record(Type.String(), Type.String({ maxLength: 256 }), { maxProperties: 64, propertyNames: { minLength: 1, maxLength: 64 } })
const LatestSchema = Type.Union([
  Type.Null(),
  Type.Object({ ts: Type.Integer(), receivedAt: Type.Integer(), values: Type.Record(Type.String(), Type.Union([Type.Number(), Type.Boolean(), Type.String()])) }),
])

const tags = ['devices']
const answers = { 200: DeviceViewSchema, ...problemResponses() }

export function deviceRoutes(api: Api, context: RouteContext): void {
  fleetRoutes(api, context)
  oneDeviceRoutes(api, context)
}

function fleetRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/devices',
    {
      schema: {
        summary: 'Devices, by id',
        tags,
        querystring: Type.Object({
          type: Type.Optional(Type.String({ pattern: DEVICE_ID_PATTERN })),
          state: Type.Optional(DeviceStateSchema),
          text: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'part of the id' })),
          limit: LimitSchema,
          cursor: CursorSchema,
        }),
        response: { 200: listOf(DeviceViewSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'devices')
      const { type, state, text, cursor } = request.query
      const page = await context.registry.listDevices({
        tenant,
        limit: context.pageSize(request.query.limit),
        ...(type === undefined ? {} : { type }),
        ...(state === undefined ? {} : { state }),
        ...(text === undefined ? {} : { text }),
        ...(cursor === undefined ? {} : { after: decodeCursor(cursor, isPlace).id }),
      })
      return { items: page.items, next: page.next === null ? null : encodeCursor({ id: page.next }) }
    },
  )
  api.post(
    '/devices',
    {
      schema: {
        summary: 'Register a device (it has no certificate yet)',
        tags,
        body: Type.Object({ id: Type.String({ pattern: DEVICE_ID_PATTERN }), type: Type.String({ pattern: DEVICE_ID_PATTERN }), labels: Type.Optional(LabelsSchema) }, { additionalProperties: false }),
        response: { 201: DeviceViewSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { tenant, actor } = context.allow(request, 'write', 'devices')
      const { body } = request
      const created = await context.registry.createDevice(tenant, { id: body.id, type: body.type, labels: body.labels ?? {} }, actor, { origin: request.ip })
      return reply.code(201).header('location', `/api/v1/devices/${created.id}`).header('etag', etagOf(created.version)).send(created)
    },
  )
}

function oneDeviceRoutes(api: Api, context: RouteContext): void {
  api.get('/devices/:id', { schema: { summary: 'One device', tags, params: DeviceIdSchema, response: answers } }, async (request, reply) => {
    const { tenant } = context.allow(request, 'read', 'devices', request.params.id)
    const device = await context.registry.getDevice(tenant, request.params.id)
    reply.header('etag', etagOf(device.version))
    return device
  })
  api.patch(
    '/devices/:id',
    { schema: { summary: 'Change labels', tags, params: DeviceIdSchema, body: Type.Object({ labels: LabelsSchema }, { additionalProperties: false }), response: answers } },
    async (request, reply) => {
      const { tenant } = context.allow(request, 'write', 'devices', request.params.id)
      const version = expectedVersion(request)
      const { labels } = await context.registry.getDevice(tenant, request.params.id)
      const device = await context.registry.updateDevice(tenant, request.params.id, request.body, version)
      context.tell(request, { before: { labels }, after: { labels: device.labels } })
      reply.header('etag', etagOf(device.version))
      return device
    },
  )
  api.get(
    '/devices/:id/latest',
    { schema: { summary: 'The newest stored reading and the metrics of the type', tags, params: DeviceIdSchema, response: { 200: Type.Object({ reading: LatestSchema, metrics: Type.Record(Type.String(), Type.String()) }), ...problemResponses() } } },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'devices', request.params.id)
      const device = await context.registry.getDevice(tenant, request.params.id)
      const reading = await context.series.latest(tenant, device.id)
      return { reading, metrics: Object.fromEntries(await context.series.metrics(tenant, device.type)) }
    },
  )
}

function isPlace(value: unknown): value is { id: string } {
  return typeof (value as { id?: unknown } | null)?.id === 'string'
}
