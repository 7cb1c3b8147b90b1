import { InternalError } from '../kernel/errors.ts'
import type { Collection, Documents } from '../storage/documents/documents.ts'
import type { DeviceIdentity } from './identity.ts'
import { SHARED_DOCUMENT, type LedgerHour, type LedgerPart } from './ledger.ts'
import { LEDGER_GAPS, LEDGER_HOURS, LEDGER_SUMMARY, spanKey } from './ledger-documents.ts'
import type { BootGaps, LedgerGapsDocument, LedgerHourDocument, LedgerSummary } from './ledger-documents.ts'

/** Boots of one device whose gaps are kept, the latest; with `processing.sequenceRangesMax` it bounds the document. */
const BOOTS_WITH_GAPS_MAX = 64
/** A write that others overtook so often in a row meets something that is not the hand-over of a partition. */
const RACES_MAX = 10
/** Hours written in one commit: it is done in a few ms. */
const HOURS_PER_COMMIT = 250

/** A device as its documents name it. */
export interface LedgerDevice {
  readonly key: string
  readonly tenant: string
  readonly device: string
  readonly partition: number
}

/** An hour to be written. */
export interface HourRaise {
  readonly state: LedgerDevice
  readonly hour: LedgerHour
}

/**
 * The ledger's documents. Two processes may write about one device for a moment, while its partition goes from one to the other: whatever the
 * order, the numbers of the one that got further stay.
 */
export class LedgerStore {
  readonly #documents: Documents
  #hours: Collection<LedgerHourDocument> | undefined
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

  /** Raises the numbers of hours to these, which are absolute: repeated or outdated, it changes nothing. */
  async raiseHours(raises: readonly HourRaise[]): Promise<void> {
    for (let at = 0; at < raises.length; at += HOURS_PER_COMMIT) await this.#raiseSome(raises.slice(at, at + HOURS_PER_COMMIT))
  }

  /** An hour whose document only this part wrote is written from memory alone; where that turns out wrong, it is read and raised. */
  async #raiseSome(raises: readonly HourRaise[]): Promise<void> {
    const alone = raises.filter(({ hour }) => hour.documentVersion !== SHARED_DOCUMENT)
    const saves = alone.map(({ state, hour }) => ({
      id: hourId(state, hour),
      version: hour.documentVersion,
      document: raised(freshHour(state, hour.hour), hour),
    }))
    const answers = await opened(this.#hours).saveMany(saves)
    const others = raises.filter(({ hour }) => hour.documentVersion === SHARED_DOCUMENT)
    for (const [index, raise] of alone.entries()) {
      if (answers[index] === 'written') raise.hour.documentVersion++
      else others.push(raise)
    }
    await Promise.all(others.map((raise) => this.#raiseHour(raise)))
  }

  async #raiseHour({ state, hour }: HourRaise): Promise<void> {
    const hours = opened(this.#hours)
    const id = hourId(state, hour)
    for (let race = 0; race < RACES_MAX; race++) {
      const known = await hours.get(id)
      const document = raised(known ?? freshHour(state, hour.hour), hour)
      const result = known === null ? await hours.insert(id, document) : await hours.replace(id, known.version, document)
      if (result.status === 'written') {
        hour.documentVersion = isOf(hour.part, result.document) ? result.document.version : SHARED_DOCUMENT
        return
      }
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

function hourId({ key }: LedgerDevice, { hour }: LedgerHour): string {
  return `${key}/${hour}`
}

/** Is nothing of the other part in it? */
function isOf(part: LedgerPart, { stored, rejected, late, duplicate, spans }: LedgerHourDocument): boolean {
  const numbers = part === 'readings' ? rejected : stored + late + duplicate
  return numbers === 0 && Object.keys(spans).every((key) => key.startsWith(`${part}:`))
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
