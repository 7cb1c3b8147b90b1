import type { X509Certificate } from 'node:crypto'
import type { Counter } from 'prom-client'
import type { AuditTrail } from '../contracts/audit.ts'
import { CERTIFICATES_COLLECTION, CRL_REASONS, normaliseSerial, type CertificateRecord, type CrlReason } from '../contracts/certificate.ts'
import { DEVICE_EVENT, type DeviceEvent } from '../contracts/device-event.ts'
import { DOWNLINKS_CANCELLED, type DownlinksCancelled } from '../contracts/downlink.ts'
import type { Actor } from '../contracts/registrar.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { InternalError, InvalidInputError, NotFoundError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { Collection, Documents, Filter, Stored } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import type { CrlEntry } from './ca/crl.ts'
import { issuerKeyIdOf } from './ca/extensions.ts'
import type { SignedCertificate } from './ca/sign-certificate.ts'
import { newRotation } from './rotation/rotation-plan.ts'
import type { CertificateStatus } from './revocation/certificate-status.ts'

export interface CertificatesOptions {
  documents: Documents
  eventLog: EventLog
  clock: Clock
  log: Logger
  metrics: Metrics
  /** Every revocation is recorded there, at least once. */
  auditTrail?: AuditTrail
}

export interface CertificateQuery {
  tenant: string
  device?: string
  state?: CertificateRecord['state']
  /** Page size, at least 1. */
  limit: number
  /** `next` of the page before. */
  cursor?: string
}

export type StoredCertificate = CertificateRecord & Stored

/** A certificate that we did not issue. */
export interface ForeignCertificate {
  /** `foreignCertificateKey` of it. */
  key: string
  tenant: string
  device: string
  certificate: X509Certificate
  door: string
  via: string
}

/** Certificates revoked side by side where many are: their writes share commits. */
const REVOKED_AT_ONCE = 100

const SPEC = {
  name: CERTIFICATES_COLLECTION,
  indexes: [
    { name: 'by-device', paths: ['tenant', 'device', 'issuedAt'] },
    { name: 'by-tenant', paths: ['tenant', 'issuedAt'] },
    { name: 'by-state', paths: ['state', 'notAfter'] },
    { name: 'by-issuer', paths: ['issuer', 'state', 'notAfter'] },
    { name: 'by-via', paths: ['via', 'state'] },
    { name: 'by-foreign-serial', paths: ['foreignSerial'] },
  ],
} as const

/** Records looked at in one step of naming issuers. */
const NAMELESS_PAGE = 500

/** Every certificate issued, and its revocation. Needs no CA key, so that any process may list and revoke. */
export class Certificates implements Service {
  readonly name = 'certificates'
  readonly #options: CertificatesOptions
  readonly #issuedTotal: Counter<'door'>
  readonly #revokedTotal: Counter<'reason'>
  #collection: Collection<CertificateRecord> | undefined
  #revision = 0

  constructor(options: CertificatesOptions) {
    this.#options = options
    this.#issuedTotal = options.metrics.counter('provisioning_issued_certificates_total', 'Device certificates issued.', ['door'])
    this.#revokedTotal = options.metrics.counter('provisioning_revoked_certificates_total', 'Device certificates revoked.', ['reason'])
  }

