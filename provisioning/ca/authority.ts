import type { X509Certificate } from 'node:crypto'
import { claimName } from '../../contracts/credential.ts'
import { describeError, InternalError, StoreError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import { daysMs, type ProvisioningConfig } from '../config.ts'
import { pkiOrigin } from '../pki-origin.ts'
import { encodeCrl, type CrlContent } from './crl.ts'
import {
  claimExtensions,
  crlPath,
  deviceExtensions,
  keyIdentifier,
  responderExtensions,
  serverExtensions,
  type LeafExtensions,
} from './extensions.ts'
import { chainPem, currentOf, isLive, serverIssuerOf, type IssuingCa, type RootCa } from './issuing-ca.ts'
import type { KeyStores } from './keys/key-stores.ts'
import { loadPki, type Pki } from './load-pki.ts'
import { PKI_FILES, type CaProfile } from './make-pki.ts'
import { openPki, trustedOf, trustPem, writeTrust } from './pki-folder.ts'
import { checkDeviceNames, checkProfile, deviceProfile, serverProfile } from './profile.ts'
import { readRegister, type Register } from './register.ts'
import { isRootCrlDue, renewRootCrls } from './root-crl-renewal.ts'
import type { ServerSigner } from './server-signer.ts'
import type { AuthorityWorkshop } from './authority-workshop.ts'
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
  /** DER SubjectPublicKeyInfo, possession proved by the caller (csr.ts). */
  publicKey: Uint8Array
  /** Absent: as long as the profile allows, in ms. */
  lifetimeMs?: number
  /** Alternative names (URIs) that the request asks for; any but the device's own is refused. */
  alternativeNames?: readonly string[]
}

type Issuers = readonly [IssuingCa, ...IssuingCa[]]

/**
 * Signs: device and server certificates and CRLs, with the issuing CA of the moment. Who may have a certificate is decided before; what it
 * may be, by its profile here.
 */
export class CertificateAuthority implements Service, ServerSigner {
  readonly name = 'certificate-authority'
  readonly #options: CertificateAuthorityOptions
  readonly #listeners = new Set<() => void>()
  #opened: { pki: Pki; keys: KeyStores } | undefined
  #renewal: Timer | undefined
  /** Tells of the moment at which a new CA begins to sign. */
  #crossOver: Timer | undefined
  #changing: Promise<unknown> = Promise.resolve()

  constructor(options: CertificateAuthorityOptions) {
    this.#options = options
  }

  /** Opens the PKI folder or makes it on first start. Throws StoreError with a plain sentence; never overwrites. */
  async start(): Promise<void> {
    if (this.#opened !== undefined) return
    const { clock, config, log } = this.#options
    this.#opened = await openPki({ ...this.#options, profile: this.#profile() }, clock.nowMs())
    await this.#renewRootCrls()
    this.#awaitCrossOver()
    this.#renewal = every(
      clock,
      config.serverCheckIntervalMs,
      () => this.#renewRootCrls(),
      (error) => log.error({ error: describeError(error) }, "a root's CRL could not be renewed; trying again at the next check"),
    )
  }

