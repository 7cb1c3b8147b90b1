import { Type } from 'typebox'
import { FINDING_SEVERITIES, FindingSchema, type FindingSeverity } from '../../../contracts/finding.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, decodeCursor, encodeCursor, LimitSchema, listOf } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const tags = ['security']
const IdSchema = Type.Object({ id: Type.String({ pattern: '^[0-9a-f]{1,64}$' }) })
const StateSchema = Type.Union([Type.Literal('open'), Type.Literal('suppressed'), Type.Literal('resolved')], {
  description: '`suppressed`: open, and does not count for now',
})
const CountsSchema = Type.Object(Object.fromEntries(FINDING_SEVERITIES.map((severity) => [severity, Type.Integer()])) as Record<FindingSeverity, ReturnType<typeof Type.Integer>>)
const RunSchema = Type.Object({
  by: Type.String(),
  startedAt: Type.Integer(),
  finishedAt: Type.Union([Type.Integer(), Type.Null()]),
  certificates: Type.Integer({ description: 'certificates looked at' }),
  open: Type.Integer({ description: 'findings that count afterwards' }),
})
const ScoreSchema = Type.Object({
  score: Type.Number({ description: '0 to 100; 100 means that nothing was found' }),
  devices: Type.Integer(),
  counts: CountsSchema,
  suppressed: Type.Integer(),
  worst: Type.Array(Type.Object({ device: Type.String(), score: Type.Number(), findings: Type.Integer() })),
  lastRun: Type.Union([Type.Null(), RunSchema]),
})

/** The security check: what it found, and what is thought of it. */
export function findingRoutes(api: Api, context: RouteContext): void {
  readingRoutes(api, context)
  decidingRoutes(api, context)
}

function readingRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/findings',
    {
      schema: {
        summary: 'Security findings, worst first',
        tags,
        querystring: Type.Object({
          state: Type.Optional(StateSchema),
          check: Type.Optional(FindingSchema.properties.check),
          severity: Type.Optional(FindingSchema.properties.severity),
          device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
          limit: LimitSchema,
          cursor: CursorSchema,
        }),
        response: { 200: listOf(FindingSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'findings')
      const { cursor, limit, ...filter } = request.query
      const page = await context.posture.list({
        tenant,
        ...filter,
        limit: context.pageSize(limit),
        ...(cursor === undefined ? {} : { after: decodeCursor(cursor, isPlace) }),
      })
      return { items: page.items, next: page.next === null ? null : encodeCursor(page.next) }
    },
  )
  api.get(
    '/findings/score',
    {
      schema: {
        summary: 'Score of the fleet, or of one device',
        tags,
        querystring: Type.Object({ device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })) }),
        response: { 200: Type.Union([ScoreSchema, Type.Object({ device: Type.String(), score: Type.Number() })]), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'findings')
      const { device } = request.query
      if (device === undefined) return context.posture.score(tenant)
      const { id } = await context.registry.getDevice(tenant, device)
      return { device: id, score: await context.posture.scoreOf(tenant, id) }
    },
  )
  api.get('/findings/:id', { schema: { summary: 'One finding', tags, params: IdSchema, response: { 200: FindingSchema, ...problemResponses() } } }, async (request) => {
    const { tenant } = context.allow(request, 'read', 'findings', request.params.id)
    return context.posture.get(tenant, request.params.id)
  })
}

function decidingRoutes(api: Api, context: RouteContext): void {
  api.post('/findings/check', { schema: { summary: 'Check everything now; answers when it is done', tags, response: { 200: RunSchema, ...problemResponses() } } }, async (request) => {
    const { actor } = context.allow(request, 'write', 'findings')
    const run = await context.posture.check(actor)
    const { by, startedAt, finishedAt, certificates, open } = run
    context.tell(request, { subject: { kind: 'finding', id: 'all' }, after: { certificates, open } })
    return { by, startedAt, finishedAt, certificates, open }
  })
  api.post(
    '/findings/:id/suppress',
    {
      schema: {
        summary: 'It is known: until a time, at most a year ahead, it neither counts nor alerts',
        tags,
        params: IdSchema,
        body: Type.Object({ until: Type.Integer({ description: 'epoch ms' }), why: Type.String({ minLength: 1, maxLength: 1_000 }) }, { additionalProperties: false }),
        response: { 200: FindingSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant, actor } = context.allow(request, 'write', 'findings', request.params.id)
      const { until, why } = request.body
      const before = await context.posture.get(tenant, request.params.id)
      const finding = await context.posture.suppress(tenant, request.params.id, { until, why, by: actor })
      context.tell(request, { why, ...deviceOf(finding.device), before: suppressionOf(before), after: suppressionOf(finding) })
      return finding
    },
  )
  api.post('/findings/:id/restore', { schema: { summary: 'End a suppression: it counts again', tags, params: IdSchema, response: { 200: FindingSchema, ...problemResponses() } } }, async (request) => {
    const { tenant } = context.allow(request, 'write', 'findings', request.params.id)
    const before = await context.posture.get(tenant, request.params.id)
    const finding = await context.posture.restore(tenant, request.params.id)
    context.tell(request, { ...deviceOf(finding.device), before: suppressionOf(before), after: suppressionOf(finding) })
    return finding
  })
}

function suppressionOf({ check, subject, suppressedUntil, suppressedWhy }: { check: string; subject: object; suppressedUntil: number; suppressedWhy: string | null }) {
  return { check, subject, suppressedUntil, suppressedWhy }
}

function deviceOf(device: string | null): { device?: string } {
  return device === null ? {} : { device }
}

function isPlace(value: unknown): value is { rank: number; id: string } {
  const { rank, id } = (value ?? {}) as { rank?: unknown; id?: unknown }
  return Number.isInteger(rank) && typeof id === 'string'
}
