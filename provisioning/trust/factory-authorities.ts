import { randomBytes, X509Certificate } from 'node:crypto'
import type { AuditTrail } from '../../contracts/audit.ts'
import { isDeviceId } from '../../contracts/device.ts'
import { ConflictError, describeError, InternalError, InvalidInputError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { AUTHORITY_ID, openSigningCollections, type PublishedAuthority } from '../ca/signing-requests.ts'
import type { Certificates } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { EnrolmentConfig } from '../doors/config.ts'
import type { CrlAuthority } from '../revocation/crl-import.ts'
import { TrustAnnouncer } from './announce-trust.ts'
import { openAuthorities, type FactoryAuthority, type RegistrationCode } from './collections.ts'
import { checkPossession, readFactoryAuthority } from './factory-proof.ts'
import type { FactoryTemplate } from './template.ts'
import { certificatesOf } from './trust-view.ts'

export interface FactoryAuthoritiesOptions {
  documents: Documents
  eventLog: EventLog
  certificates: Certificates
  /** Is there such a device type? */
  hasType: (tenant: string, type: string) => Promise<boolean>
  auditTrail?: AuditTrail
  config: ProvisioningConfig
  enrolmentConfig: EnrolmentConfig
  clock: Clock
  log: Logger
}

export interface FactoryRegistration {
  tenant: string
  id: string
  certificatePem: string
  chainPem: string
  /** From `newCode`. */
  code: string
  /** A certificate with the code as its common name, signed by the CA. */
  proofPem: string
  template: FactoryTemplate
  by: string
  origin?: string
}

export type StoredAuthority = FactoryAuthority & Stored

interface Opened {
  authorities: Collection<FactoryAuthority>
  codes: Collection<RegistrationCode>
  announcer: TrustAnnouncer<FactoryAuthority>
  /** Our own CAs, as the registry publishes them. */
  own: Collection<PublishedAuthority>
}

const CODE_BYTES = 16
const CODES_MAX = 1_000

/**
 * CAs of device makers whose certificates are admitted by template. One comes in with a proof that its key is in the operator's hands, and when
 * it is taken away, everything that came in by it is revoked.
 */
export class FactoryAuthorities implements Service {
  readonly name = 'factory-authorities'
  readonly #options: FactoryAuthoritiesOptions
  #opened: Opened | undefined
  #timer: Timer | undefined
  #sweeping: Promise<void> | undefined

  constructor(options: FactoryAuthoritiesOptions) {
    this.#options = options
  }

  /** Tells what a crash left untold, and ends removals that it cut off. */
  async start(): Promise<void> {
    if (this.#opened !== undefined) return
    const { documents, eventLog, clock, enrolmentConfig, log } = this.#options
    const authorities = await openAuthorities(documents)
    const codes = await documents.collection<RegistrationCode>({
      name: 'factory-codes',
      indexes: [{ name: 'by-expiry', paths: ['expiresAt'] }],
    })
    const announcer = new TrustAnnouncer<FactoryAuthority>({ eventLog, clock, kind: 'factory', collection: authorities })
    const { authorities: own } = await openSigningCollections(documents)
    this.#opened = { authorities, codes, announcer, own }
    await announcer.settle()
    for (const document of await authorities.find({ state: 'removing' })) await this.#finishRemoval(document)
    const onError = (error: unknown): void => log.error({ error: describeError(error) }, 'old registration codes could not be removed')
    this.#timer = every(clock, enrolmentConfig.registrationCodeMs, () => (this.#sweeping = this.#sweep()), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await Promise.allSettled([this.#sweeping])
    this.#opened = undefined
  }

  /** A code that the CA is to sign; good for one registration. Throws LimitError. */
  async newCode(tenant: string, by: string): Promise<{ code: string; expiresAt: number }> {
    const { codes } = this.#require()
    await this.#sweep()
    if ((await codes.count({})) >= CODES_MAX)
      throw new LimitError(`There are ${CODES_MAX} registration codes already.`, { remedy: 'Wait until some expire.' })
    const code = randomBytes(CODE_BYTES).toString('hex')
    const expiresAt = this.#options.clock.nowMs() + this.#options.enrolmentConfig.registrationCodeMs
    await codes.put(code, { tenant, expiresAt, by })
    return { code, expiresAt }
  }

  /** Throws InvalidInputError that names the field and the rule, ConflictError (exists, registered elsewhere), LimitError. */
  async register(input: FactoryRegistration): Promise<StoredAuthority> {
    const { tenant, id, template, by } = input
    if (!isDeviceId(id)) throw invalid('id', 'must be 1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first')
    const { authorities, codes, announcer } = this.#require()
    const { clock, config, enrolmentConfig, auditTrail, hasType, log } = this.#options
    const nowMs = clock.nowMs()
    const read = readFactoryAuthority(input, nowMs, config)
    const ours = certificatesOf((await this.#require().own.get(AUTHORITY_ID))?.caPem ?? '').map((own) => own.publicKey)
    if (ours.some((key) => key.equals(read.certificate.publicKey))) throw invalid('certificate', "is this platform's own CA")
    if (!(await hasType(tenant, template.type))) throw invalid('template.type', `there is no device type "${template.type}"`)
    const code = await codes.get(input.code)
    if (code === null || code.tenant !== tenant || code.expiresAt <= nowMs) {
      throw invalid('code', 'is not a registration code that can be used now; ask for a new one')
    }
    checkPossession(input.proofPem, read.certificate, input.code, nowMs)
    if ((await authorities.count({})) >= enrolmentConfig.factoryCasMax) {
      throw new LimitError(`There are ${enrolmentConfig.factoryCasMax} factory CAs already (factoryCasMax).`, {
        remedy: 'Remove one, or raise enrolment.factoryCasMax.',
      })
    }
    // Used up before the CA counts: of two registrations with one code one comes too late.
    if ((await codes.delete(input.code, code.version)).status !== 'deleted') throw invalid('code', 'was used meanwhile; ask for a new one')
    const { certificate, certificatePem, chainPem, fingerprint } = read
    const inserted = await authorities.insert(`${tenant}/${id}`, {
      ...{ tenant, id, certificatePem, chainPem, fingerprint, template, by },
      subject: certificate.subject.replaceAll('\n', ', '),
      notAfter: Date.parse(certificate.validTo),
      state: 'open',
      createdAt: nowMs,
      announced: false,
    })
    if (inserted.status === 'conflict')
      throw new ConflictError(`A factory CA ${id} exists, or one with the same key is registered already.`)
    await auditTrail?.record({
      ...actOf(input, 'factory-authority.register', tenant, id),
      after: { subject: inserted.document.subject, fingerprint, template },
    })
    await announcer.tell(inserted.document)
    log.info({ tenant, authority: id, subject: inserted.document.subject, by }, 'factory CA registered')
    return this.get(tenant, id)
  }

  /** Throws NotFoundError. */
  async get(tenant: string, id: string): Promise<StoredAuthority> {
    const found = await this.#require().authorities.get(`${tenant}/${id}`)
    if (found === null) throw new NotFoundError(`There is no factory CA ${id.slice(0, 64)}.`)
    return found
  }

  /** As those whose CRLs an operator may bring. */
  async crlAuthorities(tenant: string): Promise<CrlAuthority[]> {
    return (await this.list(tenant)).map(({ id, certificatePem }) => ({
      certificate: new X509Certificate(certificatePem),
      find: (serial) => this.#options.certificates.ofFactory(tenant, id, serial),
    }))
  }

  /** Ordered by id. */
  async list(tenant: string): Promise<StoredAuthority[]> {
    return this.#require().authorities.find({ tenant }, { sort: { id: 1 } })
  }

  /** Opens it to new devices or closes it; devices that are in stay. Throws NotFoundError, ConflictError while it is being removed. */
  async setState(tenant: string, id: string, state: 'open' | 'closed', act: { by: string; origin?: string }): Promise<StoredAuthority> {
    const { authorities, announcer } = this.#require()
    for (;;) {
      const found = await this.get(tenant, id)
      if (found.state === state) return found
      if (found.state === 'removing') throw new ConflictError(`Factory CA ${id} is being removed.`)
      const changed = await authorities.update(found._id, { $set: { state, announced: false } }, found.version)
      if (changed.status !== 'written') continue
      const action = state === 'open' ? 'factory-authority.open' : 'factory-authority.close'
      await this.#options.auditTrail?.record({ ...actOf(act, action, tenant, id), before: { state: found.state }, after: { state } })
      await announcer.tell(changed.document)
      return this.get(tenant, id)
    }
  }

  /**
   * Takes it away: from the moment this is told to the listeners nobody comes in by it and its live sessions end, then every certificate that
   * came by it is revoked, our own to its devices included. Answers how many. Throws NotFoundError.
   */
  async remove(tenant: string, id: string, act: { by: string; origin?: string }): Promise<{ revoked: number }> {
    const { authorities } = this.#require()
    for (;;) {
      const found = await this.get(tenant, id)
      const marked = await authorities.update(found._id, { $set: { state: 'removing', announced: false } }, found.version)
      if (marked.status !== 'written') continue
      await this.#options.auditTrail?.record({
        ...actOf(act, 'factory-authority.remove', tenant, id),
        before: { state: found.state, subject: found.subject },
      })
      return { revoked: await this.#finishRemoval(marked.document) }
    }
  }

  async #finishRemoval(document: StoredAuthority): Promise<number> {
    const { authorities, announcer } = this.#require()
    const { certificates, log } = this.#options
    await announcer.say(document)
    const revoked = await certificates.revokeVia(document.tenant, `factory:${document.id}`, 'cACompromise')
    await authorities.delete(document._id)
    log.info({ tenant: document.tenant, authority: document.id, revoked }, 'factory CA removed')
    return revoked
  }

  async #sweep(): Promise<void> {
    await this.#require().codes.deleteMany({ expiresAt: { $lte: this.#options.clock.nowMs() } })
  }

  #require(): Opened {
    if (this.#opened === undefined) throw new InternalError('factory CAs are used before their start or after their stop')
    return this.#opened
  }
}

function actOf(act: { by: string; origin?: string }, action: string, tenant: string, id: string) {
  return {
    tenant,
    actor: act.by,
    action,
    subject: { kind: 'factory-authority', id },
    ...(act.origin === undefined ? {} : { origin: act.origin }),
  }
}

function invalid(field: string, problem: string): InvalidInputError {
  return new InvalidInputError(`${field}: ${problem}`, { details: { field } })
}
