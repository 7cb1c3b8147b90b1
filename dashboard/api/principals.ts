import type { FastifyRequest } from 'fastify'
import { authorise, type Action, type Principal } from '../../contracts/authorisation.ts'
import { DEFAULT_TENANT } from '../../contracts/device.ts'
import { AccessError } from '../../kernel/errors.ts'
import type { Secret } from '../../kernel/secret.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { AccessTokens } from './access/access-tokens.ts'
import { ApiKeys } from './access/api-keys.ts'
import { Attempts } from './access/attempts.ts'
import { isSameText } from './access/bearer-secret.ts'
import { Sessions, type SessionKind, type StoredSession } from './access/sessions.ts'
import type { ApiConfig } from './config.ts'

export const SESSION_COOKIE = 'fleetpulse_session'

/** What somebody gets who logs in for access tokens. */
export interface TokenPair {
  accessToken: string
  /** Epoch ms. */
  expiresAt: number
  refreshToken: string | null
  /** Of the session, epoch ms. */
  sessionExpiresAt: number
}

export interface PrincipalsOptions {
  adminToken: Secret
  documents: Documents
  config: ApiConfig
  clock: Clock
}

/**
 * Who asks: the admin token, an API key, an access token, or a browser's session. Whether a key or a session still holds is read from the
 * documents with each request, so that taking one away works at once in every process.
 */
export class Principals {
  readonly keys: ApiKeys
  readonly #adminToken: Secret
  readonly #sessions: Sessions
  readonly #tokens: AccessTokens
  readonly #attempts: Attempts

  constructor(options: PrincipalsOptions) {
    this.#adminToken = options.adminToken
    this.keys = new ApiKeys(options)
    this.#sessions = new Sessions(options)
    this.#tokens = new AccessTokens(options)
    this.#attempts = new Attempts({ ...options, perMinuteMax: options.config.loginsPerMinuteMax })
  }

