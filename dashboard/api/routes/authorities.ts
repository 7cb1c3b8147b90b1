import { Type } from 'typebox'
import { CRL_REASONS, type CrlReason } from '../../../contracts/certificate.ts'
import type { AuthorityOrder, AuthorityOutcome } from '../../../provisioning/ca/authority-orders.ts'
import { stateOf, type AuthorityFacts } from '../../../provisioning/ca/authority-view.ts'
import type { FastifyRequest } from 'fastify'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'

const IdSchema = Type.String({ minLength: 1, maxLength: 16, description: 'root, issuing, issuing-2, …' })

const AuthoritySchema = Type.Object({
  id: IdSchema,
  role: Type.Union([Type.Literal('root'), Type.Literal('issuing')]),
  state: Type.String({
    description:
      'issuing: signs new certificates; coming: trusted, signs from issuesFrom on; accepted: what it signed is good; retired; expired. Of a root: online or offline',
  }),
  subject: Type.String(),
  serial: Type.String({ description: 'upper-case hex' }),
  keyId: Type.String({ description: 'subject key identifier, lower-case hex' }),
  algorithm: Type.String(),
  key: Type.String({ description: 'file, pkcs11 or elsewhere' }),
  notBefore: Type.Integer(),
  notAfter: Type.Integer(),
  root: Type.Optional(Type.String()),
  issuesFrom: Type.Optional(Type.Integer({ description: 'epoch ms' })),
  retiredAt: Type.Optional(Type.Integer()),
  retiredReason: Type.Optional(Type.String()),
  crl: Type.Optional(Type.Object({ number: Type.Integer(), thisUpdate: Type.Integer(), nextUpdate: Type.Integer() })),
  validCertificates: Type.Optional(
    Type.Integer({ description: 'device certificates of it that are neither revoked nor expired, of all tenants' }),
  ),
  pem: Type.String(),
})
const RequestSchema = Type.Object({ id: IdSchema, requestedAt: Type.Integer() })
const OutcomeSchema = Type.Object({
  id: IdSchema,
  csrPem: Type.Optional(Type.String({ description: 'PKCS#10, to be signed by a root elsewhere' })),
  issuesFrom: Type.Optional(Type.Integer({ description: 'epoch ms from which on it signs; it is trusted now' })),
  revoked: Type.Optional(Type.Integer({ description: 'certificates of it that were revoked' })),
})
const tags = ['certificates']
const response = { 200: OutcomeSchema, ...problemResponses() }
type Place = (request: FastifyRequest, order: AuthorityOrder) => Promise<AuthorityOutcome>

/** Characters of PEM: a chain of five certificates takes about 10 000. */
const PEM_CHARACTERS_MAX = 65_536
const ReasonSchema = Type.Unsafe<CrlReason>({ type: 'string', enum: Object.keys(CRL_REASONS), default: 'superseded' })

/** The CAs. Changes are carried out by the process that holds their keys, whichever it is. */
export function authorityRoutes(api: Api, context: RouteContext): void {
  const place: Place = async (request, order) => {
    const { actor } = context.allow(request, 'write', 'authorities')
    context.tell(request, { action: `certificate.authority-${order.kind}`, ...('id' in order ? { subject: { kind: 'authority', id: order.id } } : {}) })
    const outcome = await context.authorityOrders.place(order, actor)
    const { csrPem: _csrPem, ...after } = outcome
    context.tell(request, { subject: { kind: 'authority', id: outcome.id }, after })
    return outcome
  }
  api.get(
    '/certificates/authorities',
    {
      schema: {
        summary: 'Roots and issuing CAs',
        tags,
        response: { 200: Type.Object({ items: Type.Array(AuthoritySchema), requests: Type.Array(RequestSchema) }), ...problemResponses() },
      },
    },
    async (request) => {
      context.allow(request, 'read', 'authorities')
      const { authorities, requests } = await context.authorityOrders.list()
      const nowMs = context.clock.nowMs()
      return { items: await Promise.all(authorities.map((facts) => viewOf(context, facts, authorities, nowMs))), requests }
    },
  )
  newAuthorityRoutes(api, place)
  endingRoutes(api, place)
}

/** A new issuing CA, signed here or elsewhere. */
function newAuthorityRoutes(api: Api, place: Place): void {
  api.post(
    '/certificates/authorities/roll',
    {
      schema: {
        summary: 'A new issuing CA, signed by our own root; it is trusted at once and signs after the cross-over delay',
        tags,
        response,
      },
    },
    (request) => place(request, { kind: 'roll' }),
  )
  api.post(
    '/certificates/authorities/request',
    { schema: { summary: 'A new CA key, and a request to have it signed by a root elsewhere', tags, response } },
    (request) => place(request, { kind: 'request' }),
  )
  api.post(
    '/certificates/authorities/import',
    {
      schema: {
        summary: 'The certificate for such a request, with the chain up to its root',
        tags,
        body: Type.Object({ pem: Type.String({ minLength: 1, maxLength: PEM_CHARACTERS_MAX }) }, { additionalProperties: false }),
        response,
      },
    },
    (request) => place(request, { kind: 'import', pem: request.body.pem }),
  )
}

/** What ends one. */
function endingRoutes(api: Api, place: Place): void {
  api.post(
    '/certificates/authorities/root-crl',
    {
      schema: {
        summary: 'The CRL of a root whose key is elsewhere',
        tags,
        body: Type.Object(
          { crl: Type.String({ minLength: 1, maxLength: PEM_CHARACTERS_MAX, description: 'PEM' }) },
          { additionalProperties: false },
        ),
        response,
      },
    },
    (request) => place(request, { kind: 'root-crl', crl: request.body.crl }),
  )
  api.post(
    '/certificates/authorities/:id/retire',
    {
      schema: {
        summary: 'Nothing that it signed is accepted from now on',
        tags,
        params: Type.Object({ id: IdSchema }),
        body: Type.Object(
          {
            reason: ReasonSchema,
            force: Type.Boolean({
              default: false,
              description: 'revoke its valid certificates first; without it they forbid the retirement',
            }),
          },
          { additionalProperties: false },
        ),
        response,
      },
    },
    (request) => place(request, { kind: 'retire', id: request.params.id, ...request.body }),
  )
}

async function viewOf({ certificates }: RouteContext, facts: AuthorityFacts, all: readonly AuthorityFacts[], nowMs: number) {
  const valid = facts.role === 'issuing' ? { validCertificates: await certificates.countValid(facts.keyId, nowMs) } : {}
  return { ...facts, state: stateOf(facts, all, nowMs), ...valid }
}
