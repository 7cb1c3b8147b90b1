import type { Clock } from '../kernel/time.ts'
import { sizeOf, type NumberRange } from './number-set.ts'
import { StoredReadings, type StoredRow } from './stored-readings.ts'

/** The operator API, as an outsider sees the platform. */
export interface ApiView {
  get<T>(path: string): Promise<T>
}

export interface LedgerBoot {
  boot: string
  firstSeq: number
  lastSeq: number
  missingRanges: NumberRange[]
  unreportedGaps: number
}

/** An entry of `GET /ledger`. */
export interface LedgerHourView {
  device: string
  hour: number
  acked: number
  rejected: number
  duplicate: number
  missing: number
  boots: LedgerBoot[]
}

export interface Fault {
  device: string
  /**
   * `unaccounted`: acknowledged, and neither stored nor rejected nor a duplicate. `surplus`: stored, and not acknowledged. `stored-twice`: an
   * identity with two rows. `lost`: a number the ledger says was received, and the store does not have. `not-missing`: a number the ledger calls
   * missing, and the store has.
   */
  fault: 'unaccounted' | 'surplus' | 'stored-twice' | 'lost' | 'not-missing'
  count: number
  /** Start of the hour of receipt, epoch ms. */
  hour?: number
  boot?: string
  from?: number
  to?: number
}

export interface DeviceCheck {
  acked: number
  stored: number
  rejected: number
  duplicate: number
  missing: number
  /** Rows whose number is larger than that of a row with a later event time: how the device sent them, no fault. */
  disordered: number
  faults: Fault[]
}

/** Hours looked at: those that begin at or after `from` and before `to`, epoch ms. */
export interface HourRange {
  from: number
  to: number
}

interface Page<T> {
  items: T[]
  next: string | null
}

export interface CheckOptions {
  api: ApiView
  clock: Clock
  device: string
  range: HourRange
  /** Called with numbers of rows as they are read. */
  onRows: (rows: number) => void
}

const PAGE_ITEMS = 1_000
/** The ledger's hours are written about every second, and later under load: younger readings may be stored and not in it yet, in ms. */
const LEDGER_AGE_MS = 5_000

/** Every item of a list, page by page. */
export async function* listed<T>(api: ApiView, path: string): AsyncGenerator<T> {
  let cursor = ''
  for (;;) {
    const page = await api.get<Page<T>>(`${path}${path.includes('?') ? '&' : '?'}limit=${PAGE_ITEMS}${cursor}`)
    yield* page.items
    if (page.next === null) return
    cursor = `&cursor=${encodeURIComponent(page.next)}`
  }
}

async function hoursOf(api: ApiView, device: string): Promise<Map<number, LedgerHourView>> {
  const hours = new Map<number, LedgerHourView>()
  for await (const hour of listed<LedgerHourView>(api, `/ledger?device=${encodeURIComponent(device)}`)) hours.set(hour.hour, hour)
  return hours
}

/**
 * Recounts one device from what is stored, and compares with what its ledger says. The ledger is read before and after the store: while readings
 * come in, the truth lies between the two. Holds the device's hours and the ranges of its numbers, never its readings.
 */
export async function checkDevice(options: CheckOptions): Promise<DeviceCheck> {
  const { api, clock, device, range, onRows } = options
  const before = await hoursOf(api, device)
  const stored = new StoredReadings(clock.nowMs() - LEDGER_AGE_MS)
  for await (const row of listed<StoredRow>(api, `/readings?device=${encodeURIComponent(device)}`)) {
    stored.add(row)
    if (stored.rows % PAGE_ITEMS === 0) onRows(PAGE_ITEMS)
  }
  onRows(stored.rows % PAGE_ITEMS)
  const after = await hoursOf(api, device)
  const inRange = (hour: number): boolean => hour >= range.from && hour < range.to
  const faults = [...countFaults(device, before, after, stored, inRange)]
  for (const { boot, from, to } of stored.twice) faults.push({ device, fault: 'stored-twice', boot, from, to, count: to - from + 1 })
  faults.push(...(await seqFaults(api, device, before, after, stored, range)))
  const seen = [...before.values()].filter(({ hour }) => inRange(hour))
  const sum = (pick: (hour: LedgerHourView) => number): number => seen.reduce((total, hour) => total + pick(hour), 0)
  return {
    acked: sum(({ acked }) => acked),
    stored: [...stored.byHour].reduce((total, [hour, rows]) => total + (inRange(hour) ? rows : 0), 0),
    rejected: sum(({ rejected }) => rejected),
    duplicate: sum(({ duplicate }) => duplicate),
    missing: sum(({ missing }) => missing),
    disordered: stored.disordered,
    faults,
  }
}

type Hours = ReadonlyMap<number, LedgerHourView>

