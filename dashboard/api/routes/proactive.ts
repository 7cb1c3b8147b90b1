import { Type } from 'typebox'
import { FiringSchema, VerdictSchema } from '../../../agents/proactive/firing.ts'
import { QualitySchema } from '../../../agents/proactive/quality.ts'
import { ProactiveRuleSchema } from '../../../agents/proactive/rule.ts'
import type { ProactiveRuleView } from '../../../agents/proactive/rules-service.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf } from '../lists.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'
import { InvalidInputError } from '../../../kernel/errors.ts'

const tags = ['proactive']
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const RuleView = Type.Object({
  id: Type.String(),
  ...ProactiveRuleSchema.properties,
  ruleVersion: Type.Integer({ description: '0: as it comes with the platform' }),
  builtIn: Type.Boolean({ description: 'comes with the platform: removing a change of it brings it back' }),
  changedBy: Type.Union([Type.String(), Type.Null()]),
  changedAt: Type.Union([Type.Integer(), Type.Null()], { description: 'epoch ms' }),
})

/** Patterns that agents look for by themselves, and what they begin then. */
export function proactiveRoutes(api: Api, context: RouteContext): void {
  const answers = { 200: RuleView, ...problemResponses() }
  const { proactive } = context
  api.get(
    '/proactive-rules',
    { schema: { summary: 'Proactive rules by id', tags, response: { 200: listOf(RuleView), ...problemResponses() } } },
    async (request) => ({ items: await proactive.rules.list(context.allow(request, 'read', 'rules').tenant), next: null }),
  )
  api.post(
    '/proactive-rules',
    {
      schema: {
        summary: 'Add a proactive rule: a pattern of the closed vocabulary, of which agents begin a conversation',
        tags,
        body: ProactiveRuleSchema,
        response: { 201: RuleView, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const rule = await proactive.rules.create(context.allow(request, 'write', 'rules'), request.body)
      context.tell(request, { subject: { kind: 'proactive-rule', id: rule.id }, after: settingsOf(rule) })
      return reply.code(201).header('location', `/api/v1/proactive-rules/${rule.id}`).header('etag', etagOf(rule.ruleVersion)).send(rule)
    },
  )
  api.get(
    '/proactive-rules/:id',
    { schema: { summary: 'One proactive rule', tags, params: IdSchema, response: answers } },
    async (request, reply) => {
      const rule = await proactive.rules.get(context.allow(request, 'read', 'rules').tenant, request.params.id)
      reply.header('etag', etagOf(rule.ruleVersion))
      return rule
    },
  )
  api.put(
    '/proactive-rules/:id',
    { schema: { summary: 'Replace what a proactive rule says', tags, params: IdSchema, body: ProactiveRuleSchema, response: answers } },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'rules', request.params.id)
      const before = await proactive.rules.get(principal.tenant, request.params.id)
      const rule = await proactive.rules.replace(principal, request.params.id, request.body, expectedVersion(request))
      context.tell(request, { before: settingsOf(before), after: settingsOf(rule) })
      reply.header('etag', etagOf(rule.ruleVersion))
      return rule
    },
  )
  api.delete(
    '/proactive-rules/:id',
    {
      schema: {
        summary: 'Remove a proactive rule; one of the platform is as it came',
        tags,
        params: IdSchema,
        response: { 204: Type.Null(), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'rules', request.params.id)
      const before = await proactive.rules.get(principal.tenant, request.params.id)
      await proactive.rules.remove(principal, request.params.id, expectedVersion(request))
      context.tell(request, { before: settingsOf(before) })
      return reply.code(204).send(null)
    },
  )
  firingRoutes(api, context)
}

function firingRoutes(api: Api, context: RouteContext): void {
  const { proactive } = context
  api.get(
    '/proactive-actions',
    {
      schema: {
        summary: 'What agents began by themselves, newest first',
        tags,
        querystring: Type.Object({ limit: LimitSchema, cursor: CursorSchema }),
        response: { 200: listOf(FiringSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'agents')
      const { cursor } = request.query
      if (cursor !== undefined && !/^\d{1,16}$/.test(cursor))
        throw new InvalidInputError('cursor is not one that a page answered', { details: { field: 'cursor' } })
      const limit = context.pageSize(request.query.limit)
      const items = await proactive.firings.list(tenant, limit, cursor === undefined ? undefined : Number(cursor))
      return { items, next: items.length === limit ? String(items.at(-1)?.firedAt) : null }
    },
  )
  api.post(
    '/proactive-actions/:id/feedback',
    {
      schema: {
        summary: 'Say whether it was right, and whether something was done because of it',
        tags,
        params: IdSchema,
        body: VerdictSchema,
        response: { 200: FiringSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { id } = request.params
      const principal = context.allow(request, 'write', 'agents', id)
      const rated = await proactive.firings.rate(principal, id, request.body)
      context.tell(request, { subject: { kind: 'proactive-action', id }, after: request.body })
      return rated
    },
  )
  api.get(
    '/proactive-quality',
    {
      schema: {
        summary: 'How good it was what agents began by themselves, as people said; null until somebody has',
        tags,
        response: { 200: QualitySchema, ...problemResponses() },
      },
    },
    async (request) => proactive.firings.quality(context.allow(request, 'read', 'agents').tenant),
  )
}

function settingsOf({ id: _id, ruleVersion: _version, builtIn: _ours, changedBy: _by, changedAt: _at, ...settings }: ProactiveRuleView) {
  return settings
}
