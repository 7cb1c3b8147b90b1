import { compactVerify, importJWK } from 'jose'
import { AUDIT_CHECKPOINT, AuditCheckpointSchema, AuditEntrySchema, type AuditCheckpoint, type AuditEntry } from '../../contracts/audit.ts'
import type { PublicJwk } from '../../contracts/statement.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { describeError } from '../../kernel/errors.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { hashOf, NO_HASH } from './chain.ts'

/**
 * `altered`: an entry does not have the hash it carries. `missing`: a place is skipped. `out-of-order`: a place comes twice, or after a later
 * one (inserted, moved). `unlinked`: an entry does not follow from the one before it. `beginning`: the first entries are gone and no signed
 * cut says so. `end`: a signed checkpoint names a place behind the last entry. `checkpoint-disagrees`: the chain has another hash where a
 * checkpoint signed one. `checkpoint-forged`: not signed by a trusted key. `unsigned`: more than an hour of entries behind the last checkpoint.
 * `unreadable`: not a record at all.
 */
export type AuditFaultKind =
  | 'altered'
  | 'missing'
  | 'out-of-order'
  | 'unlinked'
  | 'beginning'
  | 'end'
  | 'checkpoint-disagrees'
  | 'checkpoint-forged'
  | 'unsigned'
  | 'unreadable'

export interface AuditFault {
  fault: AuditFaultKind
  /** Place in the chain; 0 where none can be told. */
  seq: number
  detail: string
}

export interface AuditReport {
  tenant: string | null
  entries: number
  firstSeq: number
  lastSeq: number
  /** Checkpoints that were signed by a trusted key and agree. */
  checkpoints: number
  /** Last place that a checkpoint covers: what lies behind it is chained, and not signed yet. */
  sealedThrough: number
  faultsTotal: number
  /** The first ones. */
  faults: AuditFault[]
}

const FAULTS_MAX = 100
/** Checkpoints about places behind the entries read so far; an export has one at most, a forger may write many. */
const AHEAD_MAX = 10_000
/** The platform signs every few seconds: so much behind the last checkpoint means that it does not sign, or that checkpoints were taken away. */
const UNSIGNED_MS_MAX = 3_600_000
const checkEntry = compileSchema(AuditEntrySchema)
const checkCheckpoint = compileSchema(AuditCheckpointSchema)

/**
 * Checks a trail record by record, oldest first, holding nothing but the end of the chain. It trusts only the keys it is given; every other
 * thing it is told may be forged.
 */
export class AuditVerifier {
  readonly #keys = new Map<string, PublicJwk>()
  readonly #faults: AuditFault[] = []
  #faultsTotal = 0
  #tenant: string | null = null
  #entries = 0
  #first: AuditEntry | undefined
  /** Highest place read, and the hash that its content has. */
  #seq = 0
  #hash = NO_HASH
  #checkpoints = 0
  #sealedThrough = 0
  /** The oldest entry behind the last checkpoint. */
  #unsigned: AuditEntry | undefined
  #lastAt = 0
  /** Cuts met before the first entry. */
  #cuts: AuditCheckpoint[] = []
  /** Checkpoints about places that are still to come. */
  #ahead: AuditCheckpoint[] = []

  constructor(keys: readonly PublicJwk[]) {
    for (const key of keys) this.#keys.set(key.kid, key)
  }

