import { Readable } from 'node:stream'
import { Type } from 'typebox'
import { AuditEntrySchema } from '../../../contracts/audit.ts'
import type { ExportedRecord } from '../../../device-registry/audit/audit-query.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, decodeCursor, encodeCursor, LimitSchema, listOf, parseTime, TimeSchema } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const tags = ['audit']
const TermSchema = Type.Optional(Type.String({ minLength: 1, maxLength: 330 }))
const KeySchema = Type.Object({
  kty: Type.String(),
  crv: Type.String(),
  x: Type.String(),
  kid: Type.String(),
  alg: Type.String(),
  use: Type.String(),
})
/** Lines written to a client at once. */
const LINES_AT_ONCE = 100

export function auditRoutes(api: Api, context: RouteContext): void {
  listRoute(api, context)
  proofRoutes(api, context)
  exportRoute(api, context)
}

function listRoute(api: Api, context: RouteContext): void {
  api.get(
    '/audit',
    {
      schema: {
        summary: 'Who did what, newest first',
        tags,
        querystring: Type.Object({
          subject: Type.Optional(Type.String({ minLength: 1, maxLength: 330, description: 'KIND or KIND/ID, for instance device/pump-1' })),
          device: Type.Optional(
            Type.String({ minLength: 1, maxLength: 64, description: 'as subject=device/ID: what concerns this device' }),
          ),
          actor: TermSchema,
          action: TermSchema,
          outcome: Type.Optional(AuditEntrySchema.properties.outcome),
          from: TimeSchema,
          to: TimeSchema,
          limit: LimitSchema,
          cursor: CursorSchema,
        }),
        response: { 200: listOf(AuditEntrySchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'audit')
      const { device, cursor, actor, action, outcome } = request.query
      const subject = device === undefined ? request.query.subject : `device/${device}`
      const [from, to] = [parseTime('from', request.query.from), parseTime('to', request.query.to)]
      const page = await context.auditTrail.list({
        tenant,
        limit: context.pageSize(request.query.limit),
        ...(subject === undefined ? {} : { subject }),
        ...(actor === undefined ? {} : { actor }),
        ...(action === undefined ? {} : { action }),
        ...(outcome === undefined ? {} : { outcome }),
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
        ...(cursor === undefined ? {} : { before: decodeCursor(cursor, isPlace).before }),
      })
      return { items: page.items, next: page.next === null ? null : encodeCursor({ before: page.next }) }
    },
  )
}

/** What is needed to believe the trail elsewhere. */
function proofRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/audit/keys',
    {
      schema: {
        summary: 'Public keys of the checkpoints, as a JWK set (RFC 7517)',
        tags,
        response: { 200: Type.Object({ keys: Type.Array(KeySchema) }), ...problemResponses() },
      },
    },
    async (request) => {
      context.allow(request, 'read', 'audit')
      return { keys: await context.auditTrail.publicKeys() }
    },
  )
  api.get(
    '/audit/checkpoint',
    {
      schema: {
        summary: 'The newest signed checkpoint: keep it elsewhere, and a trail that was cut off behind it is found out',
        tags,
        response: {
          200: Type.Union([Type.Null(), Type.Object({ seq: Type.Integer(), at: Type.Integer(), hash: Type.String(), jws: Type.String() })]),
          ...problemResponses(),
        },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'audit')
      const newest = await context.auditTrail.newestCheckpoint(tenant)
      if (newest === undefined) return null
      const { seq, at, hash, jws } = newest
      return { seq, at, hash, jws }
    },
  )
}

function exportRoute(api: Api, context: RouteContext): void {
  api.get(
    '/audit/export',
    {
      schema: {
        summary: 'The whole trail with keys and checkpoints as JSON lines, oldest first; `fleetpulse verify audit --file` checks it',
        tags,
        produces: ['application/x-ndjson'],
        response: problemResponses(),
      },
    },
    async (request, reply) => {
      const { tenant, actor } = context.allow(request, 'read', 'audit')
      await context.auditTrail.record({
        tenant,
        actor,
        origin: request.ip,
        correlationId: request.id,
        action: 'audit.export',
        subject: { kind: 'audit', id: tenant },
      })
      const keys = await context.auditTrail.publicKeys()
      const lines = chunksOf(
        context.auditTrail.records(tenant),
        keys.map((key) => JSON.stringify({ kind: 'key', key })),
      )
      return reply.type('application/x-ndjson').send(Readable.from(lines, { objectMode: false }))
    },
  )
}

async function* chunksOf(records: AsyncIterable<ExportedRecord>, before: readonly string[]): AsyncGenerator<string> {
  let lines = [...before]
  for await (const record of records) {
    lines.push(JSON.stringify(record))
    if (lines.length < LINES_AT_ONCE) continue
    yield `${lines.join('\n')}\n`
    lines = []
  }
  if (lines.length > 0) yield `${lines.join('\n')}\n`
}

function isPlace(value: unknown): value is { before: number } {
  return Number.isSafeInteger((value as { before?: unknown } | null)?.before)
}
