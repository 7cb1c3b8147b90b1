import type { AuditEntry, AuditOutcome } from '../../contracts/audit.ts'
import type { Collection, Filter } from '../../storage/documents/documents.ts'
import { subjectsOf, type AuditBlock, type AuditCollections, type StoredCheckpoint } from './documents.ts'

export interface AuditQuery {
  tenant: string
  /** `KIND` or `KIND/ID`. */
  subject?: string
  actor?: string
  action?: string
  outcome?: AuditOutcome
  /** Epoch ms, both inclusive. */
  from?: number
  to?: number
  /** Page size, at least 1. */
  limit: number
  /** Only entries before this place. */
  before?: number
}

/** Blocks fetched at once: at most some hundred entries each. */
const BLOCKS_AT_ONCE = 10
/** Blocks looked through for one page; a page may then have fewer entries and still a next one. */
const BLOCKS_PER_PAGE_MAX = 200

/** Newest first. `next` is the place before which the next page begins. */
export async function listEntries(
  blocks: Collection<AuditBlock>,
  query: AuditQuery,
): Promise<{ items: AuditEntry[]; next: number | null }> {
  const items: AuditEntry[] = []
  let before = query.before ?? Number.MAX_SAFE_INTEGER
  for (let looked = 0; looked < BLOCKS_PER_PAGE_MAX; looked += BLOCKS_AT_ONCE) {
    const found = await blocks.find(blockFilter(query, before), { sort: { firstSeq: -1 }, limit: BLOCKS_AT_ONCE })
    for (const { entries } of found) {
      for (const entry of entries.toReversed()) {
        if (entry.seq >= before || !isWanted(entry, query)) continue
        if (items.length === query.limit) return { items, next: (items.at(-1) as AuditEntry).seq }
        items.push(entry)
      }
    }
    const last = found.at(-1)
    if (last === undefined || found.length < BLOCKS_AT_ONCE) return { items, next: null }
    before = last.firstSeq
  }
  return { items, next: before }
}

function blockFilter({ tenant, subject, actor, action, from, to }: AuditQuery, before: number): Filter {
  return {
    tenant,
    firstSeq: { $lt: before },
    ...(subject === undefined ? {} : { subjects: subject }),
    ...(actor === undefined ? {} : { actors: actor }),
    ...(action === undefined ? {} : { actions: action }),
    ...(from === undefined ? {} : { toAt: { $gte: from } }),
    ...(to === undefined ? {} : { fromAt: { $lte: to } }),
  }
}

function isWanted(entry: AuditEntry, { subject, actor, action, outcome, from, to }: AuditQuery): boolean {
  return (
    (subject === undefined || subjectsOf(entry).includes(subject)) &&
    (actor === undefined || entry.actor === actor) &&
    (action === undefined || entry.action === action) &&
    (outcome === undefined || entry.outcome === outcome) &&
    (from === undefined || entry.at >= from) &&
    (to === undefined || entry.at <= to)
  )
}

/** One line of an export: an entry, or a signed checkpoint where it stands in the chain. */
export type ExportedRecord = { kind: 'entry'; entry: AuditEntry } | { kind: 'checkpoint'; jws: string }

/** The whole trail of a tenant, oldest first, with every checkpoint behind the place that it is about. Holds some blocks at a time. */
export async function* exportRecords({ blocks, checkpoints }: AuditCollections, tenant: string): AsyncGenerator<ExportedRecord> {
  let after = 0
  let sealed: number | undefined
  for (;;) {
    const found = await blocks.find({ tenant, firstSeq: { $gt: after } }, { sort: { firstSeq: 1 }, limit: BLOCKS_AT_ONCE })
    if (found.length === 0) break
    // A cut is signed before anything is removed: asked for after the first entries, it is there.
    if (after === 0)
      for (const { jws } of await checkpoints.find({ tenant, kind: 'cut' }, { sort: { seq: 1 } })) yield { kind: 'checkpoint', jws }
    after = (found.at(-1) as AuditBlock).firstSeq
    const through = (found.at(-1) as AuditBlock).lastSeq
    const seals = await headsBetween(checkpoints, tenant, sealed ?? (found[0] as AuditBlock).firstSeq - 1, through)
    sealed = through
    for (const { entries } of found) {
      for (const entry of entries) {
        yield { kind: 'entry', entry }
        while (seals[0] !== undefined && seals[0].seq <= entry.seq)
          yield { kind: 'checkpoint', jws: (seals.shift() as StoredCheckpoint).jws }
      }
    }
    for (const { jws } of seals) yield { kind: 'checkpoint', jws }
  }
  // A checkpoint behind the last entry says that entries are missing.
  for (const { jws } of await headsBetween(checkpoints, tenant, sealed ?? 0, Number.MAX_SAFE_INTEGER)) yield { kind: 'checkpoint', jws }
}

function headsBetween(
  checkpoints: Collection<StoredCheckpoint>,
  tenant: string,
  after: number,
  through: number,
): Promise<StoredCheckpoint[]> {
  return checkpoints.find({ tenant, kind: 'head', seq: { $gt: after, $lte: through } }, { sort: { seq: 1 } })
}