  takeEntry(value: unknown): void {
    const checked = checkEntry(value)
    if (checked.status === 'invalid') {
      const [fault] = checked.faults
      return this.#fault('unreadable', seqOf(value), `not an entry: ${fault?.path ?? ''} ${fault?.problem ?? ''}`)
    }
    const entry = checked.value
    this.#tenant ??= entry.tenant
    if (entry.tenant !== this.#tenant) return this.#fault('unreadable', entry.seq, `an entry of another tenant, ${entry.tenant}`)
    const hash = this.#contentHash(entry)
    if (hash === undefined) return
    this.#entries++
    if (hash !== entry.hash) this.#fault('altered', entry.seq, 'its content does not have the hash it carries')
    if (this.#first === undefined) this.#begin(entry)
    else if (entry.seq <= this.#seq) return this.#fault('out-of-order', entry.seq, `it stands behind entry ${this.#seq}`)
    else if (entry.seq > this.#seq + 1) this.#fault('missing', this.#seq + 1, `entries ${this.#seq + 1} to ${entry.seq - 1} are not there`)
    else if (entry.previousHash !== this.#hash) this.#fault('unlinked', entry.seq, 'it does not follow from the entry before it')
    this.#seq = entry.seq
    // What an altered entry says of itself is compared with what the next one says of it.
    this.#hash = entry.hash
    this.#unsigned ??= entry
    this.#lastAt = entry.at
    this.#compareAhead()
  }

  async takeCheckpoint(jws: unknown): Promise<void> {
    const checkpoint = await this.#opened(jws)
    if (checkpoint === undefined) return
    this.#tenant ??= checkpoint.tenant
    if (checkpoint.tenant !== this.#tenant)
      return this.#fault('unreadable', checkpoint.seq, `a checkpoint of another tenant, ${checkpoint.tenant}`)
    if (checkpoint.kind === 'cut') this.#cuts.push(checkpoint)
    if (checkpoint.seq === this.#seq) this.#compare(checkpoint)
    else if (checkpoint.seq > this.#seq && this.#ahead.length < AHEAD_MAX) this.#ahead.push(checkpoint)
    else if (checkpoint.seq < this.#seq)
      this.#fault('out-of-order', checkpoint.seq, `a checkpoint of entry ${checkpoint.seq} stands behind entry ${this.#seq}`)
  }

  finish(): AuditReport {
    for (const { seq } of this.#ahead) this.#fault('end', seq, `entry ${seq} was signed and is not there; the last one is ${this.#seq}`)
    const unsigned = this.#unsigned
    if (unsigned !== undefined && this.#lastAt - unsigned.at > UNSIGNED_MS_MAX) {
      this.#fault('unsigned', unsigned.seq, `no checkpoint covers entries ${unsigned.seq} to ${this.#seq}, more than an hour of them`)
    }
    return {
      tenant: this.#tenant,
      entries: this.#entries,
      firstSeq: this.#first?.seq ?? 0,
      lastSeq: this.#seq,
      checkpoints: this.#checkpoints,
      sealedThrough: this.#sealedThrough,
      faultsTotal: this.#faultsTotal,
      faults: this.#faults,
    }
  }

  noteUnreadable(detail: string): void {
    this.#fault('unreadable', 0, detail)
  }

  #begin(entry: AuditEntry): void {
    this.#first = entry
    if (entry.seq === 1) {
      if (entry.previousHash !== NO_HASH) this.#fault('unlinked', 1, 'the first entry must follow from nothing')
      return
    }
    // A cut that was cut short leaves entries before the place it names: the chain leads from them to the hash that was signed.
    const cut = this.#cuts.find(({ seq }) => seq >= entry.seq - 1)
    if (cut === undefined)
      this.#fault(
        'beginning',
        entry.seq,
        `entries 1 to ${entry.seq - 1} are not there, and no signed cut says that they were removed by age`,
      )
    else if (cut.seq === entry.seq - 1 && cut.hash !== entry.previousHash)
      this.#fault('unlinked', entry.seq, 'it does not follow from the signed cut')
    this.#ahead = this.#ahead.filter((ahead) => {
      if (ahead.seq >= entry.seq) return true
      this.#checkpoints += ahead.seq === entry.seq - 1 && ahead.hash === entry.previousHash ? 1 : 0
      return false
    })
  }

  #compareAhead(): void {
    const due = this.#ahead.filter(({ seq }) => seq <= this.#seq)
    if (due.length === 0) return
    this.#ahead = this.#ahead.filter(({ seq }) => seq > this.#seq)
    for (const checkpoint of due) {
      if (checkpoint.seq === this.#seq) this.#compare(checkpoint)
      else this.#fault('missing', checkpoint.seq, `entry ${checkpoint.seq} was signed and is not there`)
    }
  }

  #compare({ seq, hash }: AuditCheckpoint): void {
    if (hash !== this.#hash) return this.#fault('checkpoint-disagrees', seq, 'the chain has another hash here than was signed')
    this.#checkpoints++
    this.#sealedThrough = seq
    this.#unsigned = undefined
  }

  async #opened(jws: unknown): Promise<AuditCheckpoint | undefined> {
    try {
      const { payload, protectedHeader } = await compactVerify(
        String(jws),
        ({ kid }) => {
          const key = this.#keys.get(String(kid))
          if (key === undefined) throw new Error(`the key ${String(kid)} is not trusted`)
          return importJWK({ ...key }, 'EdDSA')
        },
        { algorithms: ['EdDSA'] },
      )
      const checked = checkCheckpoint(JSON.parse(utf8Text(payload)))
      if (protectedHeader.typ === AUDIT_CHECKPOINT && checked.status === 'valid') return checked.value
      this.#fault('checkpoint-forged', 0, 'what was signed is not a checkpoint')
    } catch (error) {
      this.#fault('checkpoint-forged', 0, describeError(error))
    }
    return undefined
  }

  #contentHash(entry: AuditEntry): string | undefined {
    try {
      return hashOf(entry)
    } catch (error) {
      this.#fault('unreadable', entry.seq, describeError(error))
      return undefined
    }
  }

  #fault(fault: AuditFaultKind, seq: number, detail: string): void {
    this.#faultsTotal++
    if (this.#faults.length < FAULTS_MAX) this.#faults.push({ fault, seq, detail })
  }
}

function seqOf(value: unknown): number {
  const seq = (value as { seq?: unknown } | null)?.seq
  return typeof seq === 'number' ? seq : 0
}
