import { InternalError } from '../kernel/errors.ts'
import type { Collection, Documents, Stored } from '../storage/documents/documents.ts'
import type { DeviceIdentity } from './identity.ts'
import type { LedgerHour } from './ledger.ts'
import { LEDGER_GAPS, LEDGER_HOURS, LEDGER_SUMMARY, spanKey } from './ledger-documents.ts'
import type { BootGaps, LedgerGapsDocument, LedgerHourDocument, LedgerSummary } from './ledger-documents.ts'

/** Boots of one device whose gaps are kept, the latest; with `processing.sequenceRangesMax` it bounds the document. */
const BOOTS_WITH_GAPS_MAX = 64
/** A write that others overtook so often in a row meets something that is not the hand-over of a partition. */
const RACES_MAX = 10

/** Hours remembered as they were written, about 500 bytes each. */
const HOURS_KNOWN_MAX = 10_000

/** A device as its documents name it. */
export interface LedgerDevice {
  readonly key: string
  readonly tenant: string
  readonly device: string
  readonly partition: number
}

/**
 * The ledger's documents. Two processes may write about one device for a moment, while its partition goes from one to the other: whatever the
 * order, the numbers of the one that got further stay.
 */
export class LedgerStore {
  readonly #documents: Documents
  #hours: Collection<LedgerHourDocument> | undefined
  /** Hours as they were written last, the latest ones: the next write needs not read them. */
  readonly #known = new Map<LedgerHour, LedgerHourDocument & Stored>()
  #gaps: Collection<LedgerGapsDocument> | undefined
  #summaries: Collection<LedgerSummary> | undefined

  constructor(documents: Documents) {
    this.#documents = documents
  }

  async start(): Promise<void> {
    this.#hours = await this.#documents.collection<LedgerHourDocument>(LEDGER_HOURS)
    this.#gaps = await this.#documents.collection<LedgerGapsDocument>(LEDGER_GAPS)
    this.#summaries = await this.#documents.collection<LedgerSummary>(LEDGER_SUMMARY)
  }

  /** Raises the hour's numbers to these, which are absolute: repeated or outdated, it changes nothing. */
  async raiseHour(device: LedgerDevice, hour: LedgerHour): Promise<void> {
    const hours = opened(this.#hours)
    const id = `${device.key}/${hour.hour}`
    let known = this.#known.get(hour) ?? (await hours.get(id))
    for (let race = 0; race < RACES_MAX; race++) {
      const document = raised(known ?? freshHour(device, hour.hour), hour)
      const result = known === null ? await hours.insert(id, document) : await hours.replace(id, known.version, document)
      if (result.status === 'written') {
        this.#remember(hour, result.document)
        return
      }
      known = await hours.get(id)
    }
    throw new InternalError(`the ledger's entry ${id} is written without end`)
  }

  /** Replaces what is known of the device's gaps, unless what is stored covers more. Gaps of boots that are no longer held stay. */
  async putGaps(device: LedgerDevice, position: number, held: readonly BootGaps[]): Promise<void> {
    const gaps = opened(this.#gaps)
    const { key, tenant, device: name, partition } = device
    for (let race = 0; race < RACES_MAX; race++) {
      const stored = await gaps.get(key)
      if (stored !== null && stored.partition === partition && stored.position > position) return
      const others = (stored?.boots ?? []).filter(({ boot }) => !held.some((other) => other.boot === boot))
      const boots = [...others, ...held].filter((boot) => boot.gaps.length > 0 || boot.unreportedGaps > 0).slice(-BOOTS_WITH_GAPS_MAX)
      if (stored === null && boots.length === 0) return
      const document = { tenant, device: name, partition, position, boots }
      const result = stored === null ? await gaps.insert(key, document) : await gaps.replace(key, stored.version, document)
      if (result.status === 'written') return
    }
    throw new InternalError(`the gaps of ${key} are written without end`)
  }

  #remember(hour: LedgerHour, document: LedgerHourDocument & Stored): void {
    this.#known.delete(hour)
    this.#known.set(hour, document)
    if (this.#known.size <= HOURS_KNOWN_MAX) return
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest)
      return
    }
  }

  /** Answers `behind` when the stored one covers more: this process lost the partition, or has not caught up with its last owner yet. */
  async putSummary(summary: LedgerSummary): Promise<'written' | 'behind'> {
    const summaries = opened(this.#summaries)
    const id = `${summary.tenant}/${summary.partition}`
    for (let race = 0; race < RACES_MAX; race++) {
      const stored = await summaries.get(id)
      if (stored !== null && (stored.position ?? 0) > summary.position) return 'behind'
      const result = stored === null ? await summaries.insert(id, summary) : await summaries.replace(id, stored.version, summary)
      if (result.status === 'written') return 'written'
    }
    throw new InternalError(`the ledger's summary ${id} is written without end`)
  }
}

function freshHour({ tenant, device }: LedgerDevice, hour: number): LedgerHourDocument {
  return { tenant, device, hour, stored: 0, rejected: 0, late: 0, duplicate: 0, rejectedByReason: {}, spans: {} }
}

/** The larger of each number, and the wider of each span. */
function raised(known: LedgerHourDocument, hour: LedgerHour): LedgerHourDocument {
  const rejectedByReason = { ...known.rejectedByReason }
  for (const [reason, count] of Object.entries(hour.rejectedByReason))
    rejectedByReason[reason] = Math.max(rejectedByReason[reason] ?? 0, count)
  const spans = { ...known.spans }
  for (const span of hour.spans) {
    const key = spanKey(hour.part, span.boot)
    const before = spans[key]
    const firstSeq = Math.min(before?.firstSeq ?? span.firstSeq, span.firstSeq)
    spans[key] = { ...span, firstSeq, lastSeq: Math.max(before?.lastSeq ?? span.lastSeq, span.lastSeq) }
  }
  return {
    tenant: known.tenant,
    device: known.device,
    hour: known.hour,
    stored: Math.max(known.stored, hour.stored),
    rejected: Math.max(known.rejected, hour.rejected),
    late: Math.max(known.late, hour.late),
    duplicate: Math.max(known.duplicate, hour.duplicate),
    rejectedByReason,
    spans,
    ...(known.bootsTruncated === true || hour.bootsTruncated ? { bootsTruncated: true } : {}),
  }
}

/** The gaps of the boots that a device's state holds. */
export function gapsOf(identity: DeviceIdentity): BootGaps[] {
  return Array.from(identity.boots, ([boot, ranges]) => ({ boot, gaps: ranges.gaps(), unreportedGaps: ranges.joinedGaps }))
}

function opened<T extends object>(collection: Collection<T> | undefined): Collection<T> {
  if (collection === undefined) throw new TypeError('LedgerStore.start was not called')
  return collection
}
