import type { DeviceIdentity } from '../../contracts/device-identity.ts'
import { GENERIC_TYPE } from '../../contracts/device.ts'
import type { DeviceRegistrar } from '../../contracts/registrar.ts'
import { NotFoundError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Certificates } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { EnrolmentConfig } from './config.ts'
import type { CsrNames } from './csr.ts'
import type { Applicant, Door, EnrolmentSteps, Issued, Pending, Refusal } from './enrolment-steps.ts'
import type { EnrolmentTokens } from './enrolment-tokens.ts'
import { readKeyRequest, type KeyMaker } from './key-source.ts'

export interface EnrolmentOptions {
  certificates: Certificates
  tokens: EnrolmentTokens
  registrar: DeviceRegistrar
  steps: EnrolmentSteps
  config: ProvisioningConfig
  enrolmentConfig: EnrolmentConfig
}

export type EnrolmentOutcome = Issued | Refusal | Pending

/** A verified client certificate: chain, purpose and time were checked by TLS, revocation is checked here. */
export interface CertificateCredential extends DeviceIdentity {
  serial: string
  /** Key id of the CA that signed it, where it is one of ours. */
  issuer?: string
}

/** How a request came. */
export interface EnrolmentManner {
  /** Default: the device. */
  keyMaker?: KeyMaker
  /** Address it came from. */
  origin?: string
}

/** The doors of EST: who may have a certificate, and in which order that is decided. */
export class Enrolment implements Service {
  readonly name = 'enrolment'
  readonly #options: EnrolmentOptions

  constructor(options: EnrolmentOptions) {
    this.#options = options
  }

  /** Holds nothing of its own. */
  start(): Promise<void> {
    return Promise.resolve()
  }
  stop(): Promise<void> {
    return Promise.resolve()
  }

  /** A one-time token. It is used up last, so that a bad request does not cost it. */
  async enrolWithToken(deviceId: string, token: string, csrDer: Uint8Array, how: EnrolmentManner = {}): Promise<EnrolmentOutcome> {
    const { tokens, steps } = this.#options
    const check = await tokens.check(deviceId, token)
    const asker = { door: 'est-token', device: deviceId, ...originOf(how) } as const
    const refused = 'the enrolment token is not accepted'
    if (check.status === 'refused') return steps.refuse(asker, 'credential-refused', refused, check.reason)
    const { tenant, device } = check.token
    const applicant: Applicant = { ...asker, tenant, device, credential: 'token' }
    const key = await this.#readKey(applicant, csrDer, how)
    if (key.status === 'refused') return key
    const obstacle = await steps.obstacle(applicant)
    if (obstacle !== undefined) return steps.refuse(applicant, 'device-refused', obstacle)
    const welcome = await steps.welcome(applicant, key.publicKey)
    if (welcome.status !== 'welcome') return welcome
    if (!(await tokens.use(check.token))) return steps.refuse(applicant, 'credential-refused', refused, 'used')
    return steps.issue(applicant, key.publicKey)
  }

