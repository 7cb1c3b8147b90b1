import { Type } from 'typebox'
import { InvalidInputError } from '../../../kernel/errors.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf, parseInterval, parseTime, TimeSchema } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const ValueSchema = Type.Union([Type.Number(), Type.Boolean(), Type.String()])

const ReadingSchema = Type.Object({
  device: Type.String(),
  type: Type.Optional(Type.String()),
  ts: Type.Integer({ description: 'event time, epoch ms; the start of the bucket when an interval was asked for' }),
  receivedAt: Type.Union([Type.Integer(), Type.Null()], { description: 'epoch ms; null for buckets' }),
  boot: Type.Union([Type.String(), Type.Null()]),
  seq: Type.Union([Type.Integer(), Type.Null()]),
  values: Type.Record(Type.String(), ValueSchema),
})

const QuerySchema = Type.Object({
  device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
  metric: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
  from: TimeSchema,
  to: TimeSchema,
  limit: LimitSchema,
  interval: Type.Optional(Type.String({ maxLength: 20, description: 'bucket width, for instance 10s, 1m or 1h: needs device, metric, from and to; values are count, min, max, mean, first and last' })),
  cursor: CursorSchema,
})

/** Buckets of one answer: more than a screen has columns, few enough to be quick. */
const BUCKETS_MAX = 20_000

export function readingRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/readings',
    { schema: { summary: 'Stored readings, newest event time first', tags: ['readings'], querystring: QuerySchema, response: { 200: listOf(ReadingSchema), ...problemResponses() } } },
    async (request) => {
      const { device, metric, limit, cursor, interval } = request.query
      const principal = context.allow(request, 'read', 'readings')
      const fromTs = parseTime('from', request.query.from)
      const toTs = parseTime('to', request.query.to)
      if (interval !== undefined) {
        if (device === undefined || metric === undefined || fromTs === undefined || toTs === undefined) {
          throw new InvalidInputError('interval: it needs device, metric, from and to', { details: { field: 'interval' } })
        }
        const intervalMs = parseInterval('interval', interval)
        if ((toTs - fromTs) / intervalMs > BUCKETS_MAX) throw new InvalidInputError(`interval: the answer would have more than ${BUCKETS_MAX} buckets`, { details: { field: 'interval' } })
        const buckets = await context.series.downsample({ tenant: principal.tenant, device, metric, fromTs, toTs, intervalMs })
        const items = buckets.map(({ ts, ...values }) => ({ device, ts, receivedAt: null, boot: null, seq: null, values }))
        return { items: items.reverse(), next: null }
      }
      return context.series.range({
        tenant: principal.tenant,
        limit: context.pageSize(limit),
        ...(device === undefined ? {} : { device }),
        ...(metric === undefined ? {} : { metric }),
        ...(fromTs === undefined ? {} : { fromTs }),
        ...(toTs === undefined ? {} : { toTs }),
        ...(cursor === undefined ? {} : { cursor }),
      })
    },
  )
}
