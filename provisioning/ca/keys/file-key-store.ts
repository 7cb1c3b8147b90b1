import { createPrivateKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describeError, InternalError, StoreError } from '../../../kernel/errors.ts'
import { writeFileAtomically } from '../../../kernel/files.ts'
import type { Logger } from '../../../kernel/log.ts'
import { corrupt } from '../pki-errors.ts'
import { decryptKey, encryptKey, isEncryptedKey } from './encrypted-key.ts'
import type { KeyAlgorithm, KeyStore, Signer } from './key-store.ts'
import type { Passphrase } from './passphrase.ts'
import { privateKeySigner } from './private-key-signer.ts'

const generate = promisify(generateKeyPair)

/** Keys in `NAME.key` files of the PKI folder, mode 0600, encrypted with a passphrase. */
export class FileKeyStore implements KeyStore {
  readonly kind = 'file'
  readonly #folder: string
  readonly #passphrase: Passphrase
  readonly #log: Logger
  /** Opening takes as long as the passphrase is stretched. */
  readonly #opened = new Map<string, KeyObject>()

  constructor(options: { folder: string; passphrase: Passphrase; log: Logger }) {
    this.#folder = options.folder
    this.#passphrase = options.passphrase
    this.#log = options.log
  }

  async make(name: string, algorithm: KeyAlgorithm): Promise<Signer> {
    if (await this.has(name)) throw new InternalError(`the CA key ${name} exists already`)
    const key = await newKey(algorithm)
    await this.#write(name, key)
    this.#opened.set(name, key)
    return privateKeySigner(key)
  }

  async open(name: string): Promise<Signer> {
    const key = this.#opened.get(name) ?? (await this.#read(name))
    this.#opened.set(name, key)
    try {
      return privateKeySigner(key)
    } catch (error) {
      throw corrupt(this.#folder, fileOf(name), 'is not a readable ECDSA or RSA private key', error)
    }
  }

  async has(name: string): Promise<boolean> {
    try {
      await stat(this.#pathOf(name))
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
      throw error
    }
  }

  /** Writes an open key anew under another passphrase. */
  async reencrypt(name: string, passphrase: Passphrase): Promise<void> {
    const key = this.#opened.get(name) ?? (await this.#read(name))
    await writeFileAtomically(this.#pathOf(name), await encryptKey(key, passphrase.secret.reveal(), passphrase.iterations))
  }

  async #read(name: string): Promise<KeyObject> {
    const path = this.#pathOf(name)
    let pem: string
    try {
      pem = await readFile(path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw corrupt(this.#folder, fileOf(name), 'is missing', error)
      throw error
    }
    const { mode } = await stat(path)
    if ((mode & 0o077) !== 0) this.#log.warn({ file: path }, 'private key file can be read by other users; set its mode to 0600')
    if (isEncryptedKey(pem)) return this.#decrypt(path, pem)
    let key: KeyObject
    try {
      key = createPrivateKey(pem)
    } catch (error) {
      throw corrupt(this.#folder, fileOf(name), 'is not a readable ECDSA or RSA private key', error)
    }
    await this.#encryptInPlace(name, key)
    return key
  }

  #decrypt(path: string, pem: string): KeyObject {
    try {
      return decryptKey(pem, this.#passphrase.secret.reveal())
    } catch (error) {
      throw new StoreError(
        'STORE_UNUSABLE',
        `The passphrase from ${this.#passphrase.source} does not open the CA key ${path}, or that file is damaged.`,
        {
          remedy: 'Give the passphrase that it was encrypted with, or restore the file from a backup; nothing was changed.',
          cause: error,
        },
      )
    }
  }

  /** Folders of before keys were encrypted, and keys that someone put there. A folder that cannot be written is used as it is. */
  async #encryptInPlace(name: string, key: KeyObject): Promise<void> {
    try {
      await this.#write(name, key)
      this.#log.info({ file: this.#pathOf(name) }, 'CA key encrypted at rest')
    } catch (error) {
      this.#log.warn({ file: this.#pathOf(name), error: describeError(error) }, 'CA key lies unencrypted and could not be encrypted')
    }
  }

  async #write(name: string, key: KeyObject): Promise<void> {
    const { secret, iterations } = this.#passphrase
    await writeFileAtomically(this.#pathOf(name), await encryptKey(key, secret.reveal(), iterations))
  }

  #pathOf(name: string): string {
    return join(this.#folder, fileOf(name))
  }
}

function fileOf(name: string): string {
  return `${name}.key`
}

async function newKey(algorithm: KeyAlgorithm): Promise<KeyObject> {
  switch (algorithm) {
    case 'ecdsa-p256':
      return (await generate('ec', { namedCurve: 'P-256' })).privateKey
    case 'ecdsa-p384':
      return (await generate('ec', { namedCurve: 'P-384' })).privateKey
    case 'rsa-2048':
    case 'rsa-3072':
    case 'rsa-4096':
      return (await generate('rsa', { modulusLength: Number(algorithm.slice(4)) })).privateKey
  }
}
