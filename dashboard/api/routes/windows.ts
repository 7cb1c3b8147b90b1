import { Type } from 'typebox'
import { TOPICS } from '../../../contracts/topics.ts'
import type { WindowResult } from '../../../contracts/window.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf, parseTime, TimeSchema } from '../lists.ts'
import { readBackwards } from '../log-pages.ts'
import { problemResponses } from '../problem.ts'

const KindSchema = Type.Union([Type.Literal('tumbling'), Type.Literal('hopping')])
const WindowSchema = Type.Object({
  id: Type.String(),
  device: Type.String(),
  metric: Type.String(),
  kind: KindSchema,
  startTs: Type.Integer(),
  endTs: Type.Integer({ description: 'exclusive' }),
  sizeMs: Type.Integer(),
  slideMs: Type.Integer(),
  revision: Type.Integer({ description: 'late readings emit the next one, which replaces the last' }),
  count: Type.Integer(),
  min: Type.Number(),
  max: Type.Number(),
  mean: Type.Number(),
  stddev: Type.Number(),
  first: Type.Number(),
  last: Type.Number(),
  p95: Type.Number(),
  closedBy: Type.Union([Type.Literal('watermark'), Type.Literal('idle')]),
})

export function windowRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/windows',
    {
      schema: {
        summary: 'Event-time windows as they were emitted, the newest emission first; a higher revision of an id replaces a lower one',
        tags: ['readings'],
        querystring: Type.Object({
          device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
          metric: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
          kind: Type.Optional(KindSchema),
          from: TimeSchema,
          to: TimeSchema,
          limit: LimitSchema,
          cursor: CursorSchema,
        }),
        response: { 200: listOf(WindowSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'windows')
      const { device, metric, kind, cursor } = request.query
      const from = parseTime('from', request.query.from) ?? -Infinity
      const to = parseTime('to', request.query.to) ?? Infinity
      const page = await readBackwards<WindowResult>({
        eventLog: context.eventLog,
        topic: TOPICS.windows,
        cursor,
        limit: context.pageSize(request.query.limit),
        scanMax: context.config.logScanMax,
        wanted: (window) =>
          window.tenant === tenant &&
          (device === undefined || window.device === device) &&
          (metric === undefined || window.metric === metric) &&
          (kind === undefined || window.kind === kind) &&
          window.endTs > from &&
          window.startTs < to,
      })
      return { items: page.items.map(({ message: { tenant: _tenant, ...window } }) => window), next: page.next }
    },
  )
}
