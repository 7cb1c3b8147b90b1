import { createHash } from 'node:crypto'
import type { AuditEntry } from '../../contracts/audit.ts'
import { canonicalJson } from '../../kernel/canonical-json.ts'

/** `previousHash` of a tenant's first entry. */
export const NO_HASH = '0'.repeat(64)

/** Where a chain ends. */
export interface ChainHead {
  seq: number
  hash: string
}
export const EMPTY_CHAIN: ChainHead = { seq: 0, hash: NO_HASH }

/** An entry before it has its place. */
export type LooseEntry = Omit<AuditEntry, 'seq' | 'previousHash' | 'hash'>

/** The hash of an entry: over all that it says, itself left out. */
export function hashOf(entry: Omit<AuditEntry, 'hash'> & { hash?: string }): string {
  const { hash: _hash, ...content } = entry
  return createHash('sha256').update(canonicalJson(content)).digest('hex')
}

/** Appends entries to a chain; answers them with their places. */
export function link(head: ChainHead, entries: readonly LooseEntry[]): AuditEntry[] {
  let { seq, hash } = head
  return entries.map((loose) => {
    const placed = { ...loose, seq: ++seq, previousHash: hash }
    hash = hashOf(placed)
    return { ...placed, hash }
  })
}
