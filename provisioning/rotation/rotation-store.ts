import { CERTIFICATES_COLLECTION, type CertificateRecord, type Rotation } from '../../contracts/certificate.ts'
import { InternalError } from '../../kernel/errors.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { Followed } from './rotation-plan.ts'

export type StoredFollowed = Followed & Stored

const SPEC = {
  name: CERTIFICATES_COLLECTION,
  indexes: [
    { name: 'by-device', paths: ['tenant', 'device', 'issuedAt'] },
    { name: 'by-look', paths: ['rotation.lookAt'] },
    { name: 'by-replaced', paths: ['replaces'] },
    { name: 'by-end', paths: ['tenant', 'state', 'notAfter'] },
    { name: 'by-state', paths: ['state', 'notAfter'] },
  ],
} as const

/** Alerts are open for certificates in these stages. */
const ALARMED = ['late', 'ended']

/** Certificates as their rotation needs them; every change is a compare-and-set. */
export class RotationStore {
  readonly #documents: Documents
  #collection: Collection<CertificateRecord> | undefined

  constructor(documents: Documents) {
    this.#documents = documents
  }

  async open(): Promise<void> {
    this.#collection ??= await this.#documents.collection<CertificateRecord>(SPEC)
  }

  close(): void {
    this.#collection = undefined
  }

  /** Null also for one whose rotation is not followed. */
  async get(serial: string): Promise<StoredFollowed | null> {
    const record = await this.#opened.get(serial)
    return record !== null && isFollowed(record) ? record : null
  }

  /** Those with a step due, the longest waiting first. */
  async due(nowMs: number, limit: number): Promise<StoredFollowed[]> {
    return followed(await this.#opened.find({ 'rotation.lookAt': { $lte: nowMs } }, { sort: { 'rotation.lookAt': 1 }, limit }))
  }

  /** False when somebody else changed it since it was read. */
  async change(record: StoredFollowed, rotation: Rotation): Promise<boolean> {
    return (await this.#opened.update(record._id, { $set: { rotation } }, record.version)).status === 'written'
  }

  /** Has the device a certificate that was issued later and is valid for longer? */
  async hasSuccessor({ tenant, device, issuedAt, notAfter, serial }: CertificateRecord): Promise<boolean> {
    const later = { tenant, device, state: 'valid', issuedAt: { $gte: issuedAt }, notAfter: { $gt: notAfter }, serial: { $ne: serial } }
    return (await this.#opened.count(later)) > 0
  }

  /** The device's certificates about which operators were alerted. */
  async alarmed(tenant: string, device: string): Promise<StoredFollowed[]> {
    return followed(await this.#opened.find({ tenant, device, 'rotation.stage': { $in: ALARMED } }))
  }

  /** Certificates issued in the place of one, the oldest first. */
  async replacementsOf(tenant: string, serial: string): Promise<(CertificateRecord & Stored)[]> {
    return this.#opened.find({ replaces: serial, tenant }, { sort: { issuedAt: 1 } })
  }

  /** Certificates of earlier versions, which nobody follows yet. */
  async unfollowed(limit: number): Promise<(CertificateRecord & Stored)[]> {
    return this.#opened.find({ state: 'valid', rotation: null }, { limit })
  }

  async follow(record: CertificateRecord & Stored, rotation: Rotation): Promise<void> {
    await this.#opened.update(record._id, { $set: { replaces: null, rotation } }, record.version)
  }

  /** Valid certificates that have no successor yet and end from `fromMs` until before `untilMs`; of one tenant, or of all. */
  async countEnding(tenant: string | undefined, fromMs: number, untilMs: number): Promise<number> {
    return this.#opened.count({ ...waiting(tenant), notAfter: { $gte: fromMs, $lt: untilMs } })
  }

  /** Those that end first. */
  async soonest(tenant: string, limit: number): Promise<StoredFollowed[]> {
    return followed(await this.#opened.find(waiting(tenant), { sort: { notAfter: 1, _id: 1 }, limit }))
  }

  /** How many certificates of a tenant are in each of these stages. */
  async countInStage(tenant: string | undefined, stage: Rotation['stage']): Promise<number> {
    return this.#opened.count({ ...(tenant === undefined ? {} : { tenant }), state: 'valid', 'rotation.stage': stage })
  }

  get #opened(): Collection<CertificateRecord> {
    if (this.#collection === undefined) throw new InternalError('the rotation of certificates is used before its start or after its stop')
    return this.#collection
  }
}

function waiting(tenant: string | undefined): Record<string, unknown> {
  return { ...(tenant === undefined ? {} : { tenant }), state: 'valid', 'rotation.stage': { $ne: 'closed' } }
}

function isFollowed(record: CertificateRecord & Stored): record is StoredFollowed {
  return record.rotation !== undefined && record.rotation !== null
}

function followed(records: readonly (CertificateRecord & Stored)[]): StoredFollowed[] {
  return records.filter(isFollowed)
}