  /** Opens the collection, and announces revocations that a crash cut off before their event. */
  async start(): Promise<void> {
    if (this.#collection !== undefined) return
    const collection = await this.#options.documents.collection<CertificateRecord>(SPEC)
    await nameIssuers(collection)
    for (const record of await collection.find({ state: 'revoked', announced: false })) await this.#announce(collection, record)
    this.#collection = collection
  }

  stop(): Promise<void> {
    this.#collection = undefined
    return Promise.resolve()
  }

  /** Grows with every revocation in this process: whoever caches what is revoked compares it. */
  get revision(): number {
    return this.#revision
  }

  /**
   * Records a certificate before it leaves, so that it can be revoked; resolves when the record is durable. `replaces`: serial of the
   * certificate that it renews. `via`: what let the device in, where that can be taken away. `rotates` false: nobody renews it.
   */
  async record(
    signed: Omit<SignedCertificate, 'der'>,
    holder: { tenant: string; device: string },
    door: string,
    { replaces = null, via, rotates = true }: { replaces?: string | null; via?: string; rotates?: boolean } = {},
  ): Promise<StoredCertificate> {
    const { tenant, device } = holder
    const issuedAt = this.#options.clock.nowMs()
    const result = await this.#opened().insert(signed.serial, {
      serial: signed.serial,
      issuer: signed.issuer,
      tenant,
      device,
      state: 'valid',
      notBefore: signed.notBeforeMs,
      notAfter: signed.notAfterMs,
      issuedAt,
      revokedAt: null,
      reason: null,
      announced: false,
      pem: signed.pem,
      door,
      replaces,
      ...(rotates ? { rotation: newRotation(issuedAt, replaces) } : {}),
      ...(via === undefined ? {} : { via }),
    })
    if (result.status !== 'written') throw new InternalError(`the random serial ${signed.serial} exists already`)
    this.#issuedTotal.inc({ door })
    this.#options.log.debug({ tenant, device, serial: signed.serial, door }, 'certificate issued')
    return result.document
  }

  /**
   * Records a certificate of a factory CA that is let in as it is; again the same one changes nothing. It is revoked like ours, and no CRL of
   * ours lists it: only its own CA's could.
   */
  async recordForeign(foreign: ForeignCertificate): Promise<StoredCertificate> {
    const { key, tenant, device, certificate, door, via } = foreign
    const result = await this.#opened().insert(key, {
      serial: key,
      // None of our CAs, so that none of our CRLs lists it.
      issuer: via,
      tenant,
      device,
      state: 'valid',
      notBefore: Date.parse(certificate.validFrom),
      notAfter: Date.parse(certificate.validTo),
      issuedAt: this.#options.clock.nowMs(),
      revokedAt: null,
      reason: null,
      announced: false,
      pem: certificate.toString(),
      door,
      via,
      foreignSerial: normaliseSerial(certificate.serialNumber) ?? '00',
    })
    if (result.status === 'conflict') return this.get(tenant, key)
    this.#options.log.info({ tenant, device, serial: key, door }, 'certificate of a factory CA let in')
    return result.document
  }

  /** `serial` in any case, colons allowed; of a foreign certificate also the one its own CA gave it, where that is unique. Throws NotFoundError, also for another tenant's. */
  async get(tenant: string, serial: string): Promise<StoredCertificate> {
    const normal = normaliseSerial(serial)
    let record = normal === undefined ? null : await this.#opened().get(normal)
    if (record === null && normal !== undefined) {
      const foreign = await this.#opened().find({ foreignSerial: normal, tenant }, { limit: 2 })
      record = foreign.length === 1 ? (foreign[0] ?? null) : null
    }
    if (record === null || record.tenant !== tenant) throw new NotFoundError(`There is no certificate with serial ${serial.slice(0, 64)}.`)
    return record
  }

  /** Newest first. Throws InvalidInputError for a cursor that is not one of ours. */
  async list(query: CertificateQuery): Promise<{ items: StoredCertificate[]; next: string | null }> {
    const conditions: Filter[] = [{ tenant: query.tenant }]
    if (query.device !== undefined) conditions.push({ device: query.device })
    if (query.state !== undefined) conditions.push({ state: query.state })
    if (query.cursor !== undefined) conditions.push(after(query.cursor))
    const found = await this.#opened().find({ $and: conditions }, { sort: { issuedAt: -1, _id: -1 }, limit: query.limit + 1 })
    const items = found.slice(0, query.limit)
    const last = items.at(-1)
    return { items, next: found.length > query.limit && last !== undefined ? `${last.issuedAt}-${last._id}` : null }
  }

  /**
   * Revokes: the record first, then the event that closes sessions and, when it was the device's last certificate, the one that cancels
   * what waits for it; durable, and audited as `by`'s act, before it answers. Revoking again answers the first
   * revocation as it stands (and sends its event if a crash had cut it off). `reason` is a CRLReason name, RFC 5280 §5.3.1.
   * `by` is kept for the record. Throws InvalidInputError naming `reason`, NotFoundError.
   */
  async revoke(tenant: string, serial: string, reason: string, by: Actor = 'system'): Promise<StoredCertificate> {
    if (!isReason(reason)) {
      throw new InvalidInputError(
        `reason: "${reason.slice(0, 64)}" is not a reason to revoke; allowed: ${Object.keys(CRL_REASONS).join(', ')}`,
        {
          details: { field: 'reason' },
        },
      )
    }
    // The bound on revocation is measured from this call.
    const revokedAt = this.#options.clock.nowMs()
    let record = await this.get(tenant, serial)
    while (record.state === 'valid') {
      const change = { $set: { state: 'revoked', revokedAt, reason, revokedBy: by } }
      const result = await this.#opened().update(record._id, change, record.version)
      if (result.status === 'written') {
        this.#revision++
        this.#revokedTotal.inc({ reason })
        this.#options.log.info({ tenant, device: record.device, serial: record._id, reason }, 'certificate revoked')
      }
      record = result.status === 'written' ? result.document : await this.get(tenant, serial)
    }
    return record.announced ? record : this.#announce(this.#opened(), record)
  }

  /** Revokes every certificate with which the device could still come in; resolves to their serials. */
  async revokeDevice(tenant: string, device: string, reason: CrlReason, by: Actor): Promise<string[]> {
    const serials: string[] = []
    for (;;) {
      const valid = await this.#validOf(this.#opened(), tenant, device)
      if (valid === undefined) return serials
      await this.revoke(tenant, valid.serial, reason, by)
      serials.push(valid.serial)
    }
  }

  /** The certificate of this tenant that this CA (its key id) numbered so; null when there is none. */
  async issuedBy(issuer: string, tenant: string, serial: string): Promise<StoredCertificate | null> {
    const record = await this.#opened().get(serial)
    return record?.tenant === tenant && record.issuer === issuer ? record : null
  }

  /** The certificate that a factory CA numbered so; null when none of it was let in. */
  async ofFactory(tenant: string, authority: string, serial: string): Promise<StoredCertificate | null> {
    const [record] = await this.#opened().find({ foreignSerial: serial, tenant, issuer: `factory:${authority}` }, { limit: 1 })
    return record ?? null
  }

  /** Revokes everything that came in by one claim or factory CA; answers how many were valid before. Repeating it ends what was cut off. */
  async revokeVia(tenant: string, via: string, reason: CrlReason): Promise<number> {
    let revoked = 0
    for (;;) {
      const page = await this.#opened().find({ via, state: 'valid', tenant }, { limit: REVOKED_AT_ONCE })
      await Promise.all(page.map(({ _id }) => this.revoke(tenant, _id, reason)))
      revoked += page.length
      if (page.length < REVOKED_AT_ONCE) return revoked
    }
  }

  /** How many that a CA signed are neither revoked nor expired; `issuer`: its key id. Over all tenants. */
  async countValid(issuer: string, nowMs: number): Promise<number> {
    return this.#opened().count(validBy(issuer, nowMs))
  }

  /** Some of those, of whichever tenants. */
  async validBy(issuer: string, nowMs: number, limit: number): Promise<StoredCertificate[]> {
    return this.#opened().find(validBy(issuer, nowMs), { limit })
  }

  /** What the CRL of a CA lists: revoked, and not yet expired at `nowMs` for longer than `graceMs`. `issuer`: its key id. RFC 5280 §5 */
  async revoked(issuer: string, nowMs: number, graceMs: number): Promise<CrlEntry[]> {
    const records = await this.#opened().find({ issuer, state: 'revoked', notAfter: { $gte: nowMs - graceMs } })
    return records.map((record) => ({ serial: record._id, revokedAtMs: record.revokedAt ?? record.issuedAt, reason: reasonOf(record) }))
  }

  /** For OCSP: what is known of a certificate of this CA. */
  async statusOf(issuer: string, serial: string): Promise<CertificateStatus> {
    const record = await this.#opened().get(serial)
    if (record === null || record.issuer !== issuer) return { status: 'unknown' }
    if (record.state === 'valid') return { status: 'good' }
    return { status: 'revoked', revokedAtMs: record.revokedAt ?? record.issuedAt, reason: reasonOf(record) }
  }

  async #announce(collection: Collection<CertificateRecord>, record: StoredCertificate): Promise<StoredCertificate> {
    const { clock, eventLog } = this.#options
    const { tenant, device } = record
    const key = deviceKey(tenant, device)
    const reason = reasonOf(record)
    const at = record.revokedAt ?? clock.nowMs()
    // Looked up after the record was written: of two revoked at once at least one finds none left.
    const isLast = (await this.#validOf(collection, tenant, device)) === undefined
    // The serial of a foreign one is a hash of the whole certificate, which names its issuer too.
    const issuer = record.foreignSerial === undefined ? { issuer: record.issuer } : {}
    const event: DeviceEvent = { event: 'certificate-revoked', tenant, device, serial: record._id, ...issuer, reason, at, isLast }
    const appended = [eventLog.append(TOPICS.deviceEvents, [{ key, schema: DEVICE_EVENT, value: jsonBytes(event) }])]
    if (isLast) {
      const cancelled: DownlinksCancelled = { tenant, device, reason, at }
      appended.push(eventLog.append(TOPICS.commands, [{ key, schema: DOWNLINKS_CANCELLED, value: jsonBytes(cancelled) }]))
    }
    await Promise.all(appended)
    // After the sessions: what is audited late is audited, what is closed late is not in time.
    await this.#audit(record)
    const result = await collection.update(record._id, { $set: { announced: true, isLast } })
    return result.status === 'written' ? result.document : record
  }

  /** Before the mark is set: a revocation cut short by a crash is recorded at the next start. */
  async #audit(record: StoredCertificate): Promise<void> {
    await this.#options.auditTrail?.record({
      tenant: record.tenant,
      actor: record.revokedBy ?? 'system',
      action: 'certificate.revoke',
      subject: { kind: 'certificate', id: record._id },
      device: record.device,
      why: reasonOf(record),
      before: { state: 'valid' },
      after: { state: 'revoked' },
    })
  }

  /** A certificate with which the device could still come in. */
  async #validOf(collection: Collection<CertificateRecord>, tenant: string, device: string): Promise<StoredCertificate | undefined> {
    const filter: Filter = { tenant, device, state: 'valid', notAfter: { $gte: this.#options.clock.nowMs() } }
    return (await collection.find(filter, { limit: 1 }))[0]
  }

  #opened(): Collection<CertificateRecord> {
    if (this.#collection === undefined) throw new InternalError('certificates are used before their start or after their stop')
    return this.#collection
  }
}

