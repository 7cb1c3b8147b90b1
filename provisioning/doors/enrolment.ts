import type { Counter } from 'prom-client'
import type { DeviceIdentity } from '../../contracts/device-identity.ts'
import { mayEnrol } from '../../contracts/device.ts'
import type { DeviceRegistrar } from '../../contracts/registrar.ts'
import { NotFoundError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { Certificates, StoredCertificate } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import { checkCsr, type CsrRefusal, type ProvenCsr } from './csr.ts'
import type { EnrolmentTokens } from './enrolment-tokens.ts'
import { issueCertificate } from './issue-certificate.ts'

export interface EnrolmentOptions {
  authority: CertificateAuthority
  certificates: Certificates
  tokens: EnrolmentTokens
  registrar: DeviceRegistrar
  config: ProvisioningConfig
  log: Logger
  metrics: Metrics
}

export type Door = 'est-token' | 'est-certificate' | 'mqtt-certificate' | 'operator'

/**
 * `credential-refused`: the token or certificate is not good (any more). `device-refused`: the device may not have a certificate now.
 * `other-identity`: the request names someone else than the certificate it renews.
 */
export type EnrolmentRefusal = CsrRefusal | 'credential-refused' | 'device-refused' | 'other-identity'

export type EnrolmentOutcome =
  | { status: 'issued'; certificate: StoredCertificate }
  /** `detail` is fit for the device: it tells nothing about tokens beyond that they are refused. */
  | { status: 'refused'; reason: EnrolmentRefusal; detail: string }

/** A verified client certificate: chain, purpose and time were checked by TLS, revocation is checked here. */
export interface CertificateCredential extends DeviceIdentity {
  serial: string
}

/** What all doors share: who may have a certificate, and in which order that is decided. */
export class Enrolment implements Service {
  readonly name = 'enrolment'
  readonly #options: EnrolmentOptions
  readonly #refusedTotal: Counter<'door' | 'reason'>

  constructor(options: EnrolmentOptions) {
    this.#options = options
    this.#refusedTotal = options.metrics.counter('provisioning_refused_enrolments_total', 'Requests for a certificate that were refused.', [
      'door',
      'reason',
    ])
  }

  /** Holds nothing of its own. */
  start(): Promise<void> {
    return Promise.resolve()
  }
  stop(): Promise<void> {
    return Promise.resolve()
  }

  /** A one-time token. It is used up last, so that a bad request does not cost it. */
  async enrolWithToken(deviceId: string, token: string, csrDer: Uint8Array): Promise<EnrolmentOutcome> {
    const { tokens } = this.#options
    const check = await tokens.check(deviceId, token)
    if (check.status === 'refused')
      return this.#refuse('est-token', 'credential-refused', 'the enrolment token is not accepted', deviceId, check.reason)
    const { tenant, device } = check.token
    const request = checkCsr(csrDer, this.#options.config)
    if (request.status === 'refused') return this.#refuse('est-token', request.reason, request.detail, device)
    const obstacle = await this.#obstacle({ tenant, device })
    if (obstacle !== undefined) return this.#refuse('est-token', 'device-refused', obstacle, device)
    if (!(await tokens.use(check.token))) {
      return this.#refuse('est-token', 'credential-refused', 'the enrolment token is not accepted', device, 'used')
    }
    return this.#issue({ tenant, device }, request.csr, 'est-token')
  }

  /**
   * The certificate that the device has now. With `sameIdentity` (re-enrolment) the request may not name anyone else: its subject and SAN
   * are those of the current certificate, RFC 7030 §4.2.2; what it leaves out is taken from there.
   */
  async enrolWithCertificate(
    credential: CertificateCredential,
    csrDer: Uint8Array,
    options: { sameIdentity: boolean; door?: Door },
  ): Promise<EnrolmentOutcome> {
    const { tenant, device } = credential
    const door = options.door ?? 'est-certificate'
    const invalid = await this.#invalidity(credential)
    if (invalid !== undefined) return this.#refuse(door, 'credential-refused', invalid, device)
    const request = checkCsr(csrDer, this.#options.config)
    if (request.status === 'refused') return this.#refuse(door, request.reason, request.detail, device)
    if (options.sameIdentity && !namesOnly(request.csr, credential)) {
      return this.#refuse(door, 'other-identity', 'the request names another identity than the certificate it renews', device)
    }
    const obstacle = await this.#obstacle(credential)
    if (obstacle !== undefined) return this.#refuse(door, 'device-refused', obstacle, device)
    return this.#issue({ tenant, device }, request.csr, door, options.sameIdentity ? credential.serial : undefined)
  }

  /** An operator's word for a registered device; the request may name nobody else. `by`: `user:NAME`. */
  async enrolByOperator(identity: DeviceIdentity, csrDer: Uint8Array, by: string): Promise<EnrolmentOutcome> {
    const { device } = identity
    const request = checkCsr(csrDer, this.#options.config)
    if (request.status === 'refused') return this.#refuse('operator', request.reason, request.detail, device)
    if (!namesOnly(request.csr, identity)) {
      return this.#refuse('operator', 'other-identity', `the request names another identity than ${device}`, device)
    }
    const obstacle = await this.#obstacle(identity)
    if (obstacle !== undefined) return this.#refuse('operator', 'device-refused', obstacle, device)
    this.#options.log.info({ tenant: identity.tenant, device, by }, 'certificate asked for by an operator')
    return this.#issue(identity, request.csr, 'operator')
  }

  async #issue(identity: DeviceIdentity, csr: ProvenCsr, door: Door, replaces?: string): Promise<EnrolmentOutcome> {
    const { certificates, registrar } = this.#options
    const { tenant, device } = identity
    const certificate = await issueCertificate(this.#options, { tenant, device, publicKey: csr.publicKey }, door, replaces)
    const provisioning = await registrar.markProvisioned(tenant, device, `device:${device}`)
    if (provisioning.status === 'provisioned') return { status: 'issued', certificate }
    // Suspended or decommissioned while it was being signed: nobody has seen the certificate, and nobody will.
    await certificates.revoke(tenant, certificate.serial, 'cessationOfOperation')
    return this.#refuse(door, 'device-refused', `the device may not enrol: ${provisioning.reason}`, device)
  }

  /** Why the device may not have a certificate now; undefined when it may. */
  async #obstacle({ tenant, device }: DeviceIdentity): Promise<string | undefined> {
    const found = await this.#options.registrar.findDevice(tenant, device)
    if (found === undefined) return 'the device is not registered'
    return mayEnrol(found.state) ? undefined : `the device is ${found.state}`
  }

  /** Why the current certificate no longer counts; undefined when it does. */
  async #invalidity({ tenant, device, serial }: CertificateCredential): Promise<string | undefined> {
    try {
      const record = await this.#options.certificates.get(tenant, serial)
      if (record.device !== device) return 'the certificate is not on record for this device'
      return record.state === 'revoked' ? 'the certificate is revoked' : undefined
    } catch (error) {
      if (error instanceof NotFoundError) return 'the certificate is not on record'
      throw error
    }
  }

  #refuse(door: Door, reason: EnrolmentRefusal, detail: string, device: string, because?: string): EnrolmentOutcome {
    this.#refusedTotal.inc({ door, reason })
    this.#options.log.warn(
      { door, device: device.slice(0, 64), reason, detail, ...(because === undefined ? {} : { because }) },
      'enrolment refused',
    )
    return { status: 'refused', reason, detail }
  }
}

function namesOnly(csr: ProvenCsr, identity: DeviceIdentity): boolean {
  const namesSubject = csr.commonNames.every((name) => name === identity.device)
  return namesSubject && csr.alternativeNames.every((name) => name?.tenant === identity.tenant && name.device === identity.device)
}
