import type { Principal } from '../../../contracts/authorisation.ts'
import { newId } from '../../../kernel/ids.ts'
import type { Clock } from '../../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents, Stored } from '../../../storage/documents/documents.ts'
import type { ApiConfig } from '../config.ts'
import { newBearerSecret, parseBearerSecret, type BearerSecret } from './bearer-secret.ts'

/** `browser`: a cookie; `token`: access tokens, and a refresh token that changes with every use; `agent`: one access token. */
export type SessionKind = 'browser' | 'token' | 'agent'

/** Why a session ended before its time. */
export type SessionEnd = 'logged-out' | 'refresh-token-reused' | 'agent-retired'

export interface SessionDocument {
  v: 1
  id: string
  tenant: string
  kind: SessionKind
  principal: Principal
  /** The API key that it was opened with: it lives no longer than that. */
  apiKey: string | null
  /** Of the secret that opens it next; null: none does. */
  hash: string | null
  /** Hashes of the refresh tokens that were used. */
  spent: string[]
  createdAt: number
  expiresAt: number
  endedAt: number | null
  endedBy: SessionEnd | null
}
export type StoredSession = SessionDocument & Stored

const SESSIONS_COLLECTION: CollectionSpec = {
  name: 'sessions',
  indexes: [
    { name: 'by-expiry', paths: ['expiresAt'] },
    { name: 'by-principal', paths: ['tenant', 'principal.kind', 'principal.id'] },
  ],
}

export type Refreshed =
  { status: 'refreshed'; session: StoredSession; secret: string } | { status: 'reused'; session: StoredSession } | { status: 'unknown' }

/**
 * Who is logged in, in the documents: every process sees at once who logged out. A refresh token is good for one use; using one again means
 * that two have it, and ends the session for both (RFC 9700 §4.14.2).
 */
export class Sessions {
  readonly #documents: Documents
  readonly #clock: Clock
  readonly #config: ApiConfig
  #sessions: Collection<SessionDocument> | undefined

  constructor(options: { documents: Documents; clock: Clock; config: ApiConfig }) {
    this.#documents = options.documents
    this.#clock = options.clock
    this.#config = options.config
  }

  /** Opens a session; `secret` is the cookie or the refresh token, null for an agent's. */
  async open(
    principal: Principal,
    how: { kind: SessionKind; apiKey?: string | null },
  ): Promise<{ session: StoredSession; secret: string | null }> {
    const sessions = await this.#opened()
    const nowMs = this.#clock.nowMs()
    await this.#makeRoom(sessions, nowMs)
    const id = newId(nowMs)
    const secret = how.kind === 'agent' ? null : newBearerSecret(how.kind === 'token' ? 'fpr' : 'fps', id)
    const lifetimeMs = how.kind === 'agent' ? this.#config.agentTokenLifetimeMs : this.#config.sessionLifetimeMs
    const document: SessionDocument = {
      ...{
        v: 1,
        id,
        tenant: principal.tenant,
        kind: how.kind,
        principal,
        apiKey: how.apiKey ?? null,
        hash: secret?.hash ?? null,
        spent: [],
      },
      ...{ createdAt: nowMs, expiresAt: nowMs + lifetimeMs, endedAt: null, endedBy: null },
    }
    return { session: await sessions.put(id, document), secret: secret?.text ?? null }
  }

  /** The session while it lives. */
  async live(id: string): Promise<StoredSession | null> {
    const session = await (await this.#opened()).get(id)
    return session !== null && session.endedAt === null && session.expiresAt > this.#clock.nowMs() ? session : null
  }

  /** The living session of a cookie. */
  async ofCookie(text: string): Promise<StoredSession | null> {
    const secret = parseBearerSecret('fps', text)
    const session = secret === undefined ? null : await this.live(secret.id)
    return session !== null && session.kind === 'browser' && session.hash === secret?.hash ? session : null
  }

  /** Takes a refresh token for the next one. Of two at once one wins, and the other one has used a spent token. */
  async refresh(text: string): Promise<Refreshed> {
    const secret = parseBearerSecret('fpr', text)
    if (secret === undefined) return { status: 'unknown' }
    for (;;) {
      const session = await this.live(secret.id)
      if (session?.kind !== 'token') return { status: 'unknown' }
      if (session.spent.includes(secret.hash)) return { status: 'reused', session: await this.end(session, 'refresh-token-reused') }
      if (session.hash !== secret.hash || session.spent.length >= this.#config.sessionRefreshesMax) return { status: 'unknown' }
      const next = newBearerSecret('fpr', session.id)
      const renewed = await this.#replaced(session, { hash: next.hash, spent: [...session.spent, secret.hash] })
      if (renewed !== null) return { status: 'refreshed', session: renewed, secret: next.text }
    }
  }

  /** The living session that a refresh token belongs to, spent or not: who holds one may end it. */
  async ofRefreshToken(text: string): Promise<StoredSession | null> {
    const secret = parseBearerSecret('fpr', text)
    const session = secret === undefined ? null : await this.live(secret.id)
    return session !== null && knows(session, secret) ? session : null
  }

  /** Ends it in every process; one that is over stays as it ended. */
  async end(session: StoredSession, by: SessionEnd): Promise<StoredSession> {
    let current: StoredSession | null = session
    while (current !== null && current.endedAt === null) {
      const ended = await this.#replaced(current, { endedAt: this.#clock.nowMs(), endedBy: by, hash: null })
      if (ended !== null) return ended
      current = await (await this.#opened()).get(session.id)
    }
    return current ?? session
  }

  /** Ends all of somebody's; answers how many there were. */
  async endAllOf({ tenant, kind, id }: Pick<Principal, 'tenant' | 'kind' | 'id'>, by: SessionEnd): Promise<number> {
    const filter = { tenant, 'principal.kind': kind, 'principal.id': id, endedAt: null, expiresAt: { $gt: this.#clock.nowMs() } }
    const found = await (await this.#opened()).find(filter)
    for (const session of found) await this.end(session, by)
    return found.length
  }

  /** Sessions are bounded: what is over goes, and beyond the bound the one that ends first. */
  async #makeRoom(sessions: Collection<SessionDocument>, nowMs: number): Promise<void> {
    if ((await sessions.count({})) < this.#config.sessionsMax) return
    await sessions.deleteMany({ expiresAt: { $lte: nowMs } })
    const over = (await sessions.count({})) - this.#config.sessionsMax + 1
    if (over <= 0) return
    for (const { id } of await sessions.find({}, { sort: { expiresAt: 1 }, limit: over })) await sessions.delete(id)
  }

  async #replaced(session: StoredSession, change: Partial<SessionDocument>): Promise<StoredSession | null> {
    const { _id, version, ...document } = session
    const result = await (await this.#opened()).replace(_id, version, { ...document, ...change })
    return result.status === 'written' ? result.document : null
  }

  async #opened(): Promise<Collection<SessionDocument>> {
    this.#sessions ??= await this.#documents.collection<SessionDocument>(SESSIONS_COLLECTION)
    return this.#sessions
  }
}

function knows({ hash, spent, kind }: SessionDocument, secret: BearerSecret | undefined): boolean {
  return kind === 'token' && secret !== undefined && (hash === secret.hash || spent.includes(secret.hash))
}