/** Records of before there could be several CAs do not name theirs: their certificates do. */
async function nameIssuers(collection: Collection<CertificateRecord>): Promise<void> {
  for (;;) {
    const nameless = await collection.find({ issuer: null }, { limit: NAMELESS_PAGE })
    for (const { _id, pem } of nameless) await collection.update(_id, { $set: { issuer: issuerKeyIdOf(pem) ?? '' } })
    if (nameless.length < NAMELESS_PAGE) return
  }
}

function validBy(issuer: string, nowMs: number): Filter {
  return { issuer, state: 'valid', notAfter: { $gt: nowMs } }
}

function isReason(text: string): text is CrlReason {
  return Object.hasOwn(CRL_REASONS, text)
}

function reasonOf(record: CertificateRecord): CrlReason {
  return record.reason !== null && isReason(record.reason) ? record.reason : 'unspecified'
}

function after(cursor: string): Filter {
  const match = /^(\d{1,16})-([0-9A-F]{1,40})$/.exec(cursor)
  if (match === null) throw new InvalidInputError('cursor: is not one that a list answered', { details: { field: 'cursor' } })
  const issuedAt = Number(match[1])
  // The bound beside the alternatives is what an index can use.
  return { issuedAt: { $lte: issuedAt }, $or: [{ issuedAt: { $lt: issuedAt } }, { issuedAt, _id: { $lt: match[2] } }] }
}
