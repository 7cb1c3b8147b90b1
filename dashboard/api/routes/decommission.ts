import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { authorise, type Principal } from '../../../contracts/authorisation.ts'
import { DEVICE_ID_PATTERN, TENANT_PATTERN } from '../../../contracts/device.ts'
import { WIPE_TIMEOUT_MS_MAX } from '../../../device-registry/decommission/config.ts'
import { HistoryRuleSchema, JobSchema } from '../../../device-registry/decommission/job.ts'
import { AccessError, ConflictError } from '../../../kernel/errors.ts'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'
import { WhySchema } from './device-life.ts'
import { DeviceIdSchema } from './devices.ts'

const tags = ['devices']
const WipeSchema = {
  wipe: Type.Optional(
    Type.Boolean({ description: 'whether the device is told to wipe itself; default as configured, for a transfer false' }),
  ),
  wipeTimeoutMs: Type.Optional(
    Type.Integer({ minimum: 0, maximum: WIPE_TIMEOUT_MS_MAX, description: 'ms for which its answer is waited for' }),
  ),
}
const TenantSchema = Type.String({ pattern: TENANT_PATTERN })
const TenantQuerySchema = Type.Object({
  tenant: Type.Optional(Type.String({ pattern: TENANT_PATTERN, description: 'of the device, where it is not your own' })),
})
/** The media type of a JWS in compact form, RFC 7515 §9.2.1. */
const JOSE = 'application/jose'

export function decommissionRoutes(api: Api, context: RouteContext): void {
  leaveRoutes(api, context)
  receiptRoute(api, context)
  transferRoutes(api, context)
}

function leaveRoutes(api: Api, context: RouteContext): void {
  api.post(
    '/devices/:id/decommission',
    {
      schema: {
        summary:
          'Decommission a device for good: wipe command, certificates, sessions, retained messages, readings by policy; its id never comes back',
        tags,
        params: DeviceIdSchema,
        body: Type.Object(
          {
            readings: Type.Optional(
              Type.Union([Type.Literal('keep'), Type.Literal('erase')], {
                description: 'what becomes of its readings; default as configured',
              }),
            ),
            ...WipeSchema,
            why: WhySchema,
          },
          { additionalProperties: false },
        ),
        response: { 202: JobSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { id: device } = request.params
      const { tenant, actor } = context.allow(request, 'revoke', 'devices', device)
      const job = await context.decommission.decommission(tenant, device, { ...request.body, origin: request.ip }, actor)
      return reply.code(202).header('location', `/api/v1/devices/${device}/decommission`).send(job)
    },
  )
  api.get(
    '/devices/:id/decommission',
    {
      schema: {
        summary: 'How far a device is on its way out, step by step',
        tags,
        params: DeviceIdSchema,
        querystring: TenantQuerySchema,
        response: { 200: JobSchema, ...problemResponses() },
      },
    },
    (request) => context.decommission.get(tenantOf(context, request, request.query.tenant), request.params.id),
  )
}

function receiptRoute(api: Api, context: RouteContext): void {
  api.get(
    '/devices/:id/receipt',
    {
      schema: {
        summary: `The signed receipt of a decommissioned or transferred device; with "Accept: ${JOSE}" the bare JWS. Keys: /.well-known/jwks.json`,
        tags,
        params: DeviceIdSchema,
        querystring: TenantQuerySchema,
        response: {
          200: {
            description: 'the receipt',
            content: {
              'application/json': { schema: Type.Object({ jws: Type.String(), statement: Type.Record(Type.String(), Type.Unknown()) }) },
              [JOSE]: { schema: Type.String() },
            },
          },
          ...problemResponses(),
        },
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(context, request, request.query.tenant)
      const jws = await context.decommission.receipt(tenant, request.params.id)
      if (request.headers.accept?.includes(JOSE) === true) return reply.type(JOSE).send(jws)
      const statement = JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>
      return reply.type('application/json').send({ jws, statement })
    },
  )
}

function transferRoutes(api: Api, context: RouteContext): void {
  api.post(
    '/devices/:id/transfer',
    {
      schema: {
        summary:
          'Transfer a device to another tenant: as decommissioning here, and registered there with no certificate. Its history stays (keep), moves along or is erased',
        tags,
        params: DeviceIdSchema,
        body: Type.Object(
          {
            to: TenantSchema,
            as: Type.Optional(Type.String({ pattern: DEVICE_ID_PATTERN, description: 'its id there; default the one it has' })),
            from: Type.Optional(Type.String({ pattern: TENANT_PATTERN, description: 'where it is now; default your own tenant' })),
            history: HistoryRuleSchema,
            ...WipeSchema,
            why: WhySchema,
          },
          { additionalProperties: false },
        ),
        response: { 202: JobSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { id: device } = request.params
      const { to, as = device, from, history, ...rest } = request.body
      const principal = context.allow(request, 'transfer', 'devices', device)
      const tenant = from ?? principal.tenant
      for (const other of [tenant, to]) demandTransfer(principal, other)
      const asked = { ...rest, to: { tenant: to, device: as }, readings: history, origin: request.ip }
      const job = await context.decommission.transfer(tenant, device, asked, principal.actor)
      return reply.code(202).header('location', `/api/v1/devices/${device}/decommission`).send(job)
    },
  )
  api.post(
    '/devices/:id/transfer/token',
    {
      schema: {
        summary: 'A one-time enrolment token with which a transferred device enrols in its new tenant',
        tags,
        params: DeviceIdSchema,
        querystring: TenantQuerySchema,
        response: {
          201: Type.Object({ token: Type.String(), tenant: Type.String(), deviceId: Type.String(), expiresAt: Type.Integer() }),
          ...problemResponses(),
        },
      },
    },
    async (request, reply) => {
      const principal = context.allow(request, 'transfer', 'devices', request.params.id)
      const from = request.query.tenant ?? principal.tenant
      demandTransfer(principal, from)
      const { to, state } = await context.decommission.get(from, request.params.id)
      if (to === null || state !== 'done')
        throw new ConflictError(`device ${request.params.id} was not transferred, or is still on its way`)
      demandTransfer(principal, to.tenant)
      const made = await context.enrolmentTokens.create({ tenant: to.tenant, deviceId: to.device, by: principal.actor })
      context.tell(request, { subject: { kind: 'device', id: request.params.id }, after: { to, expiresAt: made.expiresAt } })
      return reply.code(201).send({ ...made, tenant: to.tenant, deviceId: to.device })
    },
  )
}

/** The tenant whose device is asked for: one's own, or another by whoever may transfer there. */
function tenantOf(context: RouteContext, request: FastifyRequest<{ Params: { id: string } }>, asked: string | undefined): string {
  const principal = context.allow(request, 'read', 'devices', request.params.id)
  if (asked !== undefined && asked !== principal.tenant) demandTransfer(principal, asked)
  return asked ?? principal.tenant
}

function demandTransfer(principal: Principal, tenant: string): void {
  if (authorise(principal, 'transfer', { tenant, kind: 'devices' })) return
  throw new AccessError('FORBIDDEN', `${principal.id} may not transfer devices of tenant ${tenant}.`)
}
