import { Type } from 'typebox'
import { DEVICE_ID_PATTERN } from '../../../contracts/device.ts'
import { ConflictError, InvalidInputError, type FleetpulseError } from '../../../kernel/errors.ts'
import { csrDerOf } from '../../../provisioning/doors/csr-text.ts'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'

const IssuedSchema = Type.Object({
  device: Type.String(),
  serial: Type.String(),
  notAfter: Type.Integer({ description: 'epoch ms' }),
  certificate: Type.String({ description: 'PEM: the leaf, and the CA that issued it' }),
  ca: Type.String({ description: 'PEM: what to trust' }),
})

/** An operator's word for a device: a certificate for a request that the device, or whoever holds its key, made. */
export function deviceCertificateRoutes(api: Api, context: RouteContext): void {
  api.post(
    '/devices/:id/certificates',
    {
      schema: {
        summary: 'A certificate for a certification request (PKCS#10) of this device; the key stays where the request was made',
        tags: ['provisioning'],
        params: Type.Object({ id: Type.String({ pattern: DEVICE_ID_PATTERN }) }),
        body: Type.Object(
          { csr: Type.String({ minLength: 1, maxLength: 16_384, description: 'PEM or base64' }) },
          { additionalProperties: false },
        ),
        response: { 201: IssuedSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { id: device } = request.params
      const { tenant, actor } = context.allow(request, 'enrol', 'certificates', device)
      await context.registry.getDevice(tenant, device)
      const der = csrDerOf(Buffer.from(request.body.csr))
      if (der === undefined) throw refusal('malformed', 'the text is neither PEM nor base64')
      const answer = await context.operatorDoor.enrol({ tenant, device }, der, actor)
      if (answer.status === 'refused') throw refusal(answer.reason, answer.detail)
      const { serial, notAfter, certificate, ca } = answer
      const after = { serial, notAfter, door: 'operator' }
      context.tell(request, { action: 'certificate.issue', subject: { kind: 'certificate', id: serial }, device, after })
      return reply.code(201).header('location', `/api/v1/certificates/${serial}`).send({ device, serial, notAfter, certificate, ca })
    },
  )
}

function refusal(reason: string, detail: string): FleetpulseError {
  return reason === 'device-refused' ? new ConflictError(detail) : new InvalidInputError(`csr: ${detail}`, { details: { field: 'csr' } })
}
