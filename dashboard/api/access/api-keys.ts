import { Type, type Static } from 'typebox'
import { KEY_ROLES, SCOPE_PATTERN, type KeyRole, type Principal } from '../../../contracts/authorisation.ts'
import { ConflictError, LimitError, NotFoundError } from '../../../kernel/errors.ts'
import { newId } from '../../../kernel/ids.ts'
import type { Clock } from '../../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents, Stored } from '../../../storage/documents/documents.ts'
import type { ApiConfig } from '../config.ts'
import { newBearerSecret, parseBearerSecret } from './bearer-secret.ts'

/** How often it is written when a key was last used. */
const LAST_USED_MS = 60_000
const SCOPES_MAX = 32

export const ScopesSchema = Type.Array(Type.String({ pattern: SCOPE_PATTERN }), {
  minItems: 1,
  maxItems: SCOPES_MAX,
  uniqueItems: true,
  description: '`ACTION:KIND` each, for instance `read:*` or `write:alerts`: narrows what the role gives',
})
export const KeyRoleSchema = Type.Unsafe<KeyRole>({
  type: 'string',
  enum: [...KEY_ROLES],
  description: 'what it may do, within its scopes',
})

/** An API key as it is seen: never its secret. */
export const ApiKeySchema = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  name: Type.String({ description: 'of the person or program that holds it' }),
  role: KeyRoleSchema,
  scopes: ScopesSchema,
  createdBy: Type.String(),
  createdAt: Type.Integer({ description: 'epoch ms' }),
  expiresAt: Type.Integer({ description: 'epoch ms' }),
  lastUsedAt: Type.Union([Type.Integer(), Type.Null()], { description: 'epoch ms, to the minute; null: never' }),
  revokedAt: Type.Union([Type.Integer(), Type.Null()], { description: 'epoch ms; null: it is not' }),
  revokedBy: Type.Union([Type.String(), Type.Null()]),
})
export type ApiKey = Static<typeof ApiKeySchema>
type KeyDocument = ApiKey & { v: 1; hash: string }

const KEYS_COLLECTION: CollectionSpec = { name: 'api-keys', indexes: [{ name: 'newest', paths: ['tenant', 'id'] }] }

/** What is asked for when a key is made. */
export interface NewApiKey {
  name: string
  role: KeyRole
  scopes: readonly string[]
  lifetimeMs: number
}

/** Keys of programs and people: 32 random bytes, stored as their hash, looked up at every use, so that a revoked one is refused at once by every process. */
export class ApiKeys {
  readonly #documents: Documents
  readonly #clock: Clock
  readonly #config: ApiConfig
  #keys: Collection<KeyDocument> | undefined

  constructor(options: { documents: Documents; clock: Clock; config: ApiConfig }) {
    this.#documents = options.documents
    this.#clock = options.clock
    this.#config = options.config
  }

  /** `secret` is answered once and nowhere kept. Throws LimitError beyond `api.apiKeysMax`. */
  async create(tenant: string, asked: NewApiKey, by: string): Promise<{ key: ApiKey; secret: string }> {
    const keys = await this.#opened()
    const nowMs = this.#clock.nowMs()
    if ((await keys.count({ tenant })) >= this.#config.apiKeysMax) {
      const gone = await keys.deleteMany({ tenant, $or: [{ expiresAt: { $lte: nowMs } }, { revokedAt: { $gt: 0 } }] })
      if (gone === 0) throw new LimitError(`api.apiKeysMax is reached (${this.#config.apiKeysMax} keys)`, { retryable: false })
    }
    const secret = newBearerSecret('fpk', newId(nowMs))
    const { name, role, scopes, lifetimeMs } = asked
    const document: KeyDocument = {
      ...{ v: 1, id: secret.id, tenant, name, role, scopes: [...scopes], hash: secret.hash, createdBy: by, createdAt: nowMs },
      ...{ expiresAt: nowMs + lifetimeMs, lastUsedAt: null, revokedAt: null, revokedBy: null },
    }
    const result = await keys.insert(secret.id, document)
    if (result.status === 'conflict') throw new ConflictError('a key of this id exists', { retryable: true })
    return { key: viewOf(result.document), secret: secret.text }
  }

  /** Newest first. */
  async list(tenant: string, limit: number, before?: string): Promise<ApiKey[]> {
    const filter = { tenant, ...(before === undefined ? {} : { id: { $lt: before } }) }
    return (await (await this.#opened()).find(filter, { sort: { id: -1 }, limit })).map(viewOf)
  }

  /** Throws NotFoundError. */
  async get(tenant: string, id: string): Promise<ApiKey> {
    return viewOf(await this.#existing(tenant, id))
  }

  /** From now on nobody gets in with it, nor on with a session that it opened; repeating it changes nothing. Throws NotFoundError. */
  async revoke(tenant: string, id: string, by: string): Promise<ApiKey> {
    for (;;) {
      const key = await this.#existing(tenant, id)
      if (key.revokedAt !== null) return viewOf(key)
      const change = { $set: { revokedAt: this.#clock.nowMs(), revokedBy: by } }
      const result = await (await this.#opened()).update(id, change, key.version)
      if (result.status === 'written') return viewOf(result.document)
    }
  }

  /** Who presents this text; null where it is no key, revoked or over. */
  async ofText(text: string): Promise<Principal | null> {
    const secret = parseBearerSecret('fpk', text)
    const key = secret === undefined ? null : await (await this.#opened()).get(secret.id)
    if (key === null || key.hash !== secret?.hash) return null
    return this.#used(key)
  }

  /** Who holds the key with which a session was opened; null where that is revoked or over. */
  async holder(id: string): Promise<Principal | null> {
    const key = await (await this.#opened()).get(id)
    return key === null ? null : this.#used(key)
  }

  async #used(key: KeyDocument & Stored): Promise<Principal | null> {
    const nowMs = this.#clock.nowMs()
    const { id, tenant, role, scopes, revokedAt, expiresAt, lastUsedAt } = key
    if (revokedAt !== null || expiresAt <= nowMs) return null
    if (lastUsedAt === null || nowMs - lastUsedAt >= LAST_USED_MS) await (await this.#opened()).update(id, { $max: { lastUsedAt: nowMs } })
    return { kind: 'api-key', id, tenant, roles: [role], scopes }
  }

  async #existing(tenant: string, id: string): Promise<KeyDocument & Stored> {
    const key = await (await this.#opened()).get(id)
    if (key === null || key.tenant !== tenant) throw new NotFoundError(`there is no API key ${id}`)
    return key
  }

  async #opened(): Promise<Collection<KeyDocument>> {
    this.#keys ??= await this.#documents.collection<KeyDocument>(KEYS_COLLECTION)
    return this.#keys
  }
}

function viewOf({
  id,
  tenant,
  name,
  role,
  scopes,
  createdBy,
  createdAt,
  expiresAt,
  lastUsedAt,
  revokedAt,
  revokedBy,
}: KeyDocument): ApiKey {
  return { id, tenant, name, role, scopes, createdBy, createdAt, expiresAt, lastUsedAt, revokedAt, revokedBy }
}