  /**
   * The certificate that the device has now. With `sameIdentity` (re-enrolment) the request may not name anyone else: its subject and SAN
   * are those of the current certificate, RFC 7030 §4.2.2; what it leaves out is taken from there. What follows from a certificate that was
   * let in by a claim or a factory CA shares its fate. The hook is not asked: it decided when the device came in.
   */
  async enrolWithCertificate(
    credential: CertificateCredential,
    csrDer: Uint8Array,
    options: EnrolmentManner & { sameIdentity: boolean; door?: Door },
  ): Promise<EnrolmentOutcome> {
    const { steps } = this.#options
    const { tenant, device, serial } = credential
    const asker: Applicant = {
      door: options.door ?? 'est-certificate',
      tenant,
      device,
      credential: `certificate:${serial}`,
      ...originOf(options),
    }
    const standing = await this.#standing(credential)
    if (standing.status === 'refused') return steps.refuse(asker, 'credential-refused', standing.detail)
    const applicant: Applicant = {
      ...asker,
      ...(standing.via === undefined ? {} : { via: standing.via }),
      ...(options.sameIdentity ? { replaces: serial } : {}),
    }
    const key = await this.#readKey(applicant, csrDer, options)
    if (key.status === 'refused') return key
    if (options.sameIdentity && !namesOnly(key.names, credential)) {
      return steps.refuse(applicant, 'other-identity', 'the request names another identity than the certificate it renews')
    }
    const obstacle = await steps.obstacle(credential)
    if (obstacle !== undefined) return steps.refuse(applicant, 'device-refused', obstacle)
    const issued = await steps.issue(applicant, key.publicKey)
    if (issued.status !== 'issued') return issued
    // Revoked while this was going on: a certificate must not outlive in its successor.
    const since = await this.#standing(credential)
    if (since.status === 'good') return issued
    await this.#options.certificates.revoke(tenant, issued.certificate.serial, 'cessationOfOperation')
    return steps.refuse(applicant, 'credential-refused', since.detail)
  }

  /** An operator's word for a registered device; the request may name nobody else. `by`: `user:NAME`. */
  async enrolByOperator(identity: DeviceIdentity, csrDer: Uint8Array, by: string, how: EnrolmentManner = {}): Promise<EnrolmentOutcome> {
    const { steps } = this.#options
    const { tenant, device } = identity
    const applicant: Applicant = { door: 'operator', tenant, device, credential: by, by, ...originOf(how) }
    const key = await this.#readKey(applicant, csrDer, how)
    if (key.status === 'refused') return key
    if (!namesOnly(key.names, identity))
      return steps.refuse(applicant, 'other-identity', `the request names another identity than ${device}`)
    const obstacle = await steps.obstacle(applicant)
    if (obstacle !== undefined) return steps.refuse(applicant, 'device-refused', obstacle)
    const welcome = await steps.welcome(applicant, key.publicKey)
    return welcome.status === 'welcome' ? steps.issue(applicant, key.publicKey) : welcome
  }

  async #readKey(
    applicant: Applicant,
    csrDer: Uint8Array,
    how: EnrolmentManner,
  ): Promise<{ status: 'fine'; names: CsrNames; publicKey: Buffer | null } | Refusal> {
    const { registrar, steps } = this.#options
    const type = (await registrar.findDevice(applicant.tenant, applicant.device))?.type ?? GENERIC_TYPE
    const read = readKeyRequest(csrDer, how.keyMaker ?? 'device', type, this.#options)
    return read.status === 'refused' ? steps.refuse(applicant, read.reason, read.detail) : read
  }

  /** Whether the current certificate still counts, and what had let it in. */
  async #standing({
    tenant,
    device,
    serial,
    issuer,
  }: CertificateCredential): Promise<{ status: 'good'; via?: string } | { status: 'refused'; detail: string }> {
    try {
      const record = await this.#options.certificates.get(tenant, serial)
      if (record.device !== device || (issuer !== undefined && record.issuer !== issuer))
        return { status: 'refused', detail: 'the certificate is not on record for this device' }
      if (record.state === 'revoked') return { status: 'refused', detail: 'the certificate is revoked' }
      return { status: 'good', ...(record.via === undefined ? {} : { via: record.via }) }
    } catch (error) {
      if (error instanceof NotFoundError) return { status: 'refused', detail: 'the certificate is not on record' }
      throw error
    }
  }
}

function originOf({ origin }: EnrolmentManner): { origin?: string } {
  return origin === undefined ? {} : { origin }
}

function namesOnly(names: CsrNames, identity: DeviceIdentity): boolean {
  const namesSubject = names.commonNames.every((name) => name === identity.device)
  return namesSubject && names.alternativeNames.every((name) => name?.tenant === identity.tenant && name.device === identity.device)
}
