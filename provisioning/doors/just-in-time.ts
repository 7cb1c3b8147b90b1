import { X509Certificate } from 'node:crypto'
import { foreignCertificateKey } from '../../contracts/certificate.ts'
import type { DoorAnswer, FactoryCredential } from '../../contracts/credential.ts'
import type { DeviceRegistrar } from '../../contracts/registrar.ts'
import { InternalError, NotFoundError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { weaknessOf } from '../ca/profile.ts'
import type { Certificates, StoredCertificate } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { FactoryBinding } from '../trust/collections.ts'
import type { FactoryAuthorities, StoredAuthority } from '../trust/factory-authorities.ts'
import { deviceIdOf, labelsOf } from '../trust/template.ts'
import { isIssuedBy } from '../trust/trust-view.ts'
import type { Applicant, EnrolmentSteps } from './enrolment-steps.ts'

export interface JustInTimeOptions {
  documents: Documents
  authorities: FactoryAuthorities
  certificates: Certificates
  registrar: DeviceRegistrar
  steps: EnrolmentSteps
  config: ProvisioningConfig
  clock: Clock
}

/**
 * Lets in who comes with a certificate of a registered factory CA: the device is made by the CA's template, and its factory certificate goes
 * on record, so that it can be revoked like any other. A device belongs to the first certificate it came with.
 */
export class JustInTime implements Service {
  readonly name = 'just-in-time'
  readonly #options: JustInTimeOptions
  #bindings: Collection<FactoryBinding> | undefined

  constructor(options: JustInTimeOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#bindings ??= await this.#options.documents.collection<FactoryBinding>({ name: 'factory-devices', indexes: [] })
  }

  stop(): Promise<void> {
    this.#bindings = undefined
    return Promise.resolve()
  }

  /** The certificate was verified by TLS; which CA signed it is checked again. */
  async admit(request: { credential: FactoryCredential; certificatePem: string; origin: string }): Promise<DoorAnswer<object>> {
    const { steps } = this.#options
    const { credential, origin } = request
    const { tenant, device } = credential
    const via = `factory:${credential.authority}`
    const asker: Applicant = { door: 'just-in-time', tenant, device, origin, credential: via, via }
    const authority = await this.#authority(credential)
    if (authority === undefined) return steps.refuse(asker, 'credential-refused', 'the factory CA is not registered any more')
    const certificate = read(request.certificatePem)
    if (certificate === undefined || !this.#fits(certificate, authority, credential)) {
      return steps.refuse(asker, 'credential-refused', 'the certificate is not one of this factory CA for this device')
    }
    const record = await this.#onRecord(credential)
    if (record !== undefined) return this.#known(asker, record)
    if (authority.state === 'closed') return steps.refuse(asker, 'credential-refused', 'the factory CA lets no new devices in')
    const { config } = this.#options
    const weakness = weaknessOf(certificate.publicKey, { ...config, keyTypes: config.deviceKeyTypes })
    if (weakness !== undefined) return steps.refuse(asker, 'key-not-allowed', weakness)
    return this.#welcome(asker, authority, certificate, credential.serial)
  }

  async #welcome(asker: Applicant, authority: StoredAuthority, certificate: X509Certificate, key: string): Promise<DoorAnswer<object>> {
    const { steps, registrar, certificates } = this.#options
    const { tenant, device, via } = asker
    const subject = certificate.toLegacyObject().subject as unknown as Record<string, unknown>
    const applicant: Applicant = { ...asker, type: authority.template.type, labels: labelsOf(authority.template, subject) }
    const known = await registrar.findDevice(tenant, device)
    const binding = await this.#require().get(`${tenant}/${device}`)
    // The factory may have made two of one name, or the name may be of a device that came by another door.
    const isTaken = binding === null ? known !== undefined && known.state !== 'registered' : binding.certificate !== key
    if (isTaken) return steps.refuse(applicant, 'device-refused', 'the device has come in with another certificate before')
    const obstacle = await steps.obstacle(applicant, true)
    if (obstacle !== undefined) return steps.refuse(applicant, 'device-refused', obstacle)
    const welcome = await steps.welcome(applicant, certificate.publicKey.export({ format: 'der', type: 'spki' }))
    if (welcome.status !== 'welcome') return welcome
    if (!(await this.#bind(applicant, authority.id, key))) {
      return steps.refuse(applicant, 'device-refused', 'the device has come in with another certificate before')
    }
    const record = await certificates.recordForeign({ key, tenant, device, certificate, door: 'just-in-time', via: via as string })
    // Taken away while this was going on: what came from it ended without this one.
    if ((await this.#authority({ tenant, authority: authority.id })) === undefined) {
      await certificates.revoke(tenant, key, 'cACompromise')
      return steps.refuse(applicant, 'credential-refused', 'the factory CA is not registered any more')
    }
    await steps.noteAdmission(applicant, record)
    return this.#known(applicant, record)
  }

  /** Of two certificates for one device at once, one is first. */
  async #bind({ tenant, device }: Applicant, authority: string, certificate: string): Promise<boolean> {
    const bindings = this.#require()
    const id = `${tenant}/${device}`
    const inserted = await bindings.insert(id, { authority, certificate, at: this.#options.clock.nowMs() })
    return inserted.status === 'written' || (await bindings.get(id))?.certificate === certificate
  }

  async #known(applicant: Applicant, record: StoredCertificate): Promise<DoorAnswer<object>> {
    const { steps, registrar } = this.#options
    const { tenant, device } = applicant
    if (record.device !== device) return steps.refuse(applicant, 'credential-refused', 'the certificate is on record for another device')
    if (record.state === 'revoked') return steps.refuse(applicant, 'credential-refused', 'the certificate is revoked')
    const provisioning = await registrar.markProvisioned(tenant, device, `device:${device}`)
    if (provisioning.status === 'provisioned') return { status: 'granted' }
    return steps.refuse(
      applicant,
      'device-refused',
      `the device is ${provisioning.reason === 'unknown-device' ? 'not registered' : provisioning.reason}`,
    )
  }

  async #authority({ tenant, authority }: Pick<FactoryCredential, 'tenant' | 'authority'>): Promise<StoredAuthority | undefined> {
    try {
      const found = await this.#options.authorities.get(tenant, authority)
      return found.state === 'removing' ? undefined : found
    } catch (error) {
      if (error instanceof NotFoundError) return undefined
      throw error
    }
  }

  /** Whoever asks in another process is of the platform; what it says is checked all the same. */
  #fits(certificate: X509Certificate, authority: StoredAuthority, { device, serial }: FactoryCredential): boolean {
    const nowMs = this.#options.clock.nowMs()
    const isInForce = Date.parse(certificate.validFrom) <= nowMs && nowMs <= Date.parse(certificate.validTo)
    const subject = certificate.toLegacyObject().subject as unknown as Record<string, unknown>
    return (
      isInForce &&
      foreignCertificateKey(certificate.raw) === serial &&
      isIssuedBy(certificate, new X509Certificate(authority.certificatePem)) &&
      deviceIdOf(authority.template, subject) === device
    )
  }

  async #onRecord({ tenant, serial }: FactoryCredential): Promise<StoredCertificate | undefined> {
    try {
      return await this.#options.certificates.get(tenant, serial)
    } catch (error) {
      if (error instanceof NotFoundError) return undefined
      throw error
    }
  }

  #require(): Collection<FactoryBinding> {
    if (this.#bindings === undefined) throw new InternalError('just-in-time admission is used before its start or after its stop')
    return this.#bindings
  }
}

function read(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}
