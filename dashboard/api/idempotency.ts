import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { actorOf } from '../../contracts/authorisation.ts'
import { ConflictError, InvalidInputError } from '../../kernel/errors.ts'
import type { Collection } from '../../storage/documents/documents.ts'
import { API_PREFIX, type Api, type RouteContext } from './context.ts'

interface KeptAnswer {
  /** Hash of method, path and body: the same key for something else is an error. */
  request: string
  status: number
  body: string
  headers: Record<string, string>
  expiresAt: number
}

/** Answers that carry secrets are not kept: repeating such a request makes a new one. */
const UNKEPT = new Set(['/session', '/auth/token', '/auth/refresh', '/api-keys', '/agents/:id/token', '/devices/import', '/enrolment-tokens', '/devices/:id/transfer/token', '/webhooks', '/webhooks/:id/rotate-secret'].map((route) => `${API_PREFIX}${route}`))
const KEPT_HEADERS = ['content-type', 'etag', 'location'] as const
const EXPIRED_REMOVED_EVERY = 200

/** `Idempotency-Key` on POST: the first answer is kept and given again, so that a request may be repeated after a lost answer. */
export async function idempotency(api: Api, context: RouteContext): Promise<void> {
  const kept = await context.documents.collection<KeptAnswer>({ name: 'idempotency', indexes: [{ name: 'by-expiry', paths: ['expiresAt'] }] })
  const underWay = new Set<string>()
  const keys = new WeakMap<FastifyRequest, string>()
  let stored = 0

  api.addHook('preHandler', async (request, reply) => {
    const key = keyOf(request, context)
    if (key === undefined) return
    const found = await kept.get(key)
    if (found !== null && found.expiresAt > context.clock.nowMs()) return replay(found, request, reply)
    if (underWay.has(key)) throw new ConflictError('a request with this Idempotency-Key is under way')
    underWay.add(key)
    keys.set(request, key)
  })
  api.addHook('onSend', async (request, reply, payload) => {
    const key = keys.get(request)
    if (key !== undefined && isFinal(reply.statusCode) && typeof payload === 'string') {
      const headers = Object.fromEntries(KEPT_HEADERS.flatMap((name) => (reply.getHeader(name) === undefined ? [] : [[name, String(reply.getHeader(name))]])))
      await kept.put(key, { request: fingerprint(request), status: reply.statusCode, body: payload, headers, expiresAt: context.clock.nowMs() + context.config.idempotencyLifetimeMs })
      if (++stored % EXPIRED_REMOVED_EVERY === 0) await removeExpired(kept, context)
    }
    return payload
  })
  api.addHook('onResponse', (request, _reply, done) => {
    const key = keys.get(request)
    if (key !== undefined) underWay.delete(key)
    done()
  })
}

/** Failures of ours and "too many" may end differently the next time: they are not kept. */
function isFinal(status: number): boolean {
  return status < 500 && status !== 429
}

/** The key under which an answer is kept: per principal, so that nobody gets another's. Undefined where none was asked for. */
function keyOf(request: FastifyRequest, context: RouteContext): string | undefined {
  const header = request.headers['idempotency-key']
  if (request.method !== 'POST' || header === undefined || UNKEPT.has(request.routeOptions.url ?? '')) return undefined
  if (typeof header !== 'string' || header.length < 1 || header.length > 255) throw new InvalidInputError('Idempotency-Key: it must have 1 to 255 characters', { details: { field: 'idempotency-key' } })
  const principal = context.allow(request, 'read', 'session')
  return createHash('sha256').update(JSON.stringify([principal.tenant, actorOf(principal), header])).digest('hex')
}

function fingerprint(request: FastifyRequest): string {
  return createHash('sha256').update(JSON.stringify([request.method, request.url, request.body ?? null])).digest('hex')
}

function replay(found: KeptAnswer, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (found.request !== fingerprint(request)) throw new ConflictError('this Idempotency-Key was used for another request', { remedy: 'Use a new key for a new request.' })
  for (const [name, value] of Object.entries(found.headers)) reply.header(name, value)
  return reply.code(found.status).header('idempotency-replayed', 'true').serializer((text: unknown) => text as string).send(found.body)
}

async function removeExpired(kept: Collection<KeptAnswer>, context: RouteContext): Promise<void> {
  await kept.deleteMany({ expiresAt: { $lte: context.clock.nowMs() } })
}
