import { createHash } from 'node:crypto'
import type { AuditTrail } from '../../contracts/audit.ts'
import type { DeviceIdentity } from '../../contracts/device-identity.ts'
import { GENERIC_TYPE, mayEnrol } from '../../contracts/device.ts'
import type { DeviceRegistrar } from '../../contracts/registrar.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Clock } from '../../kernel/time.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { Certificates, StoredCertificate } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { EnrolmentConfig } from './config.ts'
import type { EnrolmentHook } from './hook.ts'
import { makeKey, type KeyRefusal } from './key-source.ts'
import { RefusalBook } from './refusal-book.ts'

export type Door = 'est-token' | 'est-certificate' | 'est-factory' | 'claim' | 'just-in-time' | 'mqtt-certificate' | 'operator'

/**
 * `credential-refused`: the token, claim or certificate is not good (any more). `device-refused`: the device may not have a certificate now.
 * `other-identity`: the request names someone else than its credential allows. `type-refused`: it would be of an unknown or another type.
 * `hook-refused`, `hook-failed`: the pre-provisioning hook said no, or did not say yes in time. `exhausted`: the claim has let in all it may.
 */
export type EnrolmentRefusal =
  KeyRefusal | 'credential-refused' | 'device-refused' | 'other-identity' | 'type-refused' | 'hook-refused' | 'hook-failed' | 'exhausted'

/** `detail` is fit for the device: it tells nothing about tokens beyond that they are refused. */
export type Refusal = { status: 'refused'; reason: EnrolmentRefusal; detail: string }
export type Pending = { status: 'pending'; retryAfterMs: number; detail: string }
export type Issued = {
  status: 'issued'
  certificate: StoredCertificate
  /** DER PKCS#8, where the key was made here. */
  privateKey?: Buffer
}

/** Somebody at a door, with what vouches for it. */
export interface Applicant extends DeviceIdentity {
  door: Door
  /** For the hook and the record: `token`, `claim:ID`, `factory:ID`. */
  credential: string
  /** What let it in, where that can be taken away. */
  via?: string
  /** Serial of the certificate that is renewed. */
  replaces?: string
  /** Whoever asks in the device's stead: `user:NAME`. */
  by?: string
  origin?: string
  /** What a template wants it to be. */
  type?: string
  labels?: Record<string, string>
}

export interface EnrolmentStepsOptions {
  authority: CertificateAuthority
  certificates: Certificates
  registrar: DeviceRegistrar
  hook: EnrolmentHook
  auditTrail?: AuditTrail
  config: ProvisioningConfig
  enrolmentConfig: EnrolmentConfig
  clock: Clock
  log: Logger
  metrics: Metrics
}

/** The steps that doors are made of; each door has its own order of them. */
export class EnrolmentSteps {
  readonly #options: EnrolmentStepsOptions
  readonly #refusals: RefusalBook

  constructor(options: EnrolmentStepsOptions) {
    this.#options = options
    this.#refusals = new RefusalBook(options)
  }

  /** Why the device may not have a certificate now; undefined when it may. An unknown one may not, unless `mayBeNew`. */
  async obstacle({ tenant, device }: DeviceIdentity, mayBeNew = false): Promise<string | undefined> {
    const found = await this.#options.registrar.findDevice(tenant, device)
    if (found === undefined) return mayBeNew ? undefined : 'the device is not registered'
    return mayEnrol(found.state) ? undefined : `the device is ${found.state}`
  }

