import type { LedgerCounts } from '../api/types.ts'

/** Acknowledged readings whose fate is not settled yet: received, but neither stored nor rejected nor known as a duplicate. */
export function onTheWay(counts: LedgerCounts): number {
  return counts.received - counts.stored - counts.rejected - counts.duplicate
}
