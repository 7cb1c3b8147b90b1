import { randomBytes } from 'node:crypto'
import { errors, jwtVerify, SignJWT, type JWTHeaderParameters } from 'jose'
import { newId } from '../../../kernel/ids.ts'
import type { Clock } from '../../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents, Stored } from '../../../storage/documents/documents.ts'
import type { ApiConfig } from '../config.ts'
import type { SessionDocument } from './sessions.ts'

/** The one algorithm; a token that names another is refused whatever its signature (RFC 8725 §3.1). */
const ALGORITHM = 'HS256'
/** RFC 9068 §2.1: no other kind of JWT is taken for an access token. */
const TYPE = 'at+jwt'
const KEY_BYTES = 32
const KEYS_COLLECTION: CollectionSpec = { name: 'token-keys', indexes: [{ name: 'newest', paths: ['createdAt'] }] }

interface KeyDocument {
  createdAt: number
  secret: Uint8Array
}

/**
 * Short-lived access tokens, signed with a key of ours that is replaced as it ages and named by the token. Only we verify them, so that the
 * key is a secret in the documents. A token says who it was made for; what counts is the session that it names.
 */
export class AccessTokens {
  readonly #documents: Documents
  readonly #clock: Clock
  readonly #config: ApiConfig
  /** Keys never change: what was read once holds until it is too old. */
  readonly #known = new Map<string, KeyDocument>()
  #keys: Collection<KeyDocument> | undefined

  constructor(options: { documents: Documents; clock: Clock; config: ApiConfig }) {
    this.#documents = options.documents
    this.#clock = options.clock
    this.#config = options.config
  }

  /** `expiresAt` in epoch ms: never later than its session. */
  async issue(session: SessionDocument): Promise<{ token: string; expiresAt: number }> {
    const { accessTokenLifetimeMs, tokenIssuer, tokenAudience } = this.#config
    const nowMs = this.#clock.nowMs()
    const { _id: kid, secret } = await this.#signingKey(nowMs)
    const expiresAt = session.kind === 'agent' ? session.expiresAt : Math.min(nowMs + accessTokenLifetimeMs, session.expiresAt)
    const { kind, id, roles } = session.principal
    const token = await new SignJWT({ sid: session.id, tenant: session.tenant, roles: [...roles] })
      .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid })
      .setIssuer(tokenIssuer)
      .setAudience(tokenAudience)
      .setSubject(`${kind}:${id}`)
      .setIssuedAt(Math.floor(nowMs / 1_000))
      .setExpirationTime(Math.floor(expiresAt / 1_000))
      .setJti(newId(nowMs))
      .sign(secret)
    return { token, expiresAt }
  }

  /** The session that a valid token names; null for every other text. */
  async verify(token: string): Promise<{ session: string; subject: string } | null> {
    const { tokenIssuer: issuer, tokenAudience: audience } = this.#config
    try {
      const { payload } = await jwtVerify(token, (header) => this.#verificationKey(header), {
        ...{ algorithms: [ALGORITHM], typ: TYPE, issuer, audience, clockTolerance: 0 },
        currentDate: new Date(this.#clock.nowMs()),
        requiredClaims: ['exp', 'sub', 'sid', 'jti'],
      })
      const { sid, sub } = payload
      return typeof sid === 'string' && sub !== undefined ? { session: sid, subject: sub } : null
    } catch (error) {
      if (error instanceof errors.JOSEError) return null
      throw error
    }
  }

  /** The newest key while it is young enough. Two processes may each make one: both are good. */
  async #signingKey(nowMs: number): Promise<KeyDocument & { _id: string }> {
    const keys = await this.#opened()
    const [newest] = await keys.find({ createdAt: { $gt: nowMs - this.#config.tokenKeyLifetimeMs } }, { sort: { createdAt: -1 }, limit: 1 })
    if (newest !== undefined) return newest
    await keys.deleteMany({ createdAt: { $lte: nowMs - this.#keptMs } })
    return keys.put(newId(nowMs), { createdAt: nowMs, secret: randomBytes(KEY_BYTES) })
  }

  async #verificationKey({ kid }: JWTHeaderParameters): Promise<Uint8Array> {
    const known = kid === undefined ? undefined : (this.#known.get(kid) ?? (await this.#read(kid)))
    if (known === undefined || known.createdAt <= this.#clock.nowMs() - this.#keptMs) throw new errors.JWKSNoMatchingKey()
    return known.secret
  }

  async #read(kid: string): Promise<(KeyDocument & Stored) | undefined> {
    const key = await (await this.#opened()).get(kid.slice(0, 64) || '-')
    if (key === null) return undefined
    this.#known.set(kid, key)
    return key
  }

  /** As long as a token can live that was signed with its last breath. */
  get #keptMs(): number {
    const { tokenKeyLifetimeMs, accessTokenLifetimeMs, agentTokenLifetimeMs } = this.#config
    return tokenKeyLifetimeMs + Math.max(accessTokenLifetimeMs, agentTokenLifetimeMs)
  }

  async #opened(): Promise<Collection<KeyDocument>> {
    this.#keys ??= await this.#documents.collection<KeyDocument>(KEYS_COLLECTION)
    return this.#keys
  }
}
