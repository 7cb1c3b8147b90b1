import { Type } from 'typebox'
import { DEVICE_ID_PATTERN } from '../../../contracts/device.ts'
import type { StoredAuthority } from '../../../provisioning/trust/factory-authorities.ts'
import { FactoryTemplateSchema } from '../../../provisioning/trust/template.ts'
import type { Api, RouteContext } from '../context.ts'
import { listOf } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const PEM_CHARS_MAX = 65_536
const PemSchema = (description: string) => Type.String({ minLength: 1, maxLength: PEM_CHARS_MAX, description })
const StateSchema = Type.Union([Type.Literal('open'), Type.Literal('closed'), Type.Literal('removing')])
const AuthoritySchema = Type.Object({
  id: Type.String(),
  subject: Type.String(),
  fingerprint: Type.String({ description: 'SHA-256 of its public key, hex' }),
  notAfter: Type.Integer({ description: 'epoch ms' }),
  template: FactoryTemplateSchema,
  state: StateSchema,
  createdAt: Type.Integer(),
  by: Type.String(),
  certificate: Type.String({ description: 'PEM' }),
})
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })

const NewAuthoritySchema = Type.Object(
  {
    id: Type.String({ pattern: DEVICE_ID_PATTERN }),
    certificate: PemSchema('PEM of the CA that signs device certificates'),
    chain: Type.Optional(PemSchema('PEM of the CAs above it, up to a self-signed one, where it is not self-signed')),
    code: Type.String({ minLength: 1, maxLength: 64, description: 'from POST /factory-authorities/codes' }),
    proof: PemSchema('PEM of a certificate with the code as its common name, signed by the CA'),
    template: FactoryTemplateSchema,
  },
  { additionalProperties: false },
)

const tags = ['provisioning']

export function factoryAuthorityRoutes(api: Api, context: RouteContext): void {
  readRoutes(api, context)
  registerRoutes(api, context)
  changeRoutes(api, context)
}

function registerRoutes(api: Api, context: RouteContext): void {
  api.post(
    '/factory-authorities/codes',
    {
      schema: {
        summary: 'A code for a factory CA to sign, as a proof that its key is at hand; good for one registration',
        tags,
        response: {
          201: Type.Object({ code: Type.String(), expiresAt: Type.Integer({ description: 'epoch ms' }) }),
          ...problemResponses(),
        },
      },
    },
    async (request, reply) => {
      const { tenant, actor } = context.allow(request, 'enrol', 'factory-authorities')
      return reply.code(201).send(await context.factoryAuthorities.newCode(tenant, actor))
    },
  )
  api.post(
    '/factory-authorities',
    {
      schema: {
        summary: 'Register a factory CA: devices with its certificates come in by the template, at their first connection',
        tags,
        body: NewAuthoritySchema,
        response: { 201: AuthoritySchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { tenant, actor: by } = context.allow(request, 'enrol', 'factory-authorities')
      const { id, certificate, chain, code, proof, template } = request.body
      const registered = await context.factoryAuthorities.register({
        ...{ tenant, id, code, template, by, origin: request.ip },
        ...{ certificatePem: certificate, chainPem: chain ?? '', proofPem: proof },
      })
      return reply.code(201).send(viewOf(registered))
    },
  )
}

function readRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/factory-authorities',
    {
      schema: {
        summary: 'Factory CAs whose device certificates are admitted',
        tags,
        response: { 200: listOf(AuthoritySchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'factory-authorities')
      return { items: (await context.factoryAuthorities.list(tenant)).map(viewOf), next: null }
    },
  )
  api.get(
    '/factory-authorities/:id',
    { schema: { summary: 'One factory CA', tags, params: IdSchema, response: { 200: AuthoritySchema, ...problemResponses() } } },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'factory-authorities', request.params.id)
      return viewOf(await context.factoryAuthorities.get(tenant, request.params.id))
    },
  )
}

function changeRoutes(api: Api, context: RouteContext): void {
  api.post(
    '/factory-authorities/:id/state',
    {
      schema: {
        summary: 'Close a factory CA to new devices, or open it again; devices that are in stay',
        tags,
        params: IdSchema,
        body: Type.Object({ state: Type.Union([Type.Literal('open'), Type.Literal('closed')]) }, { additionalProperties: false }),
        response: { 200: AuthoritySchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant, actor: by } = context.allow(request, 'enrol', 'factory-authorities', request.params.id)
      return viewOf(
        await context.factoryAuthorities.setState(tenant, request.params.id, request.body.state, { by, origin: request.ip }),
      )
    },
  )
  api.delete(
    '/factory-authorities/:id',
    {
      schema: {
        summary: 'Remove a factory CA: everything that came in by it ends at once, and its certificates are revoked',
        tags,
        params: IdSchema,
        response: { 200: Type.Object({ revokedCertificates: Type.Integer() }), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant, actor: by } = context.allow(request, 'revoke', 'factory-authorities', request.params.id)
      const { revoked } = await context.factoryAuthorities.remove(tenant, request.params.id, { by, origin: request.ip })
      return { revokedCertificates: revoked }
    },
  )
}

function viewOf(authority: StoredAuthority) {
  const { id, subject, fingerprint, notAfter, template, state, createdAt, by, certificatePem } = authority
  return { id, subject, fingerprint, notAfter, template, state, createdAt, by, certificate: certificatePem }
}
