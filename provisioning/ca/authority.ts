import type { X509Certificate } from 'node:crypto'
import { InternalError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import { daysMs, type ProvisioningConfig } from '../config.ts'
import { encodeCrl, type CrlContent } from './crl.ts'
import { deviceExtensions, keyIdentifier, responderExtensions, serverExtensions, type LeafExtensions } from './extensions.ts'
import { issuingCa, type IssuingCa } from './issuing-ca.ts'
import { PKI_FILES } from './make-pki.ts'
import { openPki, type Pki } from './pki-folder.ts'
import type { ServerSigner } from './server-signer.ts'
import { signCertificate, type SignedCertificate, type SubjectName } from './sign-certificate.ts'
import { validity } from './validity.ts'

export interface CertificateAuthorityOptions {
  /** The data folder; the CA lives in `pki` below it. */
  dataDir: string
  config: ProvisioningConfig
  clock: Clock
  log: Logger
  /** Origin written into certificates; asked at each issue, because a port 0 is known only once it listens. */
  pkiUrl: () => string
}

export interface DeviceCertificateRequest {
  tenant: string
  device: string
  /** DER SubjectPublicKeyInfo, possession proved and strength checked by the caller (csr.ts). */
  publicKey: Uint8Array
  /** Shorter than the configured lifetime, in ms; longer is cut to it. */
  lifetimeMs?: number
}

/** The CAs, and what every signature needs of them, worked out once. */
interface Opened extends Pki {
  caPem: string
  /** Every CA that has signed leaves, oldest first; the last one signs new ones. */
  issuers: readonly [IssuingCa, ...IssuingCa[]]
}

/** Signs: device and server certificates and CRLs, with the issuing CA. Who may have a certificate is decided before. */
export class CertificateAuthority implements Service, ServerSigner {
  readonly name = 'certificate-authority'
  readonly #options: CertificateAuthorityOptions
  #opened: Opened | undefined

  constructor(options: CertificateAuthorityOptions) {
    this.#options = options
  }

  /** Opens the PKI folder or makes it on first start. Throws StoreError with a plain sentence; never overwrites. */
  async start(): Promise<void> {
    if (this.#opened !== undefined) return
    const { config, clock, dataDir, log } = this.#options
    const pki = await openPki(
      dataDir,
      {
        nowMs: clock.nowMs(),
        backdateMs: config.backdateMs,
        rootLifetimeMs: daysMs(config.rootLifetimeDays),
        issuingLifetimeMs: daysMs(config.issuingLifetimeDays),
      },
      log,
    )
    const issuers: Opened['issuers'] = [issuingCa('issuing', pki.issuing, pki.issuingKey)]
    this.#opened = { ...pki, caPem: pki.root.toString() + pki.issuing.toString(), issuers }
  }

  /** Forgets the keys. */
  stop(): Promise<void> {
    this.#opened = undefined
    return Promise.resolve()
  }

  get root(): X509Certificate {
    return this.#pki.root
  }
  get issuing(): X509Certificate {
    return this.#pki.issuing
  }
  /** Every CA that has signed leaves, oldest first: each signs a CRL and OCSP answers of its own. */
  get issuers(): readonly [IssuingCa, ...IssuingCa[]] {
    return this.#pki.issuers
  }
  /** PEM of the issuing CA, sent by listeners behind the leaf. */
  get issuingPem(): string {
    return this.issuing.toString()
  }
  /** PEM of root and issuing CA: what to trust. Both, so that a peer may send its leaf alone. */
  get caPem(): string {
    return this.#pki.caPem
  }
  /** Where the server certificate is kept. */
  get serverFile(): { folder: string; name: string } {
    return { folder: this.#pki.folder, name: PKI_FILES.server }
  }

  /** For one device: O = tenant, CN = device, SAN URI; nothing of it comes from the request but the key. */
  signDevice(request: DeviceCertificateRequest): Promise<SignedCertificate> {
    const lifetimeMs = Math.min(daysMs(this.#options.config.deviceLifetimeDays), request.lifetimeMs ?? Infinity)
    const subject = [{ O: [request.tenant] }, { CN: [request.device] }]
    const extensions = deviceExtensions(this.#leaf(request.publicKey), request.tenant, request.device)
    return this.#sign(subject, request.publicKey, lifetimeMs, extensions)
  }

  /** For our own listeners. `names` are host names and addresses, the first one becomes the CN. */
  signServer(names: readonly [string, ...string[]], publicKey: Uint8Array): Promise<SignedCertificate> {
    const subject = [{ O: ['Fleetpulse'] }, { CN: [names[0].slice(0, COMMON_NAME_CHARACTERS_MAX)] }]
    return this.#sign(subject, publicKey, daysMs(this.#options.config.serverLifetimeDays), serverExtensions(this.#leaf(publicKey), names))
  }

  /** For the OCSP responder that answers for one of our CAs; that CA signs it itself. RFC 6960 §4.2.2.2 */
  signResponder(issuer: IssuingCa, publicKey: Uint8Array): Promise<SignedCertificate> {
    const subject = [{ O: ['Fleetpulse'] }, { CN: ['Fleetpulse OCSP responder'] }]
    const lifetimeMs = daysMs(this.#options.config.ocspResponderLifetimeDays)
    return this.#sign(subject, publicKey, lifetimeMs, responderExtensions(keyIdentifier(publicKey), issuer.keyId), issuer)
  }

  /** A CRL of one of our CAs, DER. It may list only what that CA signed. */
  signCrl(content: CrlContent, issuer: IssuingCa): Promise<Buffer> {
    return encodeCrl(content, issuer)
  }

  /** Who signs leaves now. */
  get #current(): IssuingCa {
    const { issuers } = this.#pki
    return issuers.at(-1) ?? issuers[0]
  }

  #sign(
    subject: SubjectName,
    publicKey: Uint8Array,
    lifetimeMs: number,
    extensions: ReturnType<typeof deviceExtensions>,
    issuer: IssuingCa = this.#current,
  ): Promise<SignedCertificate> {
    const { clock, config } = this.#options
    return signCertificate({
      subject,
      issuer,
      publicKey,
      validity: validity({
        nowMs: clock.nowMs(),
        lifetimeMs,
        backdateMs: config.backdateMs,
        issuerNotAfterMs: Date.parse(issuer.certificate.validTo),
      }),
      extensions,
    })
  }

  #leaf(publicKey: Uint8Array): LeafExtensions {
    const { id, keyId } = this.#current
    return { subjectKeyId: keyIdentifier(publicKey), issuerKeyId: keyId, issuerId: id, pkiUrl: this.#options.pkiUrl() }
  }

  get #pki(): Opened {
    if (this.#opened === undefined) throw new InternalError('the certificate authority is used before its start or after its stop')
    return this.#opened
  }
}

/** ub-common-name, RFC 5280 appendix A.1. */
const COMMON_NAME_CHARACTERS_MAX = 64