  /**
   * Asks the hook and registers the device as it, the template and the door want it. To be called before anything is used up: what is
   * refused here has changed nothing.
   */
  async welcome(applicant: Applicant, publicKey: Buffer | null): Promise<{ status: 'welcome'; type: string } | Refusal | Pending> {
    const { hook, registrar } = this.#options
    const { tenant, device, door, credential, origin } = applicant
    const known = await registrar.findDevice(tenant, device)
    const verdict = await hook.ask({
      ...{ door, tenant, device, credential },
      deviceType: applicant.type ?? known?.type ?? GENERIC_TYPE,
      labels: { ...known?.labels, ...applicant.labels },
      publicKeySha256: publicKey === null ? null : createHash('sha256').update(publicKey).digest('hex'),
      origin: origin ?? null,
    })
    if (verdict.status === 'pending') return { ...verdict, detail: 'it is not decided yet whether the device may come in; ask again later' }
    if (verdict.status === 'refused') return this.refuse(applicant, 'hook-refused', `the device was refused: ${verdict.reason}`)
    if (verdict.status === 'failed')
      return this.refuse(applicant, 'hook-failed', 'nobody could say in time whether the device may come in', verdict.detail)
    const by = applicant.by ?? `device:${device}`
    const labels = { ...applicant.labels, ...verdict.labels }
    const registration = await registrar.ensureRegistered(tenant, device, verdict.type ?? applicant.type, by, { labels })
    if (registration.status === 'registered') return { status: 'welcome', type: registration.device.type }
    const { reason } = registration
    if (reason === 'unknown-type' || reason === 'other-type') {
      const type = verdict.type ?? applicant.type ?? GENERIC_TYPE
      return this.refuse(
        applicant,
        'type-refused',
        reason === 'unknown-type' ? `there is no device type ${type}` : `the device is not of type ${type}`,
      )
    }
    return this.refuse(applicant, 'device-refused', `the device is ${reason}`)
  }

  /** Signs, records and moves the device on; with `publicKey` null the key is made here. */
  async issue(applicant: Applicant, publicKey: Buffer | null): Promise<Issued | Refusal> {
    const { certificates, registrar, enrolmentConfig } = this.#options
    const { tenant, device, door, via, replaces } = applicant
    const made = publicKey === null ? await makeKey(enrolmentConfig.serverKeygenKey) : undefined
    const request = { tenant, device, publicKey: publicKey ?? (made?.publicKey as Buffer) }
    const signed = await this.#options.authority.signDevice(request)
    // Before it is on record and leaves: a crash may leave an entry of a certificate that nobody got, never one without an entry.
    const issuing = { serial: signed.serial, notAfter: signed.notAfterMs }
    await this.#audit('certificate.issue', applicant, issuing, { keyMadeBy: made === undefined ? 'device' : 'server' })
    const certificate = await certificates.record(signed, request, door, {
      ...(via === undefined ? {} : { via }),
      ...(replaces === undefined ? {} : { replaces }),
    })
    const provisioning = await registrar.markProvisioned(tenant, device, applicant.by ?? `device:${device}`)
    if (provisioning.status === 'refused') {
      // Suspended or decommissioned while it was being signed: nobody has seen the certificate, and nobody will.
      await certificates.revoke(tenant, certificate.serial, 'cessationOfOperation')
      return this.refuse(applicant, 'device-refused', `the device may not enrol: ${provisioning.reason}`)
    }
    return { status: 'issued', certificate, ...(made === undefined ? {} : { privateKey: made.privateKey }) }
  }

  /** A certificate that we did not issue counts from now on. */
  async noteAdmission(applicant: Applicant, certificate: StoredCertificate): Promise<void> {
    await this.#audit('certificate.admit', applicant, certificate, { foreignSerial: certificate.foreignSerial })
  }

  async refuse(
    who: { door: Door; device: string; tenant?: string; origin?: string },
    reason: EnrolmentRefusal,
    detail: string,
    because?: string,
  ): Promise<Refusal> {
    const { door, device, tenant, origin } = who
    await this.#refusals.note({
      ...{ door, device, reason, detail },
      ...(tenant === undefined ? {} : { tenant }),
      ...(origin === undefined ? {} : { origin }),
      ...(because === undefined ? {} : { because }),
    })
    return { status: 'refused', reason, detail }
  }

  async #audit(
    action: string,
    applicant: Applicant,
    certificate: Pick<StoredCertificate, 'serial' | 'notAfter'>,
    more: object,
  ): Promise<void> {
    const { tenant, device, door, credential, origin } = applicant
    await this.#options.auditTrail?.record({
      tenant,
      actor: applicant.by ?? `device:${device}`,
      action,
      subject: { kind: 'certificate', id: certificate.serial },
      device,
      after: { door, credential, notAfter: certificate.notAfter, ...more },
      ...(origin === undefined ? {} : { origin }),
    })
  }
}
