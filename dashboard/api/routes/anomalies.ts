import { Type } from 'typebox'
import { AlertRuleSchema } from '../../../contracts/alert.ts'
import type { Anomaly } from '../../../contracts/anomaly.ts'
import { EvidenceSchema } from '../../../contracts/evidence.ts'
import { nearestCases } from '../../../anomaly/feedback/nearest-cases.ts'
import { AnomalyEventSchema, PatternSchema } from '../../../contracts/feedback.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, decodeCursor, encodeCursor, LimitSchema, listOf, parseTime, TimeSchema } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const NumberOrNull = Type.Union([Type.Number(), Type.Null()])
const ExplanationSchema = Type.Object({
  text: Type.String(),
  observed: NumberOrNull,
  expected: NumberOrNull,
  low: NumberOrNull,
  high: NumberOrNull,
  wouldBeNormal: Type.Optional(NumberOrNull),
  contributions: Type.Array(Type.Object({ part: Type.String(), weight: Type.Number(), error: Type.Optional(Type.Number({ description: 'standard error, of a weight that was sampled' })) })),
  detector: Type.String(),
  detectorVersion: Type.Integer(),
  parameters: Type.Record(Type.String(), Type.Union([Type.Number(), Type.String(), Type.Boolean()])),
  readingsSeen: Type.Integer(),
})
const AnomalySchema = Type.Object({
  id: Type.String(),
  device: Type.String(),
  type: Type.String(),
  metric: Type.String(),
  cause: Type.String(),
  ts: Type.Integer(),
  receivedAt: Type.Integer(),
  phase: Type.String(),
  score: Type.Number(),
  severity: Type.String(),
  explanation: ExplanationSchema,
  confidence: Type.Optional(Type.Number({ description: '0 to 1: of many such anomalies, about this share is true' })),
  pattern: Type.Optional(PatternSchema),
  event: Type.Optional(AnomalyEventSchema),
  confirmedBy: Type.Optional(Type.String({ description: 'id of the feedback that made it come before its time' })),
  partition: Type.Integer(),
  offset: Type.Integer(),
  correlationId: Type.String(),
  evidence: Type.Optional(EvidenceSchema),
  rule: Type.Optional(AlertRuleSchema),
  retracted: Type.Optional(Type.Boolean({ description: 'a corrected window takes back what was raised' })),
})
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 400 }) })
const CaseSchema = Type.Object({
  id: Type.String(),
  ts: Type.Integer(),
  score: Type.Number(),
  likeness: Type.Number({ description: '0 to 1; 1: the same shape' }),
  verdict: Type.Union([Type.String(), Type.Null()], { description: '`confirmed`, `rejected`, or null: nobody said' }),
  cause: Type.String(),
})
/** Nearest past cases that are told, and earlier anomalies among which they are looked for. */
const CASES = 3
const EARLIER_MAX = 200
/** Readings shown on each side of an anomaly. */
const NEIGHBOURS = 30

export function anomalyRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/anomalies',
    {
      schema: {
        summary: 'Anomalies, newest event time first',
        tags: ['anomalies'],
        querystring: Type.Object({
          device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
          metric: Type.Optional(Type.String({ maxLength: 512 })),
          from: TimeSchema,
          to: TimeSchema,
          limit: LimitSchema,
          cursor: CursorSchema,
        }),
        response: { 200: listOf(AnomalySchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'anomalies')
      const { device, metric, cursor } = request.query
      const fromTs = parseTime('from', request.query.from)
      const toTs = parseTime('to', request.query.to)
      const { items, more } = await context.anomalies.list({
        tenant,
        limit: context.pageSize(request.query.limit),
        ...(device === undefined ? {} : { device }),
        ...(metric === undefined ? {} : { metric }),
        ...(fromTs === undefined ? {} : { fromTs }),
        ...(toTs === undefined ? {} : { toTs }),
        ...(cursor === undefined ? {} : { after: decodeCursor(cursor, isPlace) }),
      })
      const last = items.at(-1)
      return { items, next: more && last !== undefined ? encodeCursor({ ts: last.ts, id: last.id }) : null }
    },
  )
  api.get('/anomalies/:id', { schema: { summary: 'One anomaly', tags: ['anomalies'], params: IdSchema, response: { 200: AnomalySchema, ...problemResponses() } } }, async (request) => {
    const { tenant } = context.allow(request, 'read', 'anomalies', request.params.id)
    return context.anomalies.get(tenant, request.params.id)
  })
  api.get(
    '/anomalies/:id/explanation',
    {
      schema: {
        summary: 'Why it was said: expected value and band, contributions, versions, log offset and the readings around it',
        tags: ['anomalies'],
        params: IdSchema,
        response: { 200: Type.Object({ anomaly: AnomalySchema, explanation: ExplanationSchema, readings: Type.Array(Type.Object({ ts: Type.Integer(), value: Type.Union([Type.Number(), Type.Boolean(), Type.String()]) })), cases: Type.Array(CaseSchema) }), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'anomalies', request.params.id)
      const anomaly = await context.anomalies.get(tenant, request.params.id)
      return { anomaly, explanation: anomaly.explanation, readings: await readingsAround(context, tenant, anomaly), cases: await casesLike(context, tenant, anomaly) }
    },
  )
}

/** The likest earlier ones of the same metric, with what people said of them. */
async function casesLike(context: RouteContext, tenant: string, anomaly: Anomaly) {
  const { device, metric } = anomaly
  const { items } = await context.anomalies.list({ tenant, device, metric, toTs: anomaly.ts, limit: EARLIER_MAX })
  return Promise.all(
    nearestCases(anomaly, items, CASES).map(async ({ anomaly: one, likeness }) => {
      const { items: said } = await context.feedback.list({ tenant, anomaly: one.id, limit: 1 })
      return { id: one.id, ts: one.ts, score: one.score, likeness, verdict: said[0]?.verdict ?? null, cause: said[0]?.cause ?? '' }
    }),
  )
}

async function readingsAround(context: RouteContext, tenant: string, anomaly: Anomaly) {
  if (anomaly.metric === '') return []
  const query = { tenant, device: anomaly.device, metric: anomaly.metric }
  const before = await context.series.range({ ...query, toTs: anomaly.ts + 1, limit: NEIGHBOURS })
  const oldest = before.items.at(-1)
  const span = oldest === undefined ? 0 : Math.max(anomaly.ts - oldest.ts, 1_000)
  const after = await context.series.range({ ...query, fromTs: anomaly.ts + 1, toTs: anomaly.ts + 1 + span, limit: NEIGHBOURS })
  return [...after.items, ...before.items].reverse().map(({ ts, values }) => ({ ts, value: values[anomaly.metric] as number | boolean | string }))
}

function isPlace(value: unknown): value is { ts: number; id: string } {
  const place = value as { ts?: unknown; id?: unknown } | null
  return typeof place?.ts === 'number' && typeof place.id === 'string'
}
