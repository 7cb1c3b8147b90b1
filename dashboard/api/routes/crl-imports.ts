import { Type } from 'typebox'
import { InvalidInputError } from '../../../kernel/errors.ts'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'

const CRL_TYPES = ['application/pkix-crl', 'application/x-pem-file', 'application/octet-stream']

const OutcomeSchema = Type.Union([Type.Literal('revoked'), Type.Literal('already-revoked'), Type.Literal('unknown'), Type.Literal('ignored')], {
  description: 'unknown: that CA gave none of your devices this serial; ignored: it ends a hold, and what is revoked stays revoked',
})

const ImportedSchema = Type.Object({
  issuer: Type.String({ description: 'subject of the CA that signed it' }),
  number: Type.Union([Type.String(), Type.Null()]),
  isDelta: Type.Boolean(),
  thisUpdate: Type.Integer(),
  nextUpdate: Type.Union([Type.Integer(), Type.Null()]),
  isStale: Type.Boolean({ description: 'there may be a newer one; what it lists is revoked all the same' }),
  summary: Type.Record(Type.String(), Type.Integer()),
  entries: Type.Array(Type.Object({ serial: Type.String(), reason: Type.String(), outcome: OutcomeSchema, device: Type.Optional(Type.String()) })),
})

/** CRLs of CAs that we know: what they list is revoked here. */
export function crlImportRoutes(api: Api, context: RouteContext): void {
  for (const type of CRL_TYPES) {
    api.addContentTypeParser(type, { parseAs: 'buffer', bodyLimit: context.crlImport.bytesMax }, (_request, body, done) => done(null, body))
  }
  api.post(
    '/crl-imports',
    {
      bodyLimit: context.crlImport.bytesMax,
      schema: {
        summary: 'Revoke what a CRL lists (DER or PEM), signed by one of our CAs or a registered one; repeating it changes nothing',
        tags: ['certificates'],
        consumes: CRL_TYPES,
        response: { 200: ImportedSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant, actor } = context.allow(request, 'revoke', 'certificates')
      if (!Buffer.isBuffer(request.body)) {
        throw new InvalidInputError('there is no CRL in the request', { remedy: `Send it as it is, with Content-Type ${CRL_TYPES.join(' or ')}.` })
      }
      return context.crlImport.import(tenant, request.body, actor)
    },
  )
}
