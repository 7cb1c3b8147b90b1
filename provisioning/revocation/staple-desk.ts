import { X509Certificate } from 'node:crypto'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { CertificateStatus, StatusSource } from './certificate-status.ts'
import { certIdOf } from './issuer-hashes.ts'
import type { OcspResponder } from './ocsp-responder.ts'
import { openServerCertificates, type ServerCertificateDocument } from './staple-documents.ts'

export interface StapleDeskOptions {
  documents: Documents
  authority: CertificateAuthority
  ocspResponder: OcspResponder
  config: ProvisioningConfig
  clock: Clock
  log: Logger
}

/** Answered at once; the next look takes the rest. */
const ASKED_MAX = 50

/**
 * Makes OCSP staples for our listeners, in whichever process they are, when they ask; runs where the CA's key is. It is also where
 * OCSP learns which server certificates there are.
 */
export class StapleDesk implements Service, StatusSource {
  readonly name = 'staple-desk'
  readonly #options: StapleDeskOptions
  #certificates: Collection<ServerCertificateDocument> | undefined
  #timer: Timer | undefined
  #looking: Promise<void> = Promise.resolve()

  constructor(options: StapleDeskOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { documents, config, clock, log } = this.#options
    const certificates = await openServerCertificates(documents)
    await certificates.deleteMany({ notAfter: { $lt: clock.nowMs() } })
    this.#certificates = certificates
    const onError = (error: unknown): void => log.error({ error: describeError(error) }, 'listeners wait for OCSP staples')
    this.#timer = every(clock, config.signingPollMs, () => (this.#looking = this.#look(certificates)), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await Promise.allSettled([this.#looking])
    this.#certificates = undefined
  }

  /** Nothing revokes a server certificate by itself: what was issued to a listener is good until it ends. */
  async statusOf(issuer: string, serial: string): Promise<CertificateStatus> {
    const known = await this.#certificates?.get(serial)
    return known?.issuer === issuer ? { status: 'good' } : { status: 'unknown' }
  }

  async #look(certificates: Collection<ServerCertificateDocument>): Promise<void> {
    for (const asked of await certificates.find({ isWanted: true }, { limit: ASKED_MAX })) await this.#staple(certificates, asked)
  }

  async #staple(certificates: Collection<ServerCertificateDocument>, asked: ServerCertificateDocument & Stored): Promise<void> {
    const { authority, ocspResponder, clock, log } = this.#options
    const { _id: id, version, serial, issuer: keyId, pem, notAfter } = asked
    const issuer = authority.issuers.find((one) => one.keyId === keyId)
    // Only what this CA did sign: a document is no proof.
    if (notAfter < clock.nowMs() || issuer === undefined || !new X509Certificate(pem).verify(issuer.certificate.publicKey)) {
      log.warn({ serial, issuer: keyId }, 'a server certificate that is over, or none of ours, gets no staple')
      await certificates.delete(id)
      return
    }
    const { der, nextUpdateMs } = await ocspResponder.staple(issuer, certIdOf(issuer, serial))
    const staple = { derBase64: der.toString('base64'), nextUpdateMs }
    await certificates.replace(id, version, { serial, issuer: keyId, pem, notAfter, isWanted: false, staple })
  }
}
