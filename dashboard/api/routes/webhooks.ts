import { Type } from 'typebox'
import { WEBHOOK_EVENTS } from '../../../alerts/webhooks/webhook-documents.ts'
import type { DeliveryView, EndpointView } from '../../../alerts/webhooks/webhook-views.ts'
import { NOTIFIER_KINDS, type NotifierKind } from '../../../alerts/notifiers/notifier.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf } from '../lists.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'

const EventSchema = Type.Union(WEBHOOK_EVENTS.map((event) => Type.Literal(event)))
const KindSchema = Type.Unsafe<NotifierKind>({ type: 'string', enum: [...NOTIFIER_KINDS], description: 'how it is told; default standard-webhooks' })
const SETTINGS = {
  events: Type.Optional(Type.Array(EventSchema, { maxItems: 32, uniqueItems: true, description: 'none: it gets only what the routing sends there' })),
  description: Type.Optional(Type.String({ maxLength: 500 })),
  enabled: Type.Optional(Type.Boolean()),
  kind: Type.Optional(KindSchema),
  template: Type.Optional(Type.Union([Type.String({ maxLength: 4_000 }), Type.Null()], { description: 'the text people read, with {{ paths }} into the notice; null: the plain one' })),
  ordered: Type.Optional(Type.Boolean({ description: 'one at a time, in order: the next waits until the one before is delivered or parked' })),
}
const UrlSchema = Type.String({ minLength: 1, maxLength: 2_048, description: 'where notices are POSTed' })
const EndpointSchema = Type.Object({
  id: Type.String(),
  kind: KindSchema,
  template: Type.Union([Type.String(), Type.Null()]),
  ordered: Type.Boolean(),
  restsUntil: Type.Union([Type.Integer(), Type.Null()], { description: 'it failed too often in a row and gets nothing until then, epoch ms' }),
  url: Type.String(),
  events: Type.Array(Type.String()),
  description: Type.String(),
  enabled: Type.Boolean(),
  disabledReason: Type.Union([Type.String(), Type.Null()]),
  createdAt: Type.Integer(),
  updatedAt: Type.Integer(),
  version: Type.Integer(),
})
const WithSecretSchema = Type.Object({ endpoint: EndpointSchema, secret: Type.String({ description: 'whsec_…, shown here and never again' }) })
const DeliverySchema = Type.Object({
  id: Type.String({ description: 'goes out as webhook-id' }),
  endpointId: Type.String(),
  type: Type.String(),
  alertId: Type.Union([Type.String(), Type.Null()]),
  incidentId: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  templateError: Type.Optional(Type.Union([Type.String(), Type.Null()], { description: 'why the plain text went out instead of the template' })),
  correlationId: Type.String(),
  state: Type.String({ description: 'pending, delivered or dead' }),
  parkReason: Type.Union([Type.String(), Type.Null()]),
  attemptsMade: Type.Integer(),
  attemptsMax: Type.Integer(),
  nextAttemptAt: Type.Union([Type.Integer(), Type.Null()]),
  createdAt: Type.Integer(),
  updatedAt: Type.Integer(),
  body: Type.String(),
  attempts: Type.Array(
    Type.Object({
      at: Type.Integer(),
      durationMs: Type.Number(),
      url: Type.String(),
      status: Type.Union([Type.Integer(), Type.Null()]),
      error: Type.Union([Type.String(), Type.Null()]),
      headersMs: Type.Optional(Type.Union([Type.Number(), Type.Null()])),
      requestHeaders: Type.Optional(Type.Record(Type.String(), Type.String())),
      responseHeaders: Type.Optional(Type.Record(Type.String(), Type.String())),
      responseBody: Type.String(),
    }),
  ),
})
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const DeliveryIdSchema = Type.Object({ deliveryId: Type.String({ minLength: 1, maxLength: 200 }) })
const PageSchema = { limit: LimitSchema, cursor: CursorSchema }
const tags = ['webhooks']

export function webhookRoutes(api: Api, context: RouteContext): void {
  endpointRoutes(api, context)
  deliveryRoutes(api, context)
}

