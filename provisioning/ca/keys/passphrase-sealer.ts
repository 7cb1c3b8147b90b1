import type { KeyObject } from 'node:crypto'
import type { KeySealer } from '../../../contracts/key-sealer.ts'
import { StoreError } from '../../../kernel/errors.ts'
import type { ProvisioningConfig } from '../../config.ts'
import { decryptKey, encryptKey, isEncryptedKey } from './encrypted-key.ts'
import { findPassphrase, type Passphrase } from './passphrase.ts'

/** Seals with the passphrase of the CA keys; an edge, which has none of those, makes one of its own in its data folder. */
export class PassphraseSealer implements KeySealer {
  readonly #options: { config: Pick<ProvisioningConfig, 'caPassphrase' | 'caPassphraseFile'>; dataDir: string }
  #passphrase: Promise<Passphrase> | undefined

  constructor(options: { config: Pick<ProvisioningConfig, 'caPassphrase' | 'caPassphraseFile'>; dataDir: string }) {
    this.#options = options
  }

  async seal(key: KeyObject): Promise<string> {
    const { secret, iterations } = await this.#found()
    return encryptKey(key, secret.reveal(), iterations)
  }

  isSealed(pem: string): boolean {
    return isEncryptedKey(pem)
  }

  async open(pem: string, path: string): Promise<KeyObject> {
    const { secret, source } = await this.#found()
    try {
      return decryptKey(pem, secret.reveal())
    } catch (cause) {
      throw new StoreError('STORE_UNUSABLE', `The passphrase from ${source} does not open the key in ${path}, or that file is damaged.`, {
        remedy: 'Give the passphrase that it was encrypted with, or restore the file from a backup; nothing was changed.',
        cause,
      })
    }
  }

  #found(): Promise<Passphrase> {
    return (this.#passphrase ??= findPassphrase(this.#options.config, this.#options.dataDir, { make: true }).catch((error: unknown) => {
      this.#passphrase = undefined
      throw error
    }))
  }
}
