import { Type } from 'typebox'
import { CRL_REASONS, type CrlReason } from '../../../contracts/certificate.ts'
import type { StoredCertificate } from '../../../provisioning/certificates.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const CertificateSchema = Type.Object({
  serial: Type.String({ description: 'upper-case hex, as openssl prints it' }),
  issuer: Type.String({ description: 'key id of the CA that signed it (certificates/authorities); with the serial it names one certificate' }),
  device: Type.String(),
  state: Type.Union([Type.Literal('valid'), Type.Literal('revoked')]),
  notBefore: Type.Integer(),
  notAfter: Type.Integer(),
  issuedAt: Type.Integer(),
  revokedAt: Type.Union([Type.Integer(), Type.Null()]),
  reason: Type.Union([Type.String(), Type.Null()]),
  door: Type.String(),
  pem: Type.String(),
})
const SerialSchema = Type.Object({ serial: Type.String({ minLength: 1, maxLength: 64, description: 'hex in any case' }) })

const ReasonSchema = Type.Unsafe<CrlReason>({ type: 'string', enum: Object.keys(CRL_REASONS), description: 'a CRLReason name of RFC 5280 §5.3.1' })

export function certificateRoutes(api: Api, context: RouteContext): void {
  const tags = ['certificates']
  api.get(
    '/certificates',
    {
      schema: {
        summary: 'Device certificates, newest first',
        tags,
        querystring: Type.Object({ device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })), state: Type.Optional(CertificateSchema.properties.state), limit: LimitSchema, cursor: CursorSchema }),
        response: { 200: listOf(CertificateSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'certificates')
      const { device, state, cursor } = request.query
      const page = await context.certificates.list({
        tenant,
        limit: context.pageSize(request.query.limit),
        ...(device === undefined ? {} : { device }),
        ...(state === undefined ? {} : { state }),
        ...(cursor === undefined ? {} : { cursor }),
      })
      return { items: page.items.map(viewOf), next: page.next }
    },
  )
  api.get('/certificates/:serial', { schema: { summary: 'One certificate', tags, params: SerialSchema, response: { 200: CertificateSchema, ...problemResponses() } } }, async (request) => {
    const { tenant } = context.allow(request, 'read', 'certificates', request.params.serial)
    return viewOf(await context.certificates.get(tenant, request.params.serial))
  })
  api.post(
    '/certificates/:serial/revoke',
    {
      schema: {
        summary: 'Revoke: live sessions end at once; repeating it changes nothing',
        tags,
        params: SerialSchema,
        body: Type.Object({ reason: ReasonSchema }, { additionalProperties: false }),
        response: { 200: CertificateSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant, actor } = context.allow(request, 'revoke', 'certificates', request.params.serial)
      const revoked = await context.certificates.revoke(tenant, request.params.serial, request.body.reason, actor)
      return viewOf(revoked)
    },
  )
}

function viewOf(certificate: StoredCertificate) {
  const { serial, issuer, device, state, notBefore, notAfter, issuedAt, revokedAt, reason, door, pem } = certificate
  return { serial, issuer, device, state, notBefore, notAfter, issuedAt, revokedAt, reason, door, pem }
}