function endpointRoutes(api: Api, context: RouteContext): void {
  const { webhooks } = context
  const answers = { 200: EndpointSchema, ...problemResponses() }
  api.get('/webhooks', { schema: { summary: 'Webhook endpoints, newest first', tags, querystring: Type.Object(PageSchema), response: { 200: listOf(EndpointSchema), ...problemResponses() } } }, async (request) => {
    const principal = context.allow(request, 'read', 'webhooks')
    const page = await webhooks.list(principal, { ...request.query, limit: context.pageSize(request.query.limit, webhooks.pageItemsMax) })
    return { items: page.items.map(plain), next: page.next }
  })
  api.post(
    '/webhooks',
    { schema: { summary: 'Add an endpoint; its signing secret is answered once', tags, body: Type.Object({ url: UrlSchema, ...SETTINGS }, { additionalProperties: false }), response: { 201: WithSecretSchema, ...problemResponses() } } },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'webhooks')
      const { endpoint, secret } = await webhooks.create(principal, request.body)
      context.tell(request, { subject: { kind: 'webhook', id: endpoint.id }, after: plain(endpoint) })
      return reply.code(201).header('location', `/api/v1/webhooks/${endpoint.id}`).header('etag', etagOf(endpoint.version)).send({ endpoint: plain(endpoint), secret: secret.reveal() })
    },
  )
  api.get('/webhooks/:id', { schema: { summary: 'One endpoint', tags, params: IdSchema, response: answers } }, async (request, reply) => {
    const principal = context.allow(request, 'read', 'webhooks', request.params.id)
    const endpoint = await webhooks.get(principal, request.params.id)
    reply.header('etag', etagOf(endpoint.version))
    return plain(endpoint)
  })
  api.patch(
    '/webhooks/:id',
    { schema: { summary: 'Change an endpoint; enabling forgets why it was disabled', tags, params: IdSchema, body: Type.Object({ url: Type.Optional(UrlSchema), ...SETTINGS }, { additionalProperties: false }), response: answers } },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'webhooks', request.params.id)
      const version = expectedVersion(request)
      const before = plain(await webhooks.get(principal, request.params.id))
      const endpoint = await webhooks.update(principal, request.params.id, request.body, version)
      context.tell(request, { before, after: plain(endpoint) })
      reply.header('etag', etagOf(endpoint.version))
      return plain(endpoint)
    },
  )
  api.delete('/webhooks/:id', { schema: { summary: 'Remove an endpoint and its delivery log', tags, params: IdSchema, response: { 204: Type.Null(), ...problemResponses() } } }, async (request, reply) => {
    const principal = context.allow(request, 'write', 'webhooks', request.params.id)
    const version = expectedVersion(request)
    const before = plain(await webhooks.get(principal, request.params.id))
    await webhooks.delete(principal, request.params.id, version)
    context.tell(request, { before })
    return reply.code(204).send(null)
  })
  api.post(
    '/webhooks/:id/rotate-secret',
    {
      schema: {
        summary: 'A new signing secret; the old one signs beside it for a while',
        tags,
        params: IdSchema,
        body: Type.Object({ keepOldMs: Type.Integer({ minimum: 0, maximum: 604_800_000, description: 'ms for which the old secret still signs' }) }, { additionalProperties: false }),
        response: { 200: WithSecretSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'write', 'webhooks', request.params.id)
      const { endpoint, secret } = await webhooks.rotateSecret(principal, request.params.id, request.body.keepOldMs)
      context.tell(request, { after: { keepOldMs: request.body.keepOldMs } })
      return { endpoint: plain(endpoint), secret: secret.reveal() }
    },
  )
}

function deliveryRoutes(api: Api, context: RouteContext): void {
  const { webhooks } = context
  const stateSchema = Type.Optional(Type.Union([Type.Literal('pending'), Type.Literal('delivered'), Type.Literal('dead')]))
  api.get(
    '/webhooks/:id/deliveries',
    { schema: { summary: 'Delivery log of an endpoint, newest first', tags, params: IdSchema, querystring: Type.Object({ state: stateSchema, ...PageSchema }), response: { 200: listOf(DeliverySchema), ...problemResponses() } } },
    async (request) => {
      const principal = context.allow(request, 'read', 'webhooks', request.params.id)
      const page = await webhooks.listDeliveries(principal, request.params.id, { ...request.query, limit: context.pageSize(request.query.limit, webhooks.pageItemsMax) })
      return { items: page.items.map((delivery: DeliveryView) => delivery), next: page.next }
    },
  )
  api.post('/webhooks/:id/test', { schema: { summary: 'Send a ping', tags, params: IdSchema, response: { 202: DeliverySchema, ...problemResponses() } } }, async (request, reply) => {
    const principal = context.allow(request, 'write', 'webhooks', request.params.id)
    return reply.code(202).send(await webhooks.ping(principal, request.params.id))
  })
  api.post(
    '/webhooks/:id/replay',
    { schema: { summary: 'Send all parked deliveries of this endpoint again, oldest first', tags, params: IdSchema, response: { 202: Type.Object({ replayed: Type.Integer() }), ...problemResponses() } } },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'webhooks', request.params.id)
      const replayed = await webhooks.replayAll(principal, request.params.id)
      context.tell(request, { after: { replayed } })
      return reply.code(202).send({ replayed })
    },
  )
  api.post(
    '/webhooks/deliveries/:deliveryId/replay',
    { schema: { summary: 'Send a delivery again', tags, params: DeliveryIdSchema, response: { 202: DeliverySchema, ...problemResponses() } } },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'webhooks')
      context.tell(request, { subject: { kind: 'webhook-delivery', id: request.params.deliveryId } })
      return reply.code(202).send(await webhooks.replay(principal, request.params.deliveryId))
    },
  )
  api.post(
    '/webhooks/:id/deliveries/:deliveryId/replay',
    { schema: { summary: 'Send a delivery of this endpoint again', tags, params: Type.Intersect([IdSchema, DeliveryIdSchema]), response: { 202: DeliverySchema, ...problemResponses() } } },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'webhooks', request.params.id)
      context.tell(request, { subject: { kind: 'webhook-delivery', id: request.params.deliveryId } })
      return reply.code(202).send(await webhooks.replayDelivery(principal, request.params.id, request.params.deliveryId))
    },
  )
}

function plain(endpoint: EndpointView) {
  const { id, kind = 'standard-webhooks', template = null, ordered = false, restsUntil = null, url, events, description, enabled, disabledReason, createdAt, updatedAt, version } = endpoint
  return { id, kind, template, ordered, restsUntil, url, events, description, enabled, disabledReason, createdAt, updatedAt, version }
}
