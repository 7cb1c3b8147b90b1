import type { CollectionSpec } from '../storage/documents/documents.ts'

/** One device and hour of receipt. Numbers only grow, so that a process that lost the device cannot take anything away. */
export interface LedgerHourDocument {
  tenant: string
  device: string
  /** Start of the hour of receipt, epoch ms. */
  hour: number
  stored: number
  rejected: number
  late: number
  duplicate: number
  rejectedByReason: Record<string, number>
  /** By part and boot; see `spanKey`. */
  spans: Record<string, SeqSpan>
  /** More boots were seen in this hour than are listed. */
  bootsTruncated?: boolean
}
export const LEDGER_HOURS: CollectionSpec = { name: 'ledger', indexes: [{ name: 'device-hour', paths: ['tenant', 'device', 'hour'] }] }

/** Sequence numbers of one boot that were received in one hour. */
export interface SeqSpan {
  boot: string
  /** Largest number of the boot that was received before; null where none is remembered. Numbers missing between the two belong to this hour. */
  seqBefore: number | null
  firstSeq: number
  lastSeq: number
}

/** Numbers a device never sent, or that were lost before us, by boot: one document per device, because a gap may be filled hours later. */
export interface LedgerGapsDocument {
  tenant: string
  device: string
  partition: number
  /** Readings and rejected readings that this covers, in offsets: an older owner's must not replace a newer one's. */
  position: number
  boots: BootGaps[]
}
export const LEDGER_GAPS: CollectionSpec = { name: 'ledger-gaps', indexes: [{ name: 'device', paths: ['tenant', 'device'] }] }

export interface BootGaps {
  boot: string
  gaps: { from: number; to: number }[]
  /** Gaps closed over to hold `processing.sequenceRangesMax`: their numbers count as received. */
  unreportedGaps: number
}

/** Fleet totals of one tenant in one partition of the readings topic; `stored` counts durable rows only. */
export interface LedgerSummary {
  tenant: string
  partition: number
  /** As in LedgerGapsDocument. */
  position: number
  received: number
  stored: number
  rejected: number
  late: number
  duplicate: number
  missing: number
}
export const LEDGER_SUMMARY: CollectionSpec = { name: 'ledger-summary', indexes: [] }

/** A document key for any boot: no path's dots and dollars, no names such as `__proto__`. */
export function spanKey(part: string, boot: string): string {
  return `${part}:${Buffer.from(boot).toString('base64url')}`
}

/** What an hour shows of one boot. */
export interface HourBoot {
  boot: string
  firstSeq: number
  lastSeq: number
  missing: number
  missingRanges: { from: number; to: number }[]
  unreportedGaps: number
}

/** First, last and missing numbers per boot of an hour, from its spans and the device's gaps as they are now. */
export function bootsOfHour(spans: Readonly<Record<string, SeqSpan>>, gapsOfBoot: (boot: string) => BootGaps | undefined): HourBoot[] {
  const byBoot = new Map<string, SeqSpan[]>()
  for (const span of Object.values(spans)) byBoot.set(span.boot, [...(byBoot.get(span.boot) ?? []), span])
  return Array.from(byBoot, ([boot, parts]) => {
    const known = gapsOfBoot(boot)
    // A gap lies between two numbers that were received: it is of the hour in which the upper one became the largest.
    const missingRanges = (known?.gaps ?? []).filter(({ from, to }) =>
      parts.some(({ seqBefore, lastSeq }) => (seqBefore ?? -1) < from && to < lastSeq),
    )
    return {
      boot,
      firstSeq: Math.min(...parts.map((span) => span.firstSeq)),
      lastSeq: Math.max(...parts.map((span) => span.lastSeq)),
      missing: missingRanges.reduce((sum, { from, to }) => sum + to - from + 1, 0),
      missingRanges,
      unreportedGaps: known?.unreportedGaps ?? 0,
    }
  })
}
