import { Type } from 'typebox'
import { REJECT_REASONS, type RejectedReading } from '../../../contracts/reading.ts'
import { TOPICS } from '../../../contracts/topics.ts'
import { utf8Text } from '../../../kernel/bytes.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, decodeCursor, encodeCursor, LimitSchema, listOf } from '../lists.ts'
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
})

/** Records read from the log at once while looking for matches. */
const SLICE = 500

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
      const place = cursor === undefined ? undefined : decodeCursor(cursor, isPlace)
      const wanted = (rejected: RejectedReading): boolean =>
        rejected.tenant === tenant && (device === undefined || rejected.device === device) && (reason === undefined || rejected.reason === reason)
      return readBackwards(context, place, context.pageSize(request.query.limit), wanted)
    },
  )
}

/** Walks the partitions of the rejected topic from their ends: newest first within a partition. */
async function readBackwards(context: RouteContext, place: Place | undefined, limit: number, wanted: (rejected: RejectedReading) => boolean) {
  const bounds = await context.eventLog.bounds(TOPICS.rejected)
  const items = []
  let scanned = 0
  for (const [partition, { first, next }] of bounds) {
    if (place !== undefined && partition < place.partition) continue
    let end = place?.partition === partition ? Math.min(place.before, next) : next
    while (end > first) {
      const start = Math.max(first, end - SLICE)
      const records = await context.eventLog.read(TOPICS.rejected, partition, start, end - start)
      for (const record of records.toReversed()) {
        end = record.offset
        scanned++
        const rejected = JSON.parse(utf8Text(record.value)) as RejectedReading
        if (wanted(rejected)) items.push(itemOf(rejected, partition, record.offset))
        if (items.length === limit || scanned >= context.config.rejectedScanMax) return { items, next: encodeCursor({ partition, before: record.offset }) }
      }
      if (records.length === 0) break
    }
  }
  return { items, next: null }
}

function itemOf(rejected: RejectedReading, partition: number, offset: number) {
  const { device, receivedAt, topic, reason, detail, payloadBase64, payloadBytes, correlationId } = rejected
  return { id: `${partition}-${offset}`, device, receivedAt, topic, reason, detail, payloadBase64, payloadBytes, correlationId }
}

interface Place {
  partition: number
  before: number
}

function isPlace(value: unknown): value is Place {
  const place = value as Partial<Place> | null
  return Number.isSafeInteger(place?.partition) && Number.isSafeInteger(place?.before)
}
