import type { AuditCheckpoint, AuditEntry } from '../../contracts/audit.ts'
import type { PublicJwk } from '../../contracts/statement.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'

/**
 * Entries that became durable together. Its id names its first place: of several processes that append to the same end of the chain one
 * inserts, the others see a conflict and append behind it. So a chain neither forks nor has a gap, without a transaction.
 */
export interface AuditBlock {
  tenant: string
  firstSeq: number
  lastSeq: number
  lastHash: string
  /** Earliest and latest of its entries, epoch ms. */
  fromAt: number
  toAt: number
  /** What its entries are about, each once, to find the block by: kinds, and `KIND/ID`. */
  subjects: string[]
  actors: string[]
  actions: string[]
  entries: AuditEntry[]
}

export interface StoredCheckpoint extends AuditCheckpoint {
  jws: string
}

export interface StoredKey {
  createdAt: number
  jwk: PublicJwk
}

export interface AuditCollections {
  blocks: Collection<AuditBlock>
  checkpoints: Collection<StoredCheckpoint>
}

export async function openAuditCollections(documents: Documents): Promise<AuditCollections> {
  const blocks = await documents.collection<AuditBlock>({
    name: 'audit',
    indexes: [
      { name: 'by-place', paths: ['tenant', 'firstSeq'], unique: true },
      { name: 'by-subject', paths: ['tenant', 'subjects', 'firstSeq'] },
      { name: 'by-actor', paths: ['tenant', 'actors', 'firstSeq'] },
      { name: 'by-action', paths: ['tenant', 'actions', 'firstSeq'] },
      { name: 'by-time', paths: ['tenant', 'toAt'] },
    ],
  })
  const checkpoints = await documents.collection<StoredCheckpoint>({
    name: 'audit-checkpoints',
    indexes: [{ name: 'by-place', paths: ['tenant', 'kind', 'seq'] }],
  })
  return { blocks, checkpoints }
}

export function openKeys(documents: Documents): Promise<Collection<StoredKey>> {
  return documents.collection<StoredKey>({ name: 'statement-keys', indexes: [{ name: 'by-age', paths: ['createdAt'] }] })
}

/** Digits of a place in an id: ids then sort as the places do. */
const SEQ_DIGITS = 16

export function blockId(tenant: string, firstSeq: number): string {
  return `${tenant}/${String(firstSeq).padStart(SEQ_DIGITS, '0')}`
}

export function blockOf(entries: readonly AuditEntry[]): AuditBlock {
  const first = entries[0] as AuditEntry
  const last = entries.at(-1) as AuditEntry
  return {
    tenant: first.tenant,
    firstSeq: first.seq,
    lastSeq: last.seq,
    lastHash: last.hash,
    fromAt: Math.min(...entries.map(({ at }) => at)),
    toAt: Math.max(...entries.map(({ at }) => at)),
    subjects: [...new Set(entries.flatMap(subjectsOf))],
    actors: [...new Set(entries.map(({ actor }) => actor))],
    actions: [...new Set(entries.map(({ action }) => action))],
    entries: [...entries],
  }
}

/** Terms by which an entry is found. */
export function subjectsOf({ subject, device }: AuditEntry): string[] {
  return [subject.kind, `${subject.kind}/${subject.id}`, ...(device === undefined ? [] : [`device/${device}`])]
}
