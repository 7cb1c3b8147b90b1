import { Type } from 'typebox'
import { DeviceTransitionSchema } from '../../../contracts/device.ts'
import { WHY_CHARACTERS_MAX } from '../../../device-registry/steps.ts'
import type { Api, RouteContext } from '../context.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'
import { DeviceIdSchema, DeviceViewSchema } from './devices.ts'

export const WhySchema = Type.Optional(Type.String({ minLength: 1, maxLength: WHY_CHARACTERS_MAX, description: 'for the record' }))

const StateSchema = Type.Union([Type.Literal('suspended'), Type.Literal('quarantined'), Type.Literal('active')])

const tags = ['devices']

/** Where a device is in its life, and how it came there. */
export function deviceLifeRoutes(api: Api, context: RouteContext): void {
  api.post(
    '/devices/:id/state',
    {
      schema: {
        summary:
          'Suspend a device (it is disconnected at once, and gets no certificate), quarantine it (it connects, its readings are set aside), or take it back with `active`: it goes on where it was',
        tags,
        params: DeviceIdSchema,
        body: Type.Object({ state: StateSchema, why: WhySchema }, { additionalProperties: false }),
        response: { 200: DeviceViewSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { tenant, actor } = context.allow(request, 'write', 'devices', request.params.id)
      const { state, why } = request.body
      const version = expectedVersion(request)
      const device = await context.registry.transition(tenant, request.params.id, state, actor, {
        origin: request.ip,
        ...(why === undefined ? {} : { why }),
        ...(version === undefined ? {} : { version }),
      })
      reply.header('etag', etagOf(device.version))
      return device
    },
  )
  api.get(
    '/devices/:id/history',
    {
      schema: {
        summary: 'The steps of its life, newest first: who, why, when; the audit trail goes further back',
        tags,
        params: DeviceIdSchema,
        response: { 200: Type.Object({ items: Type.Array(DeviceTransitionSchema) }), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'devices', request.params.id)
      return { items: await context.registry.history(tenant, request.params.id) }
    },
  )
}
