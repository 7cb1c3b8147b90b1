import { createHash, createPrivateKey } from 'node:crypto'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import { newPrivateKeyPem } from '../ca/ca-key.ts'
import type { IssuingCa } from '../ca/issuing-ca.ts'
import { privateKeySigner } from '../ca/keys/private-key-signer.ts'
import type { ProvisioningConfig } from '../config.ts'
import { subjectPublicKeyBits } from './issuer-hashes.ts'
import type { OcspSigner } from './ocsp-response.ts'

interface Held extends OcspSigner {
  renewAtMs: number
  notBeforeMs: number
  notAfterMs: number
}

export interface OcspSignersOptions {
  authority: CertificateAuthority
  config: ProvisioningConfig
  clock: Clock
  log: Logger
}

/**
 * The responder's key and certificate for each of our CAs (RFC 6960 §4.2.2.2: delegated, so that the CA's own key is not asked for every
 * answer). The key is made anew at each start and is never stored: there is nothing to steal, and nothing to look after.
 */
export class OcspSigners {
  readonly #options: OcspSignersOptions
  readonly #held = new Map<string, Held>()
  readonly #making = new Map<string, Promise<Held>>()

  constructor(options: OcspSignersOptions) {
    this.#options = options
  }

  forget(): void {
    this.#held.clear()
  }

  /** Rejects when there is none and the CA's key does not answer. */
  async of(issuer: IssuingCa): Promise<OcspSigner> {
    const nowMs = this.#options.clock.nowMs()
    const held = this.#held.get(issuer.keyId)
    if (held !== undefined && nowMs < held.renewAtMs && nowMs >= held.notBeforeMs) return held
    try {
      return await this.#renewed(issuer)
    } catch (error) {
      // The one in use serves on while it can.
      if (held !== undefined && nowMs < held.notAfterMs) return held
      throw error
    }
  }

  /** One renewal, however many ask. */
  #renewed(issuer: IssuingCa): Promise<Held> {
    const { keyId } = issuer
    let making = this.#making.get(keyId)
    if (making === undefined) {
      making = this.#make(issuer)
        .then((held) => {
          this.#held.set(keyId, held)
          return held
        })
        .finally(() => this.#making.delete(keyId))
      this.#making.set(keyId, making)
    }
    return making
  }

  async #make(issuer: IssuingCa): Promise<Held> {
    const { authority, config, log } = this.#options
    const key = privateKeySigner(createPrivateKey(await newPrivateKeyPem()))
    const publicKey = key.publicKey.export({ format: 'der', type: 'spki' })
    const { der, serial, notBeforeMs, notAfterMs } = await authority.signResponder(issuer, publicKey)
    log.info({ issuer: issuer.id, serial }, 'OCSP responder certificate issued')
    const renewAtMs = notBeforeMs + (notAfterMs - notBeforeMs) * config.serverRenewAfterFraction
    return {
      key,
      certificate: der,
      keyHash: createHash('sha1').update(subjectPublicKeyBits(publicKey)).digest(),
      renewAtMs,
      notBeforeMs,
      notAfterMs,
    }
  }
}
