import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { authorise, type Action, type Principal } from '../../contracts/authorisation.ts'
import { DEFAULT_TENANT } from '../../contracts/device.ts'
import { AccessError, LimitError } from '../../kernel/errors.ts'
import type { Secret } from '../../kernel/secret.ts'
import type { Clock } from '../../kernel/time.ts'
import type { ApiConfig } from './config.ts'

export const SESSION_COOKIE = 'fleetpulse_session'
/** Sessions held at once; the oldest is logged out beyond it. */
const SESSIONS_MAX = 1_000
/** Addresses whose failures are counted at once. */
const ADDRESSES_MAX = 10_000

interface Session {
  principal: Principal
  expiresAt: number
}

/** Who asks: a bearer token, or a browser session opened with one. Failures are counted per address. */
export class Principals {
  readonly #adminToken: Secret
  readonly #config: ApiConfig
  readonly #clock: Clock
  readonly #sessions = new Map<string, Session>()
  readonly #failures = new Map<string, { minute: number; count: number }>()

  constructor(options: { adminToken: Secret; config: ApiConfig; clock: Clock }) {
    this.#adminToken = options.adminToken
    this.#config = options.config
    this.#clock = options.clock
  }

  /** Throws AccessError UNAUTHENTICATED, or LimitError for a further unknown token after too many from one address. */
  authenticate(request: FastifyRequest): Principal {
    const header = request.headers.authorization
    if (header !== undefined) return this.ofToken(/^Bearer (.+)$/i.exec(header)?.[1] ?? '', request.ip)
    const id = cookieOf(request)
    const session = id === undefined ? undefined : this.#sessions.get(hash(id))
    if (session === undefined || session.expiresAt <= this.#clock.nowMs()) {
      throw new AccessError('UNAUTHENTICATED', 'A bearer token or a session is needed.', { remedy: 'Send "Authorization: Bearer TOKEN", or log in.' })
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') requireSameOrigin(request)
    return session.principal
  }

  ofToken(token: string, address: string): Principal {
    // A right token comes first: people behind one address, and all programs of this machine, would lock each other out otherwise.
    if (sameText(token, this.#adminToken.reveal())) return { kind: 'user', id: 'admin', tenant: DEFAULT_TENANT, roles: ['admin'] }
    this.#refuseFlood(address)
    this.#countFailure(address)
    throw new AccessError('UNAUTHENTICATED', 'The token is not known here.')
  }

  /** Opens a browser session; answers the cookie's value. */
  open(principal: Principal): string {
    const id = randomBytes(32).toString('base64url')
    const oldest = this.#sessions.keys().next().value
    if (this.#sessions.size >= SESSIONS_MAX && oldest !== undefined) this.#sessions.delete(oldest)
    this.#sessions.set(hash(id), { principal, expiresAt: this.#clock.nowMs() + this.#config.sessionLifetimeMs })
    return id
  }

  /** Ends the browser's session; answers whose it was. */
  close(request: FastifyRequest): Principal | undefined {
    const id = cookieOf(request)
    if (id === undefined) return undefined
    const session = this.#sessions.get(hash(id))
    this.#sessions.delete(hash(id))
    return session?.principal
  }

  #refuseFlood(address: string): void {
    const failures = this.#failures.get(address)
    if (failures?.minute === this.#minute() && failures.count >= this.#config.loginsPerMinuteMax) throw new LimitError('Too many failed attempts from this address (api.loginsPerMinuteMax).', { remedy: 'Wait a minute.' })
  }

  #countFailure(address: string): void {
    const minute = this.#minute()
    const failures = this.#failures.get(address)
    if (failures?.minute === minute) failures.count++
    else {
      if (this.#failures.size >= ADDRESSES_MAX) this.#failures.clear()
      this.#failures.set(address, { minute, count: 1 })
    }
  }

  #minute(): number {
    return Math.floor(this.#clock.nowMs() / 60_000)
  }
}

/** Asks the one authorisation function; throws AccessError FORBIDDEN. */
export function requireRight(principal: Principal, action: Action, kind: string, id?: string): void {
  const resource = { tenant: principal.tenant, kind, ...(id === undefined ? {} : { id }) }
  if (!authorise(principal, action, resource)) throw new AccessError('FORBIDDEN', `${principal.id} may not ${action} ${kind}.`)
}

/** A browser sends the cookie along with requests other sites make: those carry another Origin. */
function requireSameOrigin(request: FastifyRequest): void {
  const origin = request.headers.origin
  if (origin === undefined || hostOf(origin) === request.headers.host) return
  throw new AccessError('FORBIDDEN', 'The request comes from a page of another origin.')
}

function hostOf(origin: string): string | undefined {
  return /^https?:\/\/([^/]+)$/.exec(origin)?.[1]
}

function cookieOf(request: FastifyRequest): string | undefined {
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const [name, value] = part.trim().split('=')
    if (name === SESSION_COOKIE && value !== undefined) return value
  }
  return undefined
}

function sameText(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(hash(a)), Buffer.from(hash(b)))
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
