import type { FastifyInstance } from 'fastify'
import type { Server } from 'node:https'
import { AccessError, describeError, FleetpulseError, LimitError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { problem, PROBLEM_TYPE, type Problem } from '../../kernel/problem.ts'

/** Wait asked of a device when we cannot take its data, in s: a restart of the log takes some; the device adds its own jitter. */
const RETRY_AFTER_S = 5

/** The parts of a reply that an answer needs, of whatever server. */
export interface Answer {
  code(status: number): unknown
  header(name: string, value: string): unknown
  type(mediaType: string): unknown
  send(body: unknown): unknown
}

/** Sends it; answers the reply, for the handler to return. */
export function sendProblem<R extends Answer>(reply: R, body: Problem): R {
  reply.code(body.status)
  reply.type(PROBLEM_TYPE)
  reply.send(JSON.stringify(body))
  return reply
}

/**
 * Errors of the routes of this scope as problem details (RFC 9457), also for its unknown paths and methods. Never a stack, and nothing of our
 * insides: what is not the device's fault is logged under its correlation id.
 */
export function answerProblems(
  scope: FastifyInstance<Server>,
  options: { log: Logger; bodyBytesMax: number; methods: Readonly<Record<string, string>> },
): void {
  const { log, bodyBytesMax, methods } = options
  scope.setErrorHandler((error, request, reply) => {
    const body = problemOf(error, bodyBytesMax)
    const detail = { correlationId: request.id, path: request.url.slice(0, 200), status: body.status, error: describeError(error) }
    if (body.status >= 500) log.warn(detail, 'device request failed')
    else log.debug(detail, 'device request refused')
    reply.header('x-correlation-id', request.id)
    if (body.status === 401) reply.header('www-authenticate', 'ClientCertificate realm="fleetpulse"') // RFC 9110 §15.5.2
    if (body.status === 503) reply.header('retry-after', String(RETRY_AFTER_S))
    if (error instanceof LimitError && typeof error.details.retryAfterMs === 'number') {
      reply.header('retry-after', String(Math.ceil(error.details.retryAfterMs / 1_000))) // RFC 6585 §4
    }
    return sendProblem(reply, body)
  })
  scope.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? ''
    const allowed = Object.hasOwn(methods, path) ? methods[path] : undefined
    if (allowed === undefined) return sendProblem(reply, problem(404, 'NOT_FOUND', 'There is nothing here.'))
    reply.header('allow', allowed) // RFC 9110 §15.5.6
    return sendProblem(reply, problem(405, 'METHOD_NOT_ALLOWED', `${request.method} is not allowed here; use ${allowed}.`))
  })
}

function problemOf(error: unknown, bodyBytesMax: number): Problem {
  if (error instanceof AccessError) return problem(error.code === 'UNAUTHENTICATED' ? 401 : 403, error.code, error.message)
  if (error instanceof LimitError) return problem(429, error.code, error.message)
  if (error instanceof FleetpulseError && error.fault === 'caller') {
    const status = typeof error.details.status === 'number' ? error.details.status : 400
    return problem(status, error.code, error.message)
  }
  if (error instanceof FleetpulseError && error.fault === 'environment') {
    return problem(503, error.code, 'This could not be made durable, so it is not acknowledged; send it again.')
  }
  // Fastify's own refusals.
  const { statusCode, code, message } = error as { statusCode?: unknown; code?: unknown; message?: string }
  if (statusCode === 413)
    return problem(413, 'INVALID_INPUT', `The body is larger than ${bodyBytesMax} bytes; send fewer readings at once.`)
  if (statusCode === 415) return problem(415, 'INVALID_INPUT', 'The body must be application/json; say so with Content-Type.')
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500)
    return problem(statusCode, String(code ?? 'INVALID_INPUT'), message ?? '')
  return problem(500, 'INTERNAL', 'The request failed on our side.')
}