  /** Throws AccessError UNAUTHENTICATED, or LimitError for a further unknown token after too many from one address. */
  async authenticate(request: FastifyRequest): Promise<Principal> {
    const header = request.headers.authorization
    if (header !== undefined) return this.#ofBearer(/^Bearer (.+)$/i.exec(header)?.[1] ?? '', request.ip)
    const cookie = cookieOf(request)
    const session = cookie === undefined ? null : await this.#sessions.ofCookie(cookie)
    const principal = session === null ? null : await this.#holderOf(session)
    if (principal === null) {
      throw new AccessError('UNAUTHENTICATED', 'A bearer token or a session is needed.', {
        remedy: 'Send "Authorization: Bearer TOKEN", or log in.',
      })
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') requireSameOrigin(request)
    return principal
  }

  /** Opens a browser's session with the admin token or an API key; answers the cookie's value. */
  async logIn(token: string, address: string): Promise<{ principal: Principal; cookie: string }> {
    const { session, secret } = await this.#open(token, address, 'browser')
    return { principal: session.principal, cookie: secret ?? '' }
  }

  /** Exchanges the admin token or an API key for access tokens, which travel in its place. */
  async exchange(token: string, address: string): Promise<TokenPair & { principal: Principal }> {
    const { session, secret } = await this.#open(token, address, 'token')
    return { ...(await this.#pairOf(session, secret)), principal: session.principal }
  }

  /** The next pair for a refresh token, which is spent by it. One that was spent before ends its session. */
  async refresh(refreshToken: string, address: string): Promise<TokenPair & { principal: Principal }> {
    const refreshed = await this.#sessions.refresh(refreshToken)
    if (refreshed.status === 'refreshed' && (await this.#holderOf(refreshed.session)) !== null) {
      return { ...(await this.#pairOf(refreshed.session, refreshed.secret)), principal: refreshed.session.principal }
    }
    await this.#attempts.failed(address)
    throw new AccessError(
      'UNAUTHENTICATED',
      refreshed.status === 'reused' ? 'The refresh token was used before; its session is ended.' : 'The refresh token is not known here.',
      { remedy: 'Log in again.' },
    )
  }

  /** An access token for an agent that runs elsewhere. Who retires the agent ends it. */
  async agentToken(tenant: string, agent: string): Promise<{ accessToken: string; expiresAt: number }> {
    const { session } = await this.#sessions.open({ kind: 'agent', id: agent, tenant, roles: [] }, { kind: 'agent' })
    const { token, expiresAt } = await this.#tokens.issue(session)
    return { accessToken: token, expiresAt }
  }

  /** Ends what a retired agent still holds. */
  endAgent(tenant: string, agent: string): Promise<number> {
    return this.#sessions.endAllOf({ tenant, kind: 'agent', id: agent }, 'agent-retired')
  }

  /** Ends the browser's session; answers whose it was. */
  async logOut(request: FastifyRequest): Promise<Principal | undefined> {
    const cookie = cookieOf(request)
    const session = cookie === undefined ? null : await this.#sessions.ofCookie(cookie)
    return session === null ? undefined : (await this.#sessions.end(session, 'logged-out')).principal
  }

  /** Ends the session of a refresh token, or of the access token that the request carries; answers whose it was. */
  async revoke(refreshToken: string | undefined, bearer: string | undefined): Promise<Principal | undefined> {
    const named = refreshToken === undefined ? null : await this.#sessions.ofRefreshToken(refreshToken)
    const carried = bearer === undefined ? null : await this.#tokens.verify(bearer)
    const session = named ?? (carried === null ? null : await this.#sessions.live(carried.session))
    return session === null ? undefined : (await this.#sessions.end(session, 'logged-out')).principal
  }

  async #open(token: string, address: string, kind: SessionKind): Promise<{ session: StoredSession; secret: string | null }> {
    const { principal, apiKey } = (await this.#ofOwnSecret(token)) ?? (await this.#unknown(address))
    return this.#sessions.open(principal, { kind, apiKey })
  }

  async #pairOf(session: StoredSession, refreshToken: string | null): Promise<TokenPair> {
    const { token, expiresAt } = await this.#tokens.issue(session)
    return { accessToken: token, expiresAt, refreshToken, sessionExpiresAt: session.expiresAt }
  }

  async #ofBearer(token: string, address: string): Promise<Principal> {
    // A right token comes first: people behind one address, and all programs of this machine, would lock each other out otherwise.
    const own = await this.#ofOwnSecret(token)
    if (own !== null) return own.principal
    const verified = await this.#tokens.verify(token)
    const session = verified === null ? null : await this.#sessions.live(verified.session)
    const principal = session === null || session.kind === 'browser' ? null : await this.#holderOf(session)
    if (principal !== null && verified?.subject === `${principal.kind}:${principal.id}`) return principal
    return this.#unknown(address)
  }

  /** What opens sessions: the admin token, and API keys. */
  async #ofOwnSecret(token: string): Promise<{ principal: Principal; apiKey: string | null } | null> {
    if (isSameText(token, this.#adminToken.reveal())) {
      return { principal: { kind: 'user', id: 'admin', tenant: DEFAULT_TENANT, roles: ['admin'] }, apiKey: null }
    }
    const principal = await this.keys.ofText(token)
    return principal === null ? null : { principal, apiKey: principal.id }
  }

  /** Whoever holds the session, with the rights of now: a key that was revoked opens nothing any more. */
  #holderOf({ apiKey, principal }: StoredSession): Promise<Principal | null> {
    return apiKey === null ? Promise.resolve(principal) : this.keys.holder(apiKey)
  }

  async #unknown(address: string): Promise<never> {
    await this.#attempts.failed(address)
    throw new AccessError('UNAUTHENTICATED', 'The token is not known here.')
  }
}

/** Asks the one authorisation function; throws AccessError FORBIDDEN. */
export function requireRight(principal: Principal, action: Action, kind: string, id?: string): void {
  const resource = { tenant: principal.tenant, kind, ...(id === undefined ? {} : { id }) }
  if (!authorise(principal, action, resource)) throw new AccessError('FORBIDDEN', `${principal.id} may not ${action} ${kind}.`)
}

/** A browser sends the cookie along with requests other sites make: those carry another Origin. */
export function requireSameOrigin(request: FastifyRequest): void {
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
