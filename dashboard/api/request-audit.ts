import type { FastifyReply, FastifyRequest } from 'fastify'
import { auditScope, nounOf, type AuditedAct, type AuditOutcome, type AuditScope, type AuditTrail } from '../../contracts/audit.ts'
import { actorOf, type Principal } from '../../contracts/authorisation.ts'
import { DEFAULT_TENANT } from '../../contracts/device.ts'
import { AccessError } from '../../kernel/errors.ts'
import { API_PREFIX, type ActDetails, type Api } from './context.ts'
import { RefusalLog } from './refusal-log.ts'

/** What is known of one request. */
interface Pending {
  scope: AuditScope
  principal?: Principal
  details: ActDetails
  settled: boolean
  /** Refused, though the answer does not say so. */
  hidden?: boolean
  /** To be called when the entry is there. */
  end?: () => void
}

const READING = new Set(['GET', 'HEAD', 'OPTIONS'])
/** In a route's schema, and so in the OpenAPI document: a POST that only asks, because its question is too long for an address. */
export const CHANGES_NOTHING = 'x-changes-nothing'
/** Their stations write what is owed to the trail with the act itself: nothing can come between. */
const WRITTEN_TOGETHER = new Set(['/certificates/:serial/revoke', '/devices/:id/state'].map((path) => `${API_PREFIX}${path}`))
const VERBS: Readonly<Record<string, string>> = { POST: 'create', PUT: 'replace', PATCH: 'change', DELETE: 'remove' }

/**
 * The one place where the API's acts are audited, so that no route can forget it: a request that changes something leaves an entry before
 * it is answered. Where a station recorded an act of the same noun itself, within the request's scope, nothing is added; otherwise the entry
 * is made of the request and of what the route told with `tell`. When the entry cannot be made durable, the request is answered as failed.
 * Refused and failed requests are recorded too, bounded (RefusalLog).
 */
export class RequestAudit {
  readonly #trail: AuditTrail
  readonly #refusals: RefusalLog
  readonly #pending = new WeakMap<FastifyRequest, Pending>()

  constructor(trail: AuditTrail, refusals: RefusalLog) {
    this.#trail = trail
    this.#refusals = refusals
  }

  /** Remembers who asks, as soon as it is known. */
  know(request: FastifyRequest, principal: Principal): void {
    this.#of(request).principal = principal
  }

  /** Who asks; throws AccessError UNAUTHENTICATED where nobody was made out. */
  callerOf(request: FastifyRequest): Principal {
    const { principal } = this.#of(request)
    if (principal === undefined) throw new AccessError('UNAUTHENTICATED', 'A bearer token or a session is needed.')
    return principal
  }

  /** Nothing is there for whoever asks: they may not know of it. It is answered as missing and recorded as refused. */
  hide(request: FastifyRequest): void {
    this.#of(request).hidden = true
  }

  /** Adds what only the route knows. */
  tell(request: FastifyRequest, details: ActDetails): void {
    Object.assign(this.#of(request).details, details)
  }

  /** Must be added before whatever keeps answers: an answer is final only once its act is recorded. */
  settleWith(api: Api): void {
    api.addHook('onSend', async (request, reply, payload) => {
      const pending = this.#of(request)
      if (!pending.settled) {
        pending.settled = true
        await this.#settle(request, reply, pending)
        pending.end?.()
      }
      return payload
    })
  }

  /** Must be the last hook before the handlers: what they record belongs to the request. */
  enterWith(api: Api): void {
    api.addHook('preHandler', async (request) => {
      const pending = this.#of(request)
      if (isReading(request) || pending.principal === undefined || WRITTEN_TOGETHER.has(request.routeOptions.url ?? '')) return
      const end = await this.#trail.begin?.(actOf(request, pending))
      if (end !== undefined) pending.end = end
    })
    api.addHook('preHandler', (request, _reply, done) => auditScope.run(this.#of(request).scope, done))
  }

  stop(): Promise<void> {
    return this.#refusals.stop()
  }

  #of(request: FastifyRequest): Pending {
    let pending = this.#pending.get(request)
    if (pending === undefined) {
      pending = { scope: { origin: request.ip, correlationId: request.id, recorded: new Set() }, details: {}, settled: false }
      this.#pending.set(request, pending)
    }
    return pending
  }

  async #settle(request: FastifyRequest, reply: FastifyReply, pending: Pending): Promise<void> {
    const status = reply.statusCode
    if (status >= 400) {
      if (!isToldOf(request, status, pending)) return
      const outcome = pending.hidden === true ? 'refused' : outcomeOf(status)
      await this.#refusals.note({ ...actOf(request, pending), outcome, why: `HTTP ${status}` })
    } else if (!isReading(request) && reply.getHeader('idempotency-replayed') === undefined) {
      const act = actOf(request, pending)
      if (!pending.scope.recorded.has(nounOf(act.action))) await this.#trail.record(act)
    }
  }
}

/** Reading is not audited, but every attempt at what is not allowed is. */
function isToldOf(request: FastifyRequest, status: number, { hidden }: Pending): boolean {
  return outcomeOf(status) === 'refused' || hidden === true || !isReading(request)
}

function isReading({ method, routeOptions }: FastifyRequest): boolean {
  return READING.has(method) || (routeOptions.schema as Record<string, unknown> | undefined)?.[CHANGES_NOTHING] === true
}

function outcomeOf(status: number): AuditOutcome {
  return status === 401 || status === 403 || status === 429 ? 'refused' : 'failed'
}

function actOf(request: FastifyRequest, { scope, principal, details }: Pending): AuditedAct {
  const action = details.action ?? actionOf(request.method, request.routeOptions.url ?? '')
  return {
    tenant: principal?.tenant ?? DEFAULT_TENANT,
    actor: principal === undefined ? 'anonymous' : actorOf(principal),
    subject: { kind: nounOf(action), id: subjectId(request) },
    ...details,
    action,
    ...(scope.origin === undefined ? {} : { origin: scope.origin }),
    ...(scope.correlationId === undefined ? {} : { correlationId: scope.correlationId }),
  }
}

/** `NOUN.VERB` of a route: the collection in singular, and the last word of the path or else the method's verb. */
export function actionOf(method: string, url: string): string {
  const words = url
    .slice(API_PREFIX.length)
    .split('/')
    .filter((segment) => segment !== '' && !segment.startsWith(':'))
  const noun = (words[0] ?? 'api').replace(/ies$/, 'y').replace(/s$/, '')
  if (READING.has(method)) return `${noun}.read`
  return `${noun}.${words.length > 1 ? words.at(-1) : (VERBS[method] ?? method.toLowerCase())}`
}

/** What the request names: the first parameter of its path, or the id in its body. */
function subjectId(request: FastifyRequest): string {
  const [parameter] = Object.values((request.params ?? {}) as Record<string, unknown>)
  const { id, deviceId } = (request.body ?? {}) as { id?: unknown; deviceId?: unknown }
  const named = [parameter, id, deviceId].find((value) => typeof value === 'string')
  return typeof named === 'string' && named !== '' ? named : '-'
}
