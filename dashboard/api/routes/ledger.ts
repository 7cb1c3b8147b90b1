import { Type } from 'typebox'
import type { LedgerEntry, LedgerSummary } from '../../../processing/ledger-publisher.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, decodeCursor, encodeCursor, LimitSchema, listOf, parseTime, TimeSchema } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const COUNTS = {
  received: Type.Integer({ description: 'readings taken in' }),
  acked: Type.Integer({ description: 'readings acknowledged: all that were taken in' }),
  stored: Type.Integer({ description: 'readings in the series store' }),
  rejected: Type.Integer({ description: 'set aside with a reason' }),
  late: Type.Integer({ description: 'stored, but after their windows had closed for good' }),
  duplicate: Type.Integer({ description: 'of an identity stored before' }),
  missing: Type.Integer({ description: 'sequence numbers never received, between the first and the last of each boot' }),
}
const SummarySchema = Type.Object(COUNTS)
const EntrySchema = Type.Object({
  device: Type.String(),
  hour: Type.Integer({ description: 'start of the hour of receipt, epoch ms' }),
  ...COUNTS,
  rejectedByReason: Type.Record(Type.String(), Type.Integer()),
  boots: Type.Array(
    Type.Object({
      boot: Type.String(),
      firstSeq: Type.Integer(),
      lastSeq: Type.Integer(),
      missing: Type.Integer(),
      missingRanges: Type.Array(Type.Object({ from: Type.Integer(), to: Type.Integer() })),
    }),
  ),
})
const QuerySchema = Type.Object({
  summary: Type.Optional(Type.Boolean({ description: 'the sums over the whole fleet, at most 250 ms old' })),
  device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
  from: TimeSchema,
  to: TimeSchema,
  limit: LimitSchema,
  cursor: CursorSchema,
})

export function ledgerRoutes(api: Api, context: RouteContext): void {
  const collections = Promise.all([
    context.documents.collection<LedgerEntry>({ name: 'ledger', indexes: [{ name: 'device-hour', paths: ['tenant', 'device', 'hour'] }] }),
    context.documents.collection<LedgerSummary>({ name: 'ledger-summary', indexes: [] }),
  ])
  collections.catch((error: unknown) => context.log.error({ error }, 'ledger collections not opened'))
  api.get(
    '/ledger',
    { schema: { summary: 'What became of every reading: per device and hour, or as sums', tags: ['ledger'], querystring: QuerySchema, response: { 200: Type.Union([SummarySchema, listOf(EntrySchema)]), ...problemResponses() } } },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'ledger')
      const [entries, summaries] = await collections
      if (request.query.summary === true) return sum(await summaries.find({ tenant }))
      const { device, cursor } = request.query
      const from = parseTime('from', request.query.from)
      const to = parseTime('to', request.query.to)
      const limit = context.pageSize(request.query.limit)
      const hour = { ...(from === undefined ? {} : { $gte: from - 3_599_999 }), ...(to === undefined ? {} : { $lt: to }) }
      const after = cursor === undefined ? undefined : decodeCursor(cursor, isPlace)
      const conditions: object[] = [{ tenant }]
      if (device !== undefined) conditions.push({ device })
      if (Object.keys(hour).length > 0) conditions.push({ hour })
      if (after !== undefined) conditions.push({ $or: [{ device: { $gt: after.device } }, { device: after.device, hour: { $gt: after.hour } }] })
      const found = await entries.find({ $and: conditions }, { sort: { device: 1, hour: 1 }, limit: limit + 1 })
      const page = found.slice(0, limit)
      const last = page[page.length - 1]
      return {
        items: page.map(entryOf),
        next: found.length > limit && last !== undefined ? encodeCursor({ device: last.device, hour: last.hour }) : null,
      }
    },
  )
}

function sum(summaries: readonly LedgerSummary[]) {
  const total = { received: 0, acked: 0, stored: 0, rejected: 0, late: 0, duplicate: 0, missing: 0 }
  for (const part of summaries) {
    total.received += part.received
    total.acked += part.received
    total.stored += part.stored
    total.rejected += part.rejected
    total.late += part.late
    total.duplicate += part.duplicate
    total.missing += part.missing
  }
  return total
}

function entryOf(entry: LedgerEntry) {
  const { device, hour, received, stored, rejected, late, duplicate, rejectedByReason, boots } = entry
  const missing = boots.reduce((all, boot) => all + boot.missing, 0)
  return { device, hour, received, acked: received, stored, rejected, late, duplicate, missing, rejectedByReason, boots }
}

function isPlace(value: unknown): value is { device: string; hour: number } {
  const place = value as { device?: unknown; hour?: unknown } | null
  return typeof place?.device === 'string' && typeof place.hour === 'number'
}

