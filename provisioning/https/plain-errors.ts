import type { FastifyInstance, RawServerBase } from 'fastify'
import { describeError, FleetpulseError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'

/**
 * Errors of the two listeners in one line of plain text (RFC 7030 §4.2.3 lets EST say why in text/plain): the right status, never a
 * stack. Also answers 405 with Allow for a known path with another method, RFC 9110 §15.5.6. Call it before routes are added.
 */
export function answerPlainErrors<S extends RawServerBase>(app: FastifyInstance<S>, log: Logger): void {
  const routes: { pattern: RegExp; methods: string[] }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = new RegExp(`^${url.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/:[A-Za-z]+|\*/g, '[^/]+')}$`)
    routes.push({ pattern, methods: [method].flat() })
  })
  app.setErrorHandler((error, request, reply) => {
    const status = statusOf(error)
    const detail = {
      correlationId: request.id,
      method: request.method,
      path: request.url.slice(0, 200),
      status,
      error: describeError(error),
    }
    if (status >= 500) log.error(detail, 'request failed')
    else log.debug(detail, 'request refused')
    if (status === 503) reply.header('retry-after', '1')
    return reply
      .code(status)
      .type('text/plain; charset=utf-8')
      .send(`${sentenceOf(error, status)}\n`)
  })
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? ''
    const allowed = routes.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods)
    reply.type('text/plain; charset=utf-8')
    if (allowed.length === 0) return reply.code(404).send('There is nothing here.\n')
    return reply
      .code(405)
      .header('allow', allowed.join(', '))
      .send(`Use ${allowed.join(' or ')}.\n`)
  })
}

function statusOf(error: unknown): number {
  if (error instanceof FleetpulseError) return statusOfFault(error)
  // Fastify's own refusals: body too large, bad length, wrong media type.
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined
  return typeof status === 'number' && status >= 400 && status < 500 ? status : 500
}

function statusOfFault(error: FleetpulseError): number {
  if (error.code === 'UNAUTHENTICATED') return 401
  if (error.code === 'FORBIDDEN') return 403
  if (error.code === 'NOT_FOUND') return 404
  if (error.code === 'CONFLICT') return 409
  if (error.code === 'LIMIT_REACHED') return 429
  if (error.fault === 'caller') return 400
  return error.fault === 'environment' ? 503 : 500
}

function sentenceOf(error: unknown, status: number): string {
  if (status === 503) return 'The service cannot take this now; try again.'
  if (status >= 500) return 'The request failed on our side.'
  return error instanceof Error ? error.message : 'The request was refused.'
}