/** acknowledged − stored − rejected − duplicate, hour by hour, with `stored` counted from the store. */
function* countFaults(
  device: string,
  before: Hours,
  after: Hours,
  stored: StoredReadings,
  inRange: (hour: number) => boolean,
): Generator<Fault> {
  for (const hour of new Set([...before.keys(), ...stored.byHour.keys()])) {
    if (!inRange(hour)) continue
    const rows = stored.byHour.get(hour) ?? 0
    const least = owed(before.get(hour))
    const most = owed(after.get(hour))
    if (rows < least) yield { device, fault: 'unaccounted', hour, count: least - rows }
    const settled = stored.settledByHour.get(hour) ?? 0
    if (settled > most) yield { device, fault: 'surplus', hour, count: settled - most }
  }
}

function owed(hour: LedgerHourView | undefined): number {
  return hour === undefined ? 0 : hour.acked - hour.rejected - hour.duplicate
}

/** Numbers by boot: what the ledger says was received is stored or was rejected, and what it calls missing is not there. */
async function seqFaults(
  api: ApiView,
  device: string,
  before: Hours,
  after: Hours,
  stored: StoredReadings,
  range: HourRange,
): Promise<Fault[]> {
  const faults: Fault[] = []
  const unexplained = new Map<string, NumberRange[]>()
  for (const [boot, seen] of bootsOf(before, range)) {
    const numbers = stored.numbersOf(boot)
    const missing = bootsOf(after, range).get(boot)?.missing ?? []
    for (const gap of missing) {
      for (const { from, to } of numbers.within(gap)) faults.push({ device, fault: 'not-missing', boot, from, to, count: to - from + 1 })
    }
    if (seen.unreportedGaps > 0 || seen.from > seen.to) continue
    const absent = numbers.absentIn(seen).flatMap((gap) => without(gap, seen.missing))
    if (absent.length > 0) unexplained.set(boot, absent)
  }
  for (const [boot, ranges] of await withoutRejected(api, device, before, unexplained)) {
    for (const { from, to } of ranges) faults.push({ device, fault: 'lost', boot, from, to, count: to - from + 1 })
  }
  return faults
}

interface BootSeen extends NumberRange {
  missing: NumberRange[]
  unreportedGaps: number
}

/** What all hours together say of each boot; numbers of hours before and after the range are left out. */
function bootsOf(hours: Hours, range: HourRange): Map<string, BootSeen> {
  const boots = new Map<string, BootSeen>()
  for (const { hour, boots: listedBoots } of hours.values()) {
    for (const { boot, firstSeq, lastSeq, missingRanges, unreportedGaps } of listedBoots) {
      const seen = boots.get(boot) ?? { from: Infinity, to: -1, missing: [], unreportedGaps }
      if (hour >= range.from && hour < range.to) {
        seen.from = Math.min(seen.from, firstSeq)
        seen.to = Math.max(seen.to, lastSeq)
      }
      seen.missing.push(...missingRanges)
      boots.set(boot, seen)
    }
  }
  for (const { hour, boots: listedBoots } of hours.values()) {
    for (const { boot, firstSeq, lastSeq } of listedBoots) {
      const seen = boots.get(boot)
      if (hour < range.from && seen !== undefined) seen.from = Math.max(seen.from, lastSeq + 1)
      if (hour >= range.to && seen !== undefined && firstSeq > seen.from) seen.to = Math.min(seen.to, firstSeq - 1)
    }
  }
  for (const seen of boots.values()) seen.missing.sort((a, b) => a.from - b.from)
  return boots
}

/** The parts of a range outside of others, which are sorted. */
function without(range: NumberRange, others: readonly NumberRange[]): NumberRange[] {
  const rest: NumberRange[] = []
  let from = range.from
  for (const other of others) {
    if (other.to < from) continue
    if (other.from > range.to) break
    if (other.from > from) rest.push({ from, to: other.from - 1 })
    from = other.to + 1
  }
  if (from <= range.to) rest.push({ from, to: range.to })
  return rest
}

/** Takes away the numbers of rejected readings. Their topic forgets: what it no longer holds is believed, up to the ledger's count. */
async function withoutRejected(api: ApiView, device: string, hours: Hours, unexplained: ReadonlyMap<string, NumberRange[]>) {
  let unseen = [...hours.values()].reduce((sum, { rejected }) => sum + rejected, 0)
  if (unexplained.size === 0 || unseen === 0) return unexplained
  const left = new Map(unexplained)
  for await (const rejected of listed<{ boot?: string | null; seq?: number | null }>(
    api,
    `/rejected?device=${encodeURIComponent(device)}`,
  )) {
    unseen--
    const { boot, seq } = rejected
    const ranges = left.get(boot ?? '')
    if (ranges === undefined || seq === undefined || seq === null) continue
    left.set(
      boot ?? '',
      ranges.flatMap((range) => without(range, [{ from: seq, to: seq }])),
    )
  }
  const lost = [...left.values()].reduce((sum, ranges) => sum + sizeOf(ranges), 0)
  return lost <= unseen ? new Map<string, NumberRange[]>() : left
}
