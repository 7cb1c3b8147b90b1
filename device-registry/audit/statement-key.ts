import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { calculateJwkThumbprint, CompactSign } from 'jose'
import { STATEMENT_KEY_FILE, type KeySealer } from '../../contracts/key-sealer.ts'
import type { PublicJwk, StatementSigner } from '../../contracts/statement.ts'
import { canonicalJson } from '../../kernel/canonical-json.ts'
import { describeError, InternalError, StoreError } from '../../kernel/errors.ts'
import { writeFileAtomically } from '../../kernel/files.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { openKeys, type StoredKey } from './documents.ts'

/** Its public half for whoever verifies on this machine. */
export const STATEMENT_PUBLIC_FILE = 'statement-key.pub.pem'
const KEYS_MAX = 100

export interface StatementKeyOptions {
  dataDirectory: string
  documents: Documents
  clock: Clock
  /** Without one the key lies unencrypted in its file. */
  keySealer?: KeySealer
}

/**
 * The Ed25519 key with which the platform signs statements (RFC 8037). Made on the first start; lies where the CA's keys lie, in the process
 * with the target `registry`. Its public half goes to a file and to the documents, for every process to publish.
 */
export class StatementKey implements Service, StatementSigner {
  readonly name = 'statement-key'
  readonly #options: StatementKeyOptions
  #key: KeyObject | undefined
  #jwk: PublicJwk | undefined
  #keys: Collection<StoredKey> | undefined

  constructor(options: StatementKeyOptions) {
    this.#options = options
  }

  /** Throws StoreError when the file is there and holds no Ed25519 key; nothing is overwritten. */
  async start(): Promise<void> {
    if (this.#key !== undefined) return
    const { dataDirectory, documents, clock, keySealer } = this.#options
    const key = await openKey(join(dataDirectory, STATEMENT_KEY_FILE), keySealer)
    const publicKey = createPublicKey(key)
    const jwk = await publicJwk(publicKey)
    await writeFileAtomically(join(dataDirectory, STATEMENT_PUBLIC_FILE), publicKey.export({ type: 'spki', format: 'pem' }), 0o644)
    this.#keys = await openKeys(documents)
    await this.#keys.insert(jwk.kid, { createdAt: clock.nowMs(), jwk })
    this.#jwk = jwk
    this.#key = key
  }

  stop(): Promise<void> {
    this.#key = undefined
    return Promise.resolve()
  }

  async sign(type: string, statement: object): Promise<string> {
    if (this.#key === undefined || this.#jwk === undefined)
      throw new InternalError('the statement key is used before its start or after its stop')
    return new CompactSign(Buffer.from(canonicalJson(statement)))
      .setProtectedHeader({ alg: 'EdDSA', typ: type, kid: this.#jwk.kid })
      .sign(this.#key)
  }

  async publicKeys(): Promise<PublicJwk[]> {
    const own = this.#jwk
    const all = this.#keys === undefined ? [] : await publishedKeys(this.#keys)
    return own === undefined ? all : [own, ...all.filter(({ kid }) => kid !== own.kid)]
  }
}

/** The public keys that any process published, newest first. */
export async function publishedKeys(keys: Collection<StoredKey>): Promise<PublicJwk[]> {
  return (await keys.find({}, { sort: { createdAt: -1 }, limit: KEYS_MAX })).map(({ jwk }) => jwk)
}

/** A public Ed25519 key as JWK, its RFC 7638 thumbprint as `kid`. */
export async function publicJwk(key: KeyObject): Promise<PublicJwk> {
  const { x } = key.export({ format: 'jwk' })
  if (key.asymmetricKeyType !== 'ed25519' || typeof x !== 'string') throw new InternalError('a statement key must be an Ed25519 key')
  const base = { kty: 'OKP', crv: 'Ed25519', x } as const
  return { ...base, kid: await calculateJwkThumbprint(base), alg: 'EdDSA', use: 'sig' }
}

async function openKey(path: string, sealer: KeySealer | undefined): Promise<KeyObject> {
  let pem: string
  try {
    pem = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unusable(path, error)
    const { privateKey } = generateKeyPairSync('ed25519')
    await writeFileAtomically(path, await pemOf(privateKey, sealer), 0o600)
    return privateKey
  }
  const key = sealer?.isSealed(pem) === true ? await sealer.open(pem, path) : readKey(pem, path)
  if (key.asymmetricKeyType !== 'ed25519') throw damaged(path)
  // A key of before keys were encrypted.
  if (sealer?.isSealed(pem) === false) await writeFileAtomically(path, await sealer.seal(key), 0o600)
  return key
}

async function pemOf(key: KeyObject, sealer: KeySealer | undefined): Promise<string | Buffer> {
  return sealer === undefined ? key.export({ type: 'pkcs8', format: 'pem' }) : sealer.seal(key)
}

function readKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    throw damaged(path, error)
  }
}

function damaged(path: string, cause?: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', `The file ${path} does not hold an Ed25519 private key.`, {
    remedy:
      'Restore it from a backup. Without one, move it away and start again: a new key is made; what the old one signed can still be verified with its public half.',
    ...(cause === undefined ? {} : { cause }),
  })
}

function unusable(path: string, cause: unknown): StoreError {
  return new StoreError('STORE_UNUSABLE', `The file ${path} cannot be read: ${describeError(cause)}.`, {
    remedy: 'Check that the data folder belongs to this user, and start again.',
    cause,
  })
}
