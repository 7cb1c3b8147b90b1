import type { AuditTrail } from '../../contracts/audit.ts'
import { claimName, type ClaimCredential } from '../../contracts/credential.ts'
import { isDeviceId } from '../../contracts/device.ts'
import { ConflictError, InternalError, InvalidInputError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { SignedCertificate } from '../ca/sign-certificate.ts'
import type { Certificates } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import { TrustAnnouncer } from '../trust/announce-trust.ts'
import { openClaims, type Claim, type ClaimUse } from '../trust/collections.ts'
import type { EnrolmentConfig } from './config.ts'
import { checkCsr } from './csr.ts'

/** A certificate on its way through the documents. */
export type SignedClaim = { signed: Omit<SignedCertificate, 'der'>; issuingPem: string; caPem: string }

export interface ClaimToSign {
  tenant: string
  claim: string
  /** DER SubjectPublicKeyInfo, base64. */
  publicKeyBase64: string
  lifetimeMs: number
}

export interface ClaimsOptions {
  documents: Documents
  eventLog: EventLog
  /** Signs where the CA key is. */
  sign: (claim: ClaimToSign) => Promise<SignedClaim>
  certificates: Certificates
  hasType: (tenant: string, type: string) => Promise<boolean>
  auditTrail?: AuditTrail
  config: ProvisioningConfig
  enrolmentConfig: EnrolmentConfig
  clock: Clock
  log: Logger
}

export interface NewClaim {
  tenant: string
  id: string
  /** DER PKCS#10 request of the batch: its key stays where it was made. */
  csrDer: Uint8Array
  type: string | null
  devices: string
  labels: Record<string, string>
  devicesMax: number
  /** Undefined: as long as the configuration allows. */
  lifetimeMs?: number
  by: string
  origin?: string
}

export type StoredClaim = Claim & Stored

interface Opened {
  claims: Collection<Claim>
  uses: Collection<ClaimUse>
  announcer: TrustAnnouncer<Claim>
}

/**
 * Claims: who holds a claim's certificate may ask for certificates of so many devices, for so long, under such names. What it has used is
 * counted by compare-and-set, one document per device, so that the same device counts once and many at once never exceed the count.
 */
export class Claims implements Service {
  readonly name = 'claims'
  readonly #options: ClaimsOptions
  #opened: Opened | undefined

  constructor(options: ClaimsOptions) {
    this.#options = options
  }

  /** Tells what a crash left untold. */
  async start(): Promise<void> {
    if (this.#opened !== undefined) return
    const { documents, eventLog, clock } = this.#options
    const claims = await openClaims(documents)
    const uses = await documents.collection<ClaimUse>({ name: 'claim-uses', indexes: [] })
    const announcer = new TrustAnnouncer<Claim>({ eventLog, clock, kind: 'claim', collection: claims })
    await announcer.settle()
    this.#opened = { claims, uses, announcer }
  }

  stop(): Promise<void> {
    this.#opened = undefined
    return Promise.resolve()
  }

  /** Answers the claim and its certificate. Throws InvalidInputError that names the field, ConflictError, LimitError. */
  async create(input: NewClaim): Promise<{ claim: StoredClaim; certificatePem: string; caPem: string }> {
    const { tenant, id, type, devices, labels, devicesMax, by, origin } = input
    const { sign, certificates, auditTrail, clock, config, enrolmentConfig } = this.#options
    const { claims, announcer } = this.#require()
    await this.#check(input)
    const request = checkCsr(input.csrDer, config)
    if (request.status === 'refused') throw invalid('csr', request.detail)
    const lifetimeMs = Math.min(input.lifetimeMs ?? enrolmentConfig.claimLifetimeMs, enrolmentConfig.claimLifetimeMs)
    const publicKeyBase64 = request.csr.publicKey.toString('base64')
    const { signed, issuingPem, caPem } = await sign({ tenant, claim: id, publicKeyBase64, lifetimeMs })
    await certificates.record(signed, { tenant, device: claimName(id) }, 'claim-certificate', { rotates: false })
    const inserted = await claims.insert(`${tenant}/${id}`, {
      ...{ tenant, id, type, devices, labels, devicesMax, by, serial: signed.serial, expiresAt: signed.notAfterMs },
      devicesUsed: 0,
      state: 'active',
      revokedAt: null,
      createdAt: clock.nowMs(),
      announced: false,
    })
    if (inserted.status === 'conflict') {
      await certificates.revoke(tenant, signed.serial, 'cessationOfOperation')
      throw exists(id)
    }
    await auditTrail?.record({
      ...actOf({ by, ...(origin === undefined ? {} : { origin }) }, 'claim.create', tenant, id),
      after: { serial: signed.serial, type, devices, devicesMax, expiresAt: signed.notAfterMs },
    })
    await announcer.tell(inserted.document)
    return { claim: inserted.document, certificatePem: signed.pem + issuingPem, caPem }
  }

  /** Throws NotFoundError. */
  async get(tenant: string, id: string): Promise<StoredClaim> {
    const found = await this.#require().claims.get(`${tenant}/${id}`)
    if (found === null) throw new NotFoundError(`There is no claim ${id.slice(0, 64)}.`)
    return found
  }

  /** Ordered by id. */
  async list(tenant: string): Promise<StoredClaim[]> {
    return this.#require().claims.find({ tenant }, { sort: { id: 1 } })
  }

  /**
   * Ends it at once: its connections are cut, its requests refused, its certificate revoked. Devices that it let in stay, unless `devices`: then
   * their certificates are revoked too. Repeating it changes nothing more. Throws NotFoundError.
   */
  async revoke(
    tenant: string,
    id: string,
    act: { by: string; origin?: string; devices?: boolean },
  ): Promise<{ claim: StoredClaim; revoked: number }> {
    const { claims, announcer } = this.#require()
    const { certificates, clock, auditTrail } = this.#options
    let claim = await this.get(tenant, id)
    while (claim.state === 'active') {
      const change = { $set: { state: 'revoked', revokedAt: clock.nowMs(), announced: false } }
      const result = await claims.update(claim._id, change, claim.version)
      if (result.status === 'written') {
        await auditTrail?.record({
          ...actOf(act, 'claim.revoke', tenant, id),
          before: { state: 'active' },
          after: { state: 'revoked', devices: act.devices === true },
        })
        await announcer.tell(result.document)
      }
      claim = await this.get(tenant, id)
    }
    await certificates.revoke(tenant, claim.serial, 'cessationOfOperation')
    const revoked = act.devices === true ? await certificates.revokeVia(tenant, `claim:${id}`, 'privilegeWithdrawn') : 0
    return { claim, revoked }
  }

  /** Why the claim gives nothing now; else the claim. Durable state, not a listener's view. */
  async usable(credential: ClaimCredential): Promise<{ status: 'usable'; claim: StoredClaim } | { status: 'lapsed'; detail: string }> {
    const claim = await this.#require().claims.get(`${credential.tenant}/${credential.claim}`)
    if (claim === null || claim.serial !== credential.serial) return { status: 'lapsed', detail: 'the claim is not known' }
    if (claim.state === 'revoked') return { status: 'lapsed', detail: 'the claim is revoked' }
    if (claim.expiresAt <= this.#options.clock.nowMs()) return { status: 'lapsed', detail: 'the claim has expired' }
    return { status: 'usable', claim }
  }

  /** What this claim gave the device before. */
  async useOf(claim: StoredClaim, device: string): Promise<(ClaimUse & Stored) | null> {
    return this.#require().uses.get(`${claim._id}/${device}`)
  }

  /**
   * Counts the device in. `counted`: now. `again`: it was counted before, with this key. `other-key`: somebody else has it. `exhausted`: the
   * count is used up. `lapsed`: revoked meanwhile.
   */
  async count(claim: StoredClaim, device: string, key: string): Promise<'counted' | 'again' | 'other-key' | 'exhausted' | 'lapsed'> {
    const { uses } = this.#require()
    const before = await this.useOf(claim, device)
    if (before !== null) return before.key === key ? 'again' : 'other-key'
    const reserved = await this.#reserve(claim._id)
    if (reserved !== 'reserved') return reserved
    const inserted = await uses.insert(`${claim._id}/${device}`, { key, serial: null, at: this.#options.clock.nowMs() })
    if (inserted.status === 'written') return 'counted'
    // The same device asked twice at once: it counts once. A crash before this leaves the count too high, never too low.
    await this.#release(claim._id)
    return (await this.useOf(claim, device))?.key === key ? 'again' : 'other-key'
  }

  /** Nothing came of it. */
  async uncount(claim: StoredClaim, device: string): Promise<void> {
    const deleted = await this.#require().uses.delete(`${claim._id}/${device}`)
    if (deleted.status === 'deleted') await this.#release(claim._id)
  }

  async noteSerial(claim: StoredClaim, device: string, serial: string): Promise<void> {
    await this.#require().uses.update(`${claim._id}/${device}`, { $set: { serial } })
  }

  async #reserve(id: string): Promise<'reserved' | 'exhausted' | 'lapsed'> {
    const { claims } = this.#require()
    for (;;) {
      const claim = await claims.get(id)
      if (claim?.state !== 'active') return 'lapsed'
      if (claim.devicesUsed >= claim.devicesMax) return 'exhausted'
      const result = await claims.update(id, { $inc: { devicesUsed: 1 } }, claim.version)
      if (result.status === 'written') return 'reserved'
    }
  }

  async #release(id: string): Promise<void> {
    await this.#require().claims.update(id, { $inc: { devicesUsed: -1 } })
  }

  async #check({ tenant, id, type, devices, devicesMax, lifetimeMs }: NewClaim): Promise<void> {
    const { enrolmentConfig, hasType } = this.#options
    const { claims } = this.#require()
    if (!isDeviceId(id)) throw invalid('id', 'must be 1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first')
    if (devices.split('*').length > 2) throw invalid('devices', 'may hold one * at most')
    if (devicesMax > enrolmentConfig.claimDevicesMax)
      throw invalid('devicesMax', `may be ${enrolmentConfig.claimDevicesMax} at most (claimDevicesMax)`)
    if (lifetimeMs !== undefined && lifetimeMs > enrolmentConfig.claimLifetimeMs) {
      throw invalid('lifetimeMs', `may be ${enrolmentConfig.claimLifetimeMs} at most (claimLifetimeMs)`)
    }
    if (type !== null && !(await hasType(tenant, type))) throw invalid('type', `there is no device type "${type}"`)
    if ((await claims.get(`${tenant}/${id}`)) !== null) throw exists(id)
    if ((await claims.count({ tenant })) >= enrolmentConfig.claimsMax) {
      throw new LimitError(`There are ${enrolmentConfig.claimsMax} claims already (claimsMax).`, { remedy: 'Raise enrolment.claimsMax.' })
    }
  }

  #require(): Opened {
    if (this.#opened === undefined) throw new InternalError('claims are used before their start or after their stop')
    return this.#opened
  }
}

/** Does a device id fit a claim's pattern: letters, and at most one `*` for any? */
export function fitsPattern(pattern: string, device: string): boolean {
  const star = pattern.indexOf('*')
  if (star < 0) return pattern === device
  const [before, after] = [pattern.slice(0, star), pattern.slice(star + 1)]
  return device.length >= before.length + after.length && device.startsWith(before) && device.endsWith(after)
}

function actOf(act: { by: string; origin?: string }, action: string, tenant: string, id: string) {
  return { tenant, actor: act.by, action, subject: { kind: 'claim', id }, ...(act.origin === undefined ? {} : { origin: act.origin }) }
}

function exists(id: string): ConflictError {
  return new ConflictError(`There is a claim ${id} already.`, { details: { field: 'id' }, remedy: 'Give the new one another id.' })
}

function invalid(field: string, problem: string): InvalidInputError {
  return new InvalidInputError(`${field}: ${problem}`, { details: { field } })
}

/** Signs with the CA that is at hand. */
export function signerOf(authority: CertificateAuthority): ClaimsOptions['sign'] {
  return async ({ tenant, claim, publicKeyBase64, lifetimeMs }) => {
    const { der: _der, ...signed } = await authority.signClaim({
      tenant,
      claim,
      publicKey: Buffer.from(publicKeyBase64, 'base64'),
      lifetimeMs,
    })
    return { signed, issuingPem: authority.issuingPem, caPem: authority.caPem }
  }
}
