import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, type KeyObject } from 'node:crypto'
import { InternalError, StoreError } from '../../kernel/errors.ts'

/** Where a sealed value belongs; it opens nowhere else. */
export interface SealedPlace {
  collection: string
  id: string
  field: string
}

/*
 * A sealed value: FORMAT (one byte), id of the key (8), nonce (12), the value as JSON in UTF-8 under AES-256-GCM, tag (16).
 */
const FORMAT = 1
const KEY_ID_BYTES = 8
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 1 + KEY_ID_BYTES
const NONCE_END = HEAD_BYTES + NONCE_BYTES

/** Bytes of a key. */
export const SEAL_KEY_BYTES = 32

/** Tells keys apart and nothing of them: 16 hex digits. */
export function sealKeyId(key: KeyObject): string {
  return createHash('sha256')
    .update('fleetpulse seal key\n')
    .update(key.export())
    .digest('hex')
    .slice(0, 2 * KEY_ID_BYTES)
}

/**
 * Seals values so that whoever reads or changes the store without the key learns nothing but their length, and changes none unseen. The first
 * key seals, all open. Each place has a key of its own, derived from that: random nonces stay far from the 2^32 values that NIST SP 800-38D
 * §8.3 allows one key.
 */
export class Sealer {
  readonly #keys: ReadonlyMap<string, KeyObject>
  /** Of the key that seals. */
  readonly keyId: string

  /** `keys`: at least one, each of SEAL_KEY_BYTES. */
  constructor(keys: readonly KeyObject[]) {
    this.#keys = new Map(keys.map((key) => [sealKeyId(key), key]))
    const [first] = this.#keys.keys()
    if (first === undefined) throw new InternalError('there is nothing to seal with')
    this.keyId = first
  }

  opens(keyId: string): boolean {
    return this.#keys.has(keyId)
  }

  /** `value`: what JSON can say. */
  seal(value: unknown, place: SealedPlace): Uint8Array {
    const head = Buffer.concat([Buffer.of(FORMAT), Buffer.from(this.keyId, 'hex')])
    const nonce = randomBytes(NONCE_BYTES)
    const name = nameOf(place)
    const cipher = createCipheriv('aes-256-gcm', keyAt(this.#keys.get(this.keyId) as KeyObject, name), nonce)
    cipher.setAAD(Buffer.concat([head, name]))
    const hidden = [cipher.update(JSON.stringify(value), 'utf8'), cipher.final()]
    return Buffer.concat([head, nonce, ...hidden, cipher.getAuthTag()])
  }

  /** Throws StoreError STORE_SEALED for what was sealed with another key, altered, or belongs elsewhere. */
  open(sealed: Uint8Array, place: SealedPlace): unknown {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
    if (bytes.length < NONCE_END + TAG_BYTES || bytes[0] !== FORMAT) throw altered(place)
    const keyId = bytes.toString('hex', 1, HEAD_BYTES)
    const key = this.#keys.get(keyId)
    if (key === undefined) throw unknownKey(keyId, place)
    const name = nameOf(place)
    const decipher = createDecipheriv('aes-256-gcm', keyAt(key, name), bytes.subarray(HEAD_BYTES, NONCE_END), { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.concat([bytes.subarray(0, HEAD_BYTES), name]))
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
    const shown = decipher.update(bytes.subarray(NONCE_END, -TAG_BYTES))
    try {
      return JSON.parse(Buffer.concat([shown, decipher.final()]).toString('utf8')) as unknown
    } catch (cause) {
      throw altered(place, cause)
    }
  }
}

/** Of a value in a store that has no key at all. */
export function unsealable(place: SealedPlace): StoreError {
  return unknownKey('', place)
}

function nameOf({ collection, id, field }: SealedPlace): Buffer {
  return Buffer.from(JSON.stringify([collection, id, field]))
}

function keyAt(key: KeyObject, name: Buffer): Buffer {
  return createHmac('sha256', key).update(name).digest()
}

function unknownKey(keyId: string, { collection, id, field }: SealedPlace): StoreError {
  const which = keyId === '' ? 'and this process has no key' : `with key ${keyId}, which this process does not have`
  return new StoreError('STORE_SEALED', `${field} of ${collection}/${id} is sealed ${which}`, {
    remedy:
      'Add that key to documents.sealKeys, documents.sealKeysFile or the file seal-keys of the data folder, behind the first, and start again.',
  })
}

function altered({ collection, id, field }: SealedPlace, cause?: unknown): StoreError {
  return new StoreError('STORE_SEALED', `${field} of ${collection}/${id} was altered, or sealed for another place`, {
    remedy: 'Find out who writes to the store beside the platform, and restore that document from a backup.',
    cause,
  })
}
