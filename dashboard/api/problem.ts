import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { AccessError, ConflictError, describeError, FleetpulseError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { problem, PROBLEM_TITLES, PROBLEM_TYPE } from '../../kernel/problem.ts'

/** Problem details, RFC 9457; `errors` names fields. */
export const ProblemSchema = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String(),
    errors: Type.Optional(Type.Array(Type.Object({ field: Type.String(), problem: Type.String() }))),
  },
  { $id: 'Problem', description: 'Problem details (RFC 9457)' },
)

/** The statuses that every route may answer besides its own, for OpenAPI. */
export function problemResponses(...statuses: number[]): Record<number, unknown> {
  const all = new Set([400, 401, 403, 404, 405, 409, 412, 413, 415, 429, 500, 503, ...statuses])
  return Object.fromEntries(Array.from(all, (status) => [status, { description: PROBLEM_TITLES[status] ?? 'Problem', content: { [PROBLEM_TYPE]: { schema: Type.Ref('Problem') } } }]))
}

export function sendProblem(reply: FastifyReply, status: number, code: string, detail: string, errors?: { field: string; problem: string }[]): FastifyReply {
  const body = { ...problem(status, code, detail), ...(errors === undefined ? {} : { errors }) }
  return reply.code(status).type(PROBLEM_TYPE).send(JSON.stringify(body))
}

/** Every thrown thing becomes problem details; what is not ours is logged and answered without its insides. */
export function problemHandler(log: Logger) {
  return (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    if (error.validation !== undefined) {
      const errors = error.validation.map((fault) => ({ field: fieldOf(error.validationContext, fault), problem: problemOf(fault) }))
      return sendProblem(reply, 400, 'INVALID_INPUT', errors.map(({ field, problem }) => `${field} ${problem}`).join('; '), errors)
    }
    if (error instanceof AccessError && error.code === 'UNAUTHENTICATED') reply.header('www-authenticate', 'Bearer') // RFC 9110 §15.5.2
    if (error instanceof FleetpulseError) return sendProblem(reply, statusOf(error), error.code, [error.message, error.remedy].filter(Boolean).join(' '), fieldErrors(error))
    if (typeof error.statusCode === 'number' && error.statusCode >= 400 && error.statusCode < 500) return sendProblem(reply, error.statusCode, error.code, error.message)
    log.error({ method: request.method, url: request.url, requestId: request.id, error: describeError(error), stack: error.stack }, 'request failed')
    return sendProblem(reply, 500, 'INTERNAL', `Something failed here; the log has the details under request ${request.id}.`)
  }
}

function fieldOf(context: string | undefined, fault: { instancePath: string; params: Record<string, unknown> }): string {
  const missing = fault.params.missingProperty ?? fault.params.additionalProperty
  const path = fault.instancePath.split('/').slice(1)
  if (typeof missing === 'string') path.push(missing)
  return [context === 'body' || context === undefined ? '' : context, ...path].filter((part) => part !== '').join('.') || (context ?? 'body')
}

function problemOf({ message, params }: { message?: string | undefined; params: Record<string, unknown> }): string {
  const { allowedValues } = params
  return Array.isArray(allowedValues) ? `must be one of ${allowedValues.join(', ')}` : (message ?? 'is not valid')
}

function fieldErrors(error: FleetpulseError): { field: string; problem: string }[] | undefined {
  const field = error.details.field
  return typeof field === 'string' ? [{ field, problem: error.message }] : undefined
}

function statusOf(error: FleetpulseError): number {
  if (error instanceof NotFoundError) return 404
  if (error instanceof ConflictError) return error.code === 'VERSION_MISMATCH' ? 412 : 409
  if (error instanceof AccessError) return error.code === 'UNAUTHENTICATED' ? 401 : 403
  if (error instanceof LimitError) return 429
  if (error.fault === 'caller') return 400
  return error.retryable ? 503 : 500
}
