import { StoreError } from '../../../kernel/errors.ts'
import type { Logger } from '../../../kernel/log.ts'
import { Secret } from '../../../kernel/secret.ts'
import type { ProvisioningConfig } from '../../config.ts'
import { FileKeyStore } from './file-key-store.ts'
import type { KeyAlgorithm, KeyStore, Signer } from './key-store.ts'
import type { Passphrase } from './passphrase.ts'
import { Pkcs11KeyStore } from './pkcs11-key-store.ts'

/** Where a key lies: it may be elsewhere than where new ones are made. */
export interface KeyRef {
  store: KeyStore['kind']
  name: string
}

/** The stores as configured; each key is opened where it was made. */
export class KeyStores {
  readonly files: FileKeyStore
  readonly #pkcs11: Pkcs11KeyStore | undefined
  readonly #kind: KeyStore['kind']
  readonly #algorithm: KeyAlgorithm

  /** `folder`: where key files lie. */
  constructor(options: { folder: string; passphrase: Passphrase; config: ProvisioningConfig; log: Logger }) {
    const { caKeyAlgorithm, caKeyStore, pkcs11Module, pkcs11Pin, pkcs11TokenLabel } = options.config
    this.files = new FileKeyStore(options)
    this.#pkcs11 =
      pkcs11Module === ''
        ? undefined
        : new Pkcs11KeyStore({ module: pkcs11Module, tokenLabel: pkcs11TokenLabel, pin: new Secret(pkcs11Pin), log: options.log })
    this.#kind = caKeyStore
    this.#algorithm = caKeyAlgorithm
  }

  /** A new key where new ones are made. `mark` keeps apart installations that share a token. */
  async make(id: string, mark: string): Promise<{ ref: KeyRef; signer: Signer }> {
    const ref: KeyRef = { store: this.#kind, name: this.#kind === 'file' ? id : `fleetpulse-${mark.toLowerCase()}-${id}` }
    return { ref, signer: await this.#store(ref.store).make(ref.name, this.#algorithm) }
  }

  open(ref: KeyRef): Promise<Signer> {
    return this.#store(ref.store).open(ref.name)
  }
  has(ref: KeyRef): Promise<boolean> {
    return this.#store(ref.store).has(ref.name)
  }
  async close(): Promise<void> {
    await this.#pkcs11?.close()
  }

  #store(kind: KeyStore['kind']): KeyStore {
    if (kind === 'file') return this.files
    if (this.#pkcs11 !== undefined) return this.#pkcs11
    throw new StoreError('STORE_UNUSABLE', 'A CA key lies in a PKCS#11 token, and provisioning.pkcs11Module is not set.', {
      remedy: 'Set pkcs11Module, pkcs11TokenLabel and pkcs11Pin as they were when the key was made.',
    })
  }
}
