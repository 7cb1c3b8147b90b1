import { Type } from 'typebox'
import { DEVICE_ID_PATTERN } from '../../../contracts/device.ts'
import { InvalidInputError } from '../../../kernel/errors.ts'
import type { StoredClaim } from '../../../provisioning/doors/claims.ts'
import type { Api, RouteContext } from '../context.ts'
import { listOf } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const ClaimSchema = Type.Object({
  id: Type.String(),
  type: Type.Union([Type.String(), Type.Null()], {
    description: 'type of the devices it lets in; null: the one each is registered with, or generic',
  }),
  devices: Type.String({ description: 'what device ids must look like; * stands for anything' }),
  labels: Type.Record(Type.String(), Type.String()),
  devicesMax: Type.Integer(),
  devicesUsed: Type.Integer(),
  expiresAt: Type.Integer({ description: 'epoch ms; its certificate expires then' }),
  state: Type.Union([Type.Literal('active'), Type.Literal('revoked')]),
  revokedAt: Type.Union([Type.Integer(), Type.Null()]),
  serial: Type.String({ description: 'of its certificate' }),
  createdAt: Type.Integer(),
  by: Type.String(),
})
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const LabelsSchema = Type.Record(Type.String({ minLength: 1, maxLength: 64 }), Type.String({ maxLength: 256 }), { maxProperties: 32 })

const NewClaimSchema = Type.Object(
  {
    id: Type.String({ pattern: DEVICE_ID_PATTERN }),
    csr: Type.String({
      minLength: 1,
      maxLength: 16_384,
      description: 'PKCS#10 request as PEM, signed with the key of the batch; the key stays with its maker',
    }),
    type: Type.Optional(Type.String({ pattern: DEVICE_ID_PATTERN })),
    devices: Type.Optional(
      Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9._*-]+$', description: 'default * (any name)' }),
    ),
    labels: Type.Optional(LabelsSchema),
    devicesMax: Type.Integer({ minimum: 1, description: 'how many devices it may let in' }),
    lifetimeMs: Type.Optional(
      Type.Integer({ minimum: 1_000, description: 'ms for which it is good; default and most: enrolment.claimLifetimeMs' }),
    ),
  },
  { additionalProperties: false },
)

const tags = ['provisioning']

export function claimRoutes(api: Api, context: RouteContext): void {
  readRoutes(api, context)
  changeRoutes(api, context)
}

function readRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/claims',
    {
      schema: {
        summary: 'Claims: certificates of production batches',
        tags,
        response: { 200: listOf(ClaimSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'claims')
      return { items: (await context.claims.list(tenant)).map(viewOf), next: null }
    },
  )
  api.get(
    '/claims/:id',
    { schema: { summary: 'One claim', tags, params: IdSchema, response: { 200: ClaimSchema, ...problemResponses() } } },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'claims', request.params.id)
      return viewOf(await context.claims.get(tenant, request.params.id))
    },
  )
}

function changeRoutes(api: Api, context: RouteContext): void {
  api.post(
    '/claims',
    {
      schema: {
        summary: 'Issue a claim certificate: its holder may ask on MQTT for certificates of so many devices, for so long',
        tags,
        body: NewClaimSchema,
        response: {
          201: Type.Object({
            claim: ClaimSchema,
            certificate: Type.String({ description: 'PEM: the claim certificate and its issuing CA' }),
            ca: Type.String({ description: 'PEM: what to trust' }),
          }),
          ...problemResponses(),
        },
      },
    },
    async (request, reply) => {
      const { tenant, actor: by } = context.allow(request, 'enrol', 'claims')
      const { id, csr, type, devices, labels, devicesMax, lifetimeMs } = request.body
      const { claim, certificatePem, caPem } = await context.claims.create({
        ...{ tenant, id, csrDer: derOf(csr), devicesMax, by, origin: request.ip },
        ...{ type: type ?? null, devices: devices ?? '*', labels: labels ?? {} },
        ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
      })
      return reply.code(201).send({ claim: viewOf(claim), certificate: certificatePem, ca: caPem })
    },
  )
  api.post(
    '/claims/:id/revoke',
    {
      schema: {
        summary: 'End a claim at once: connections are cut and requests refused; repeating it changes nothing',
        tags,
        params: IdSchema,
        body: Type.Object(
          { devices: Type.Optional(Type.Boolean({ description: 'true also revokes the certificates of the devices that it let in' })) },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object({ claim: ClaimSchema, revokedCertificates: Type.Integer() }), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant, actor: by } = context.allow(request, 'revoke', 'claims', request.params.id)
      const act = { by, origin: request.ip, devices: request.body.devices === true }
      const { claim, revoked } = await context.claims.revoke(tenant, request.params.id, act)
      return { claim: viewOf(claim), revokedCertificates: revoked }
    },
  )
}

function derOf(pem: string): Buffer {
  const base64 = pem.replace(/-----(?:BEGIN|END) (?:NEW )?CERTIFICATE REQUEST-----/g, '').replace(/\s/g, '')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64))
    throw new InvalidInputError('csr: is not a PEM certificate request', { details: { field: 'csr' } })
  return Buffer.from(base64, 'base64')
}

function viewOf(claim: StoredClaim) {
  const { id, type, devices, labels, devicesMax, devicesUsed, expiresAt, state, revokedAt, serial, createdAt, by } = claim
  return { id, type, devices, labels, devicesMax, devicesUsed, expiresAt, state, revokedAt, serial, createdAt, by }
}
