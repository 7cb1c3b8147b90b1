import { Type } from 'typebox'
import { DEVICE_ID_PATTERN } from '../../../contracts/device.ts'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'

export function enrolmentTokenRoutes(api: Api, context: RouteContext): void {
  api.post(
    '/enrolment-tokens',
    {
      schema: {
        summary: 'A one-time token with which a device enrols over EST (HTTP Basic deviceId:token); registers an unknown device',
        tags: ['provisioning'],
        body: Type.Object({ deviceId: Type.String({ pattern: DEVICE_ID_PATTERN }), type: Type.Optional(Type.String({ pattern: DEVICE_ID_PATTERN })) }, { additionalProperties: false }),
        response: { 201: Type.Object({ token: Type.String(), deviceId: Type.String(), expiresAt: Type.Integer({ description: 'epoch ms' }) }), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { tenant, actor } = context.allow(request, 'enrol', 'enrolment-tokens')
      const { deviceId, type } = request.body
      const { token, expiresAt } = await context.enrolmentTokens.create({ tenant, deviceId, by: actor, ...(type === undefined ? {} : { type }) })
      context.tell(request, { subject: { kind: 'device', id: deviceId }, after: { type: type ?? null, expiresAt } })
      return reply.code(201).send({ token, deviceId, expiresAt })
    },
  )
}
