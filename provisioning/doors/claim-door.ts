import { createHash } from 'node:crypto'
import type { ClaimRequest, DoorAnswer, GrantedCertificate } from '../../contracts/credential.ts'
import { GENERIC_TYPE, isDeviceId } from '../../contracts/device.ts'
import type { DeviceRegistrar } from '../../contracts/registrar.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { Certificates, StoredCertificate } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import { fitsPattern, type Claims, type StoredClaim } from './claims.ts'
import type { EnrolmentConfig } from './config.ts'
import type { Applicant, EnrolmentSteps } from './enrolment-steps.ts'
import { readKeyRequest } from './key-source.ts'

export interface ClaimDoorOptions {
  claims: Claims
  steps: EnrolmentSteps
  registrar: DeviceRegistrar
  certificates: Certificates
  authority: CertificateAuthority
  config: ProvisioningConfig
  enrolmentConfig: EnrolmentConfig
}

type Answer = DoorAnswer<GrantedCertificate>

/**
 * A certificate for a device of a production batch. Only for a device that has none yet: whoever stole the claim must not be able to become a
 * device that is at work. The same request again gets the same certificate, so that an answer that was lost costs nothing.
 */
export class ClaimDoor {
  readonly #options: ClaimDoorOptions

  constructor(options: ClaimDoorOptions) {
    this.#options = options
  }

  async ask(request: ClaimRequest): Promise<Answer> {
    const { claims, steps } = this.#options
    const { credential, device, origin } = request
    const { tenant } = credential
    const asker = { door: 'claim', tenant, device, origin } as const
    const usable = await claims.usable(credential)
    if (usable.status === 'lapsed') return steps.refuse(asker, 'credential-refused', usable.detail)
    const { claim } = usable
    if (!isDeviceId(device))
      return steps.refuse(asker, 'other-identity', 'device: must be 1 to 64 letters, digits, dots, underscores and hyphens')
    if (!fitsPattern(claim.devices, device))
      return steps.refuse(asker, 'other-identity', `the claim is not for a device of this name, but for ${claim.devices}`)
    const applicant: Applicant = {
      ...asker,
      credential: `claim:${claim.id}`,
      via: `claim:${claim.id}`,
      labels: claim.labels,
      ...(claim.type === null ? {} : { type: claim.type }),
    }
    return this.#decide(request, claim, applicant)
  }

  async #decide(request: ClaimRequest, claim: StoredClaim, applicant: Applicant): Promise<Answer> {
    const { claims, steps, registrar } = this.#options
    const { tenant, device } = applicant
    const known = await registrar.findDevice(tenant, device)
    const read = readKeyRequest(
      Buffer.from(request.csrBase64, 'base64'),
      'device',
      known?.type ?? claim.type ?? GENERIC_TYPE,
      this.#options,
    )
    if (read.status === 'refused') return steps.refuse(applicant, read.reason, read.detail)
    const publicKey = read.publicKey as Buffer
    const key = createHash('sha256').update(publicKey).digest('hex')
    const before = await claims.useOf(claim, device)
    if (before?.key === key && before.serial !== null) return this.#again(claim, applicant, before.serial)
    const isOurs = before?.key === key
    if (known !== undefined && known.state !== 'registered' && !isOurs) {
      return steps.refuse(applicant, 'device-refused', `the device is ${known.state}: a claim gives only first certificates`)
    }
    const obstacle = await steps.obstacle(applicant, true)
    if (obstacle !== undefined) return steps.refuse(applicant, 'device-refused', obstacle)
    // A look before the hook, so that nobody is asked in vain; what counts is `count`.
    if (before === null && claim.devicesUsed >= claim.devicesMax) return this.#exhausted(applicant, claim)
    const welcome = await steps.welcome(applicant, publicKey)
    if (welcome.status !== 'welcome') return welcome
    return this.#count(claim, applicant, publicKey, key)
  }

  async #count(claim: StoredClaim, applicant: Applicant, publicKey: Buffer, key: string): Promise<Answer> {
    const { claims, steps } = this.#options
    const counted = await claims.count(claim, applicant.device, key)
    if (counted === 'exhausted') return this.#exhausted(applicant, claim)
    if (counted === 'lapsed') return steps.refuse(applicant, 'credential-refused', 'the claim is revoked')
    if (counted === 'other-key')
      return steps.refuse(applicant, 'device-refused', 'the device asked with another key before: a claim gives only first certificates')
    const issued = await steps.issue(applicant, publicKey)
    if (issued.status === 'refused') {
      await claims.uncount(claim, applicant.device)
      return issued
    }
    await claims.noteSerial(claim, applicant.device, issued.certificate.serial)
    if ((await claims.get(claim.tenant, claim.id)).state === 'revoked') {
      await this.#options.certificates.revoke(claim.tenant, issued.certificate.serial, 'privilegeWithdrawn')
      return steps.refuse(applicant, 'credential-refused', 'the claim is revoked')
    }
    return this.#granted(applicant.device, issued.certificate)
  }

  /** What was asked for and given before. */
  async #again(claim: StoredClaim, applicant: Applicant, serial: string): Promise<Answer> {
    const { certificates, steps, registrar } = this.#options
    const certificate = await certificates.get(claim.tenant, serial)
    if (certificate.state === 'revoked')
      return steps.refuse(applicant, 'device-refused', 'the certificate that this request was given is revoked')
    const obstacle = await steps.obstacle(applicant)
    if (obstacle !== undefined) return steps.refuse(applicant, 'device-refused', obstacle)
    await registrar.markProvisioned(applicant.tenant, applicant.device, `device:${applicant.device}`)
    return this.#granted(applicant.device, certificate)
  }

  #exhausted(applicant: Applicant, claim: StoredClaim): Promise<Answer> {
    return this.#options.steps.refuse(applicant, 'exhausted', `the claim has let in the ${claim.devicesMax} devices that it may`)
  }

  #granted(device: string, certificate: StoredCertificate): Answer {
    const { authority } = this.#options
    return { status: 'granted', device, certificatePem: certificate.pem + authority.chainPemOf(certificate.issuer), caPem: authority.caPem }
  }
}
