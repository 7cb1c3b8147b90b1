import { Type } from 'typebox'
import { bootsOfHour, LEDGER_GAPS, LEDGER_HOURS, LEDGER_SUMMARY } from '../../../processing/ledger-documents.ts'
import type { BootGaps, LedgerGapsDocument, LedgerHourDocument, LedgerSummary } from '../../../processing/ledger-documents.ts'
import type { Collection } from '../../../storage/documents/documents.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, decodeCursor, encodeCursor, LimitSchema, listOf, parseTime, TimeSchema } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const COUNTS = {
  received: Type.Integer({ description: 'readings taken into the log' }),
  acked: Type.Integer({ description: 'readings acknowledged: all that were taken into the log, for nothing else is acknowledged' }),
  stored: Type.Integer({ description: 'readings in the series store' }),
  rejected: Type.Integer({ description: 'set aside with a reason' }),
  late: Type.Integer({ description: 'stored, but after their windows had closed for good' }),
  duplicate: Type.Integer({ description: 'of an identity stored before' }),
}
const SummarySchema = Type.Object(
  { ...COUNTS, missing: Type.Integer({ description: 'sequence numbers never received, between the first and the last of each boot' }) },
  { $id: 'LedgerSummary', description: 'the fleet’s sums, at most 250 ms old; acked − stored − rejected − duplicate are on their way' },
)
const BootSchema = Type.Object({
  boot: Type.String({ description: 'as the device sent it; empty when it sent none' }),
  firstSeq: Type.Integer({ description: 'smallest sequence number received in this hour, rejected ones included' }),
  lastSeq: Type.Integer({ description: 'largest one' }),
  missing: Type.Integer({ description: 'numbers in missingRanges' }),
  missingRanges: Type.Array(Type.Object({ from: Type.Integer(), to: Type.Integer({ description: 'included' }) }), {
    description: 'numbers below lastSeq and above what was received in earlier hours that have not been received until now, in order',
  }),
  unreportedGaps: Type.Integer({ description: 'gaps of this boot that are not reported, to hold processing.sequenceRangesMax' }),
})
const EntrySchema = Type.Object(
  {
    device: Type.String(),
    hour: Type.Integer({ description: 'start of the hour of receipt, epoch ms' }),
    ...COUNTS,
    missing: Type.Integer({ description: 'sum over boots' }),
    rejectedByReason: Type.Record(Type.String(), Type.Integer()),
    boots: Type.Array(BootSchema, { description: 'only devices that send seq have any' }),
    bootsTruncated: Type.Boolean({ description: 'more boots were seen in this hour than are listed' }),
  },
  { $id: 'LedgerEntry', description: 'one device and hour of receipt, about a second old' },
)
const QuerySchema = Type.Object({
  summary: Type.Optional(Type.Boolean({ description: 'the sums over the whole fleet instead of the list' })),
  device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
  from: Type.Optional({ ...TimeSchema, description: 'the hour in which this instant lies, and later ones; epoch ms or RFC 3339' }),
  to: Type.Optional({ ...TimeSchema, description: 'hours that begin before this instant; epoch ms or RFC 3339' }),
  limit: LimitSchema,
  cursor: CursorSchema,
})

const HOUR_MS = 3_600_000

/** `GET /ledger`: what became of every reading, as sums, or per device and hour, ordered by device and then by hour. */
export function ledgerRoutes(api: Api, context: RouteContext): void {
  const collections = Promise.all([
    context.documents.collection<LedgerHourDocument>(LEDGER_HOURS),
    context.documents.collection<LedgerGapsDocument>(LEDGER_GAPS),
    context.documents.collection<LedgerSummary>(LEDGER_SUMMARY),
  ])
  collections.catch((error: unknown) => context.log.error({ error }, 'ledger collections not opened'))
  const schema = {
    summary: 'What became of every reading: per device and hour, or as sums',
    tags: ['ledger'],
    querystring: QuerySchema,
    response: { 200: Type.Union([SummarySchema, listOf(EntrySchema)]), ...problemResponses() },
  }
  api.get('/ledger', { schema }, async (request) => {
    const { tenant } = context.allow(request, 'read', 'ledger')
    const [hours, gaps, summaries] = await collections
    if (request.query.summary === true) return sum(await summaries.find({ tenant }))
    const { device, cursor } = request.query
    const limit = context.pageSize(request.query.limit)
    const from = parseTime('from', request.query.from)
    const to = parseTime('to', request.query.to)
    const after = cursor === undefined ? undefined : decodeCursor(cursor, isPlace)
    const filter = { $and: conditionsOf({ tenant, device, from, to, after }) }
    const found = await hours.find(filter, { sort: { device: 1, hour: 1 }, limit: limit + 1 })
    const page = found.slice(0, limit)
    const gapsByDevice = await gapsOfDevices(gaps, tenant, page)
    const last = page.at(-1)
    return {
      items: page.map((entry) => entryOf(entry, gapsByDevice.get(entry.device) ?? [])),
      next: found.length > limit && last !== undefined ? encodeCursor({ device: last.device, hour: last.hour }) : null,
    }
  })
}

interface Wanted {
  tenant: string
  device: string | undefined
  from: number | undefined
  to: number | undefined
  after: { device: string; hour: number } | undefined
}

function conditionsOf({ tenant, device, from, to, after }: Wanted): object[] {
  const conditions: object[] = [{ tenant }]
  if (device !== undefined) conditions.push({ device })
  if (from !== undefined) conditions.push({ hour: { $gt: from - HOUR_MS } })
  if (to !== undefined) conditions.push({ hour: { $lt: to } })
  if (after !== undefined)
    conditions.push({ $or: [{ device: { $gt: after.device } }, { device: after.device, hour: { $gt: after.hour } }] })
  return conditions
}

async function gapsOfDevices(gaps: Collection<LedgerGapsDocument>, tenant: string, page: readonly LedgerHourDocument[]) {
  const devices = [...new Set(page.map(({ device }) => device))]
  const found = devices.length === 0 ? [] : await gaps.find({ tenant, device: { $in: devices } })
  return new Map(found.map(({ device, boots }) => [device, boots]))
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

function entryOf(entry: LedgerHourDocument, gaps: readonly BootGaps[]) {
  const { device, hour, stored, rejected, late, duplicate, rejectedByReason } = entry
  const boots = bootsOfHour(entry.spans ?? {}, (boot) => gaps.find((known) => known.boot === boot))
  const missing = boots.reduce((all, boot) => all + boot.missing, 0)
  // Each reading is counted as one of these in the step that counts it as received.
  const received = stored + rejected + duplicate
  const counts = { received, acked: received, stored, rejected, late, duplicate, missing }
  return { device, hour, ...counts, rejectedByReason, boots, bootsTruncated: entry.bootsTruncated ?? false }
}

function isPlace(value: unknown): value is { device: string; hour: number } {
  const place = value as { device?: unknown; hour?: unknown } | null
  return typeof place?.device === 'string' && typeof place.hour === 'number'
}
