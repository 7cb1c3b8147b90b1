import { Type } from 'typebox'
import { REJECT_REASONS, type RejectedReading } from '../../../contracts/reading.ts'
import { TOPICS } from '../../../contracts/topics.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf } from '../lists.ts'
import { readBackwards } from '../log-pages.ts'
import { problemResponses } from '../problem.ts'

const RejectedSchema = Type.Object({
  id: Type.String(),
  device: Type.String(),
  receivedAt: Type.Integer(),
  topic: Type.String(),
  reason: Type.String(),
  detail: Type.String(),
  payloadBase64: Type.String(),
  payloadBytes: Type.Integer(),
  correlationId: Type.String(),
  boot: Type.Union([Type.String(), Type.Null()], { description: 'where it could be read' }),
  seq: Type.Union([Type.Integer(), Type.Null()], { description: 'where it could be read: the number counts as received' }),
})

export function rejectedRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/rejected',
    {
      schema: {
        summary: 'Readings that were acknowledged and set aside, newest first',
        tags: ['readings'],
        querystring: Type.Object({
          device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
          reason: Type.Optional(Type.Union(REJECT_REASONS.map((reason) => Type.Literal(reason)))),
          limit: LimitSchema,
          cursor: CursorSchema,
        }),
        response: { 200: listOf(RejectedSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'rejected')
      const { device, reason, cursor } = request.query
      const page = await readBackwards<RejectedReading>({
        eventLog: context.eventLog,
        topic: TOPICS.rejected,
        cursor,
        limit: context.pageSize(request.query.limit),
        scanMax: context.config.logScanMax,
        wanted: (rejected) => rejected.tenant === tenant && (device === undefined || rejected.device === device) && (reason === undefined || rejected.reason === reason),
      })
      return { items: page.items.map(({ message, partition, offset }) => itemOf(message, partition, offset)), next: page.next }
    },
  )
}

function itemOf(rejected: RejectedReading, partition: number, offset: number) {
  const { device, receivedAt, topic, reason, detail, payloadBase64, payloadBytes, correlationId, boot, seq } = rejected
  const identity = { boot: boot ?? null, seq: seq ?? null }
  return { id: `${partition}-${offset}`, device, receivedAt, topic, reason, detail, payloadBase64, payloadBytes, correlationId, ...identity }
}