  /** Forgets the keys. */
  async stop(): Promise<void> {
    this.#renewal?.cancel()
    this.#crossOver?.cancel()
    await Promise.allSettled([this.#changing])
    const opened = this.#opened
    this.#opened = undefined
    await opened?.keys.close()
  }

  /** Which CAs there are, where their keys lie, and what waits for a certificate. */
  get register(): Register {
    return this.#pki.register
  }
  /** Trust anchors, oldest first. */
  get roots(): readonly RootCa[] {
    return this.#pki.roots
  }
  /** Every CA that has signed leaves, oldest first, retired ones too: each signs a CRL and OCSP answers of its own. */
  get issuers(): Issuers {
    const [first, ...rest] = this.#pki.issuers
    if (first === undefined) throw new InternalError('there is no issuing CA')
    return [first, ...rest]
  }
  /** Who signs device certificates now. Throws StoreError when the last CA has expired. */
  get current(): IssuingCa {
    return this.#live(currentOf(this.#pki.issuers, this.#options.clock.nowMs()))
  }
  /** The root of the current CA. */
  get root(): X509Certificate {
    return this.current.root.certificate
  }
  /** The current CA. */
  get issuing(): X509Certificate {
    return this.current.certificate
  }
  /** PEM of the current CA and of those between it and its root: what goes behind a leaf that it signs. */
  get issuingPem(): string {
    return chainPem(this.current)
  }
  /** PEM of the CA that signed a certificate and of those between it and its root; `keyId`: the certificate's issuer. */
  chainPemOf(keyId: string): string {
    const ca = this.issuers.find((candidate) => candidate.keyId === keyId)
    if (ca === undefined) throw new InternalError(`no CA of ours has the key id ${keyId}`)
    return chainPem(ca)
  }
  /** Roots and live issuing CAs, roots first. */
  get trusted(): X509Certificate[] {
    return trustedOf(this.#pki, this.#options.clock.nowMs())
  }
  /** PEM of roots and live issuing CAs: what to trust. Both, so that a peer may send its leaf alone. */
  get caPem(): string {
    return trustPem(this.#pki, this.#options.clock.nowMs())
  }

  get serverIssuerKeyId(): string {
    return this.#serverIssuer.keyId
  }
  get knownIssuers(): Map<string, { certificate: X509Certificate; chainPem: string }> {
    return new Map(this.issuers.map((ca) => [ca.keyId, { certificate: ca.certificate, chainPem: chainPem(ca) }]))
  }
  /** With a root that others use too, or a CA that was retired, a chain to a root says too little. */
  get clientIssuersPem(): string | undefined {
    const nowMs = this.#options.clock.nowMs()
    const live = this.issuers.filter((ca) => isLive(ca, nowMs))
    const isEnough = this.roots.every(({ isOurs }) => isOurs) && this.issuers.every((ca) => ca.retired === null || ca.notAfterMs <= nowMs)
    return isEnough ? undefined : live.map(({ certificate }) => certificate.toString()).join('')
  }
  get serverFile(): { folder: string; name: string } {
    return { folder: this.#pki.folder, name: PKI_FILES.server }
  }

  onAuthorityChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** For a production batch: TLS client, names that are no device's, and no longer in force than the claim. */
  signClaim(request: { tenant: string; claim: string; publicKey: Uint8Array; lifetimeMs: number }): Promise<SignedCertificate> {
    const { tenant, claim, publicKey, lifetimeMs } = request
    const issuer = this.current
    const subject = [{ O: [tenant] }, { CN: [claimName(claim)] }]
    // A claim may be good for minutes: what lies before now is no part of that.
    const wholeMs = lifetimeMs + this.#options.config.backdateMs
    return this.#sign(subject, publicKey, wholeMs, claimExtensions(this.#leaf(publicKey, issuer), tenant, claim), issuer)
  }

  /** For one device: O = tenant, CN = device, SAN URI; nothing of it comes from the request but the key. Throws ProfileError. */
  async signDevice(request: DeviceCertificateRequest): Promise<SignedCertificate> {
    const profile = deviceProfile(this.#options.config)
    const { alternativeNames, publicKey, tenant, device } = request
    const own = checkDeviceNames(profile, request, alternativeNames)
    const lifetimeMs = checkProfile(profile, { ...request, alternativeNames: [own] })
    const issuer = this.current
    const subject = [{ O: [tenant] }, { CN: [device] }]
    return this.#sign(subject, publicKey, lifetimeMs, deviceExtensions(this.#leaf(publicKey, issuer), tenant, device), issuer)
  }

  /** For our own listeners. `names` are host names and addresses, the first one becomes the CN. Throws ProfileError. */
  async signServer(names: readonly [string, ...string[]], publicKey: Uint8Array): Promise<SignedCertificate> {
    const lifetimeMs = checkProfile(serverProfile(this.#options.config), { publicKey, alternativeNames: names })
    const issuer = this.#serverIssuer
    const subject = [{ O: ['Fleetpulse'] }, { CN: [names[0].slice(0, COMMON_NAME_CHARACTERS_MAX)] }]
    return this.#sign(subject, publicKey, lifetimeMs, serverExtensions(this.#leaf(publicKey, issuer), names), issuer)
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

  /**
   * Changes which CAs there are: `work` writes files and last the register; then everything is read again and whoever follows is told.
   * One change at a time. What `work` throws leaves everything as it was.
   */
  change<T>(work: (workshop: AuthorityWorkshop) => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      const { keys, pki } = this.#running
      const nowMs = this.#options.clock.nowMs()
      const result = await work({ pki, keys, profile: this.#profile(), nowMs })
      await this.#reload()
      return result
    }
    const changed = this.#changing.then(run, run)
    this.#changing = changed.catch(() => undefined)
    return changed
  }

  async #reload(): Promise<void> {
    const { pki, keys } = this.#running
    const nowMs = this.#options.clock.nowMs()
    const register = await readRegister(pki.folder)
    if (register === undefined) throw new InternalError('the register of CAs is gone')
    const changed = await loadPki(pki.folder, register, keys, nowMs)
    this.#opened = { pki: changed, keys }
    await writeTrust(changed, nowMs)
    this.#awaitCrossOver()
    this.#tell()
  }

  #tell(): void {
    for (const listener of this.#listeners) {
      try {
        listener()
      } catch (error) {
        this.#options.log.error({ error: describeError(error) }, 'a change of CAs was not taken over')
      }
    }
  }

  #awaitCrossOver(): void {
    const { clock } = this.#options
    this.#crossOver?.cancel()
    const waitsMs = this.#pki.issuers.map((ca) => ca.issuesFromMs - clock.nowMs()).filter((ms) => ms > 0)
    if (waitsMs.length === 0) return
    // Longer waits than a timer can hold are looked at again when it has run out.
    this.#crossOver = clock.after(Math.min(...waitsMs, TIMER_MS_MAX), () => {
      this.#awaitCrossOver()
      this.#tell()
    })
  }

  async #renewRootCrls(): Promise<void> {
    const { clock, config, log } = this.#options
    const isDue = (root: RootCa): boolean => isRootCrlDue(root, clock.nowMs(), config.crlRefreshAfterFraction)
    if (!this.roots.some(isDue)) return
    await this.change((workshop) => renewRootCrls(workshop, isDue))
    log.info("a root's CRL was signed anew")
  }

  #profile(): CaProfile {
    const { config } = this.#options
    return {
      backdateMs: config.backdateMs,
      rootLifetimeMs: daysMs(config.rootLifetimeDays),
      issuingLifetimeMs: daysMs(config.issuingLifetimeDays),
      rootCrlLifetimeMs: daysMs(config.rootCrlLifetimeDays),
      // On a first start nothing listens yet: with port 0 the address is not known.
      rootCrlUrl: config.pkiUrl === '' && config.pkiHttpPort === 0 ? undefined : (rootId) => `${pkiOrigin(config)}${crlPath(rootId)}`,
    }
  }

  #sign(
    subject: SubjectName,
    publicKey: Uint8Array,
    lifetimeMs: number,
    extensions: ReturnType<typeof deviceExtensions>,
    issuer: IssuingCa,
  ): Promise<SignedCertificate> {
    const { clock, config } = this.#options
    const issuerNotAfterMs = Date.parse(issuer.certificate.validTo)
    return signCertificate({
      subject,
      issuer,
      publicKey,
      validity: validity({ nowMs: clock.nowMs(), lifetimeMs, backdateMs: config.backdateMs, issuerNotAfterMs }),
      extensions,
    })
  }

  #leaf(publicKey: Uint8Array, issuer: IssuingCa): LeafExtensions {
    return { subjectKeyId: keyIdentifier(publicKey), issuerKeyId: issuer.keyId, issuerId: issuer.id, pkiUrl: this.#options.pkiUrl() }
  }

  get #serverIssuer(): IssuingCa {
    return this.#live(serverIssuerOf(this.#pki.issuers, this.#options.clock.nowMs()))
  }

  #live(ca: IssuingCa | undefined): IssuingCa {
    if (ca !== undefined) return ca
    throw new StoreError('STORE_UNUSABLE', 'Every issuing CA has expired or was retired.', {
      remedy: 'Make a new one with `fleetpulse ca roll`, or import one with `fleetpulse ca request` and `fleetpulse ca import`.',
    })
  }

  get #running(): { pki: Pki; keys: KeyStores } {
    if (this.#opened === undefined) throw new InternalError('the certificate authority is used before its start or after its stop')
    return this.#opened
  }

  get #pki(): Pki {
    return this.#running.pki
  }
}

/** ub-common-name, RFC 5280 appendix A.1. */
const COMMON_NAME_CHARACTERS_MAX = 64
/** Node's timers hold no more. */
const TIMER_MS_MAX = 2 ** 31 - 1
