import type { Anomaly } from '../../../contracts/anomaly.ts'
import type { Feedback } from '../../../contracts/feedback.ts'
import type { ModelDataset } from '../../../contracts/model.ts'
import { integerBetween, seededRandom } from '../../../kernel/random.ts'
import type { StoredReading } from '../../../storage/series/series-store.ts'
import type { DatasetRequest, DatasetSources } from './dataset-sources.ts'
import type { Pace } from './pace.ts'

type Exclusion = ModelDataset['excluded'][number]

/** Parts of the time from each of which as much is taken, so that all hours and days are in it. */
export const SEGMENTS = 15
const PAGE_ROWS = 1_000
/** What an anomaly whose end is not known takes along: it may have lasted. */
const OPEN_ANOMALY_MS = 3_600_000
/** Causes that say something of the values. */
const ABNORMAL_CAUSES: ReadonlySet<string> = new Set(['value', 'model', 'rule'])

/** Readings of one device of one part of the time, oldest first. */
export interface Piece {
  device: string
  readings: StoredReading[]
}

/** At most so many devices as are asked for, drawn by the seed. */
export async function drawnDevices({ tenant, type, config, seed }: DatasetRequest, { devicesOf }: DatasetSources): Promise<string[]> {
  const all = [...(await devicesOf(tenant, type))].sort()
  const random = seededRandom(`devices/${seed}`)
  for (let k = all.length - 1; k > 0; k--) {
    const other = integerBetween(random, 0, k)
    ;[all[k], all[other]] = [all[other]!, all[k]!]
  }
  return all.slice(0, config.trainingDevicesMax).sort()
}

/** Readings of these devices from every part of the time, without the times that are kept out. */
export async function readDevices(
  { tenant, config, nowMs, pace }: DatasetRequest,
  sources: DatasetSources,
  devices: readonly string[],
  labels: readonly Feedback[],
  earliestTs: number,
): Promise<{ pieces: Piece[]; excluded: Exclusion[]; excludedRows: number }> {
  const pieces: Piece[] = []
  const excluded: Exclusion[] = []
  let excludedRows = 0
  const share = Math.max(2 * config.windowRows, Math.ceil(config.trainingRowsMax / devices.length / SEGMENTS))
  for (const device of devices) {
    const fromTs = await oldestTs(sources, { tenant, device, fromTs: earliestTs, toTs: nowMs }, pace)
    if (fromTs === undefined) continue
    const anomalies = await sources.anomaliesOf(tenant, device, fromTs - OPEN_ANOMALY_MS, nowMs)
    const out = exclusionsOf(device, anomalies, labels)
    const width = (nowMs - fromTs) / SEGMENTS
    for (let segment = 0; segment < SEGMENTS; segment++) {
      const toTs = Math.ceil(fromTs + (segment + 1) * width)
      const readings = await readingsBefore(sources, { tenant, device, fromTs: Math.floor(fromTs + segment * width), toTs }, share, pace)
      for (const piece of normalPieces(device, readings, out)) pieces.push(piece)
      excludedRows += readings.filter(({ ts }) => out.some((each) => ts >= each.fromTs && ts <= each.toTs)).length
    }
    excluded.push(...out.filter((each) => each.toTs >= fromTs && each.fromTs <= nowMs))
  }
  return { pieces, excluded, excludedRows }
}

/** The oldest reading that is stored; the store answers newest first, so the time is halved until little is left. */
async function oldestTs(
  sources: DatasetSources,
  range: { tenant: string; device: string; fromTs: number; toTs: number },
  pace: Pace,
): Promise<number | undefined> {
  const [newest] = (await sources.series.range({ ...range, limit: 1 })).items
  if (newest === undefined) return undefined
  let oldest = newest.ts
  let { fromTs } = range
  while (oldest - fromTs > SEGMENTS) {
    const middle = Math.floor((fromTs + oldest) / 2)
    const [older] = (await sources.series.range({ ...range, fromTs, toTs: middle, limit: 1 })).items
    if (older === undefined) fromTs = middle
    else oldest = older.ts
    await pace.rest()
  }
  return oldest
}

/** At most `rowsMax` of the latest ones before `toTs`, oldest first. */
async function readingsBefore(
  { series }: DatasetSources,
  range: { tenant: string; device: string; fromTs: number; toTs: number },
  rowsMax: number,
  pace: Pace,
): Promise<StoredReading[]> {
  const readings: StoredReading[] = []
  let cursor: string | undefined
  while (readings.length < rowsMax) {
    const limit = Math.min(PAGE_ROWS, rowsMax - readings.length)
    const page = await series.range({ ...range, limit, ...(cursor === undefined ? {} : { cursor }) })
    readings.push(...page.items)
    await pace.rest()
    if (page.next === null) break
    cursor = page.next
  }
  return readings.reverse()
}

/** Confirmed ranges, and anomalies unless they were rejected; from the one that was raised to the one that cleared it. */
export function exclusionsOf(device: string, anomalies: readonly Anomaly[], labels: readonly Feedback[]): Exclusion[] {
  const own = labels.filter((label) => label.device === device)
  const rejected = new Set(own.filter(({ verdict }) => verdict === 'rejected').map(({ anomaly }) => anomaly))
  const normal = own.filter(({ verdict }) => verdict === 'rejected')
  const excluded: Exclusion[] = own
    .filter(({ verdict }) => verdict === 'confirmed')
    .map(({ id, fromTs, toTs }) => ({ device, fromTs, toTs, why: 'confirmed', id }))
  const open = new Map<string, Anomaly>()
  for (const anomaly of anomalies) {
    if (!ABNORMAL_CAUSES.has(anomaly.cause)) continue
    const key = `${anomaly.cause}/${anomaly.metric}`
    if (anomaly.phase === 'raised') {
      if (!open.has(key)) open.set(key, anomaly)
      continue
    }
    const raised = open.get(key)
    open.delete(key)
    if (raised !== undefined) excluded.push({ device, fromTs: raised.ts, toTs: anomaly.ts, why: 'anomaly', id: raised.id })
  }
  for (const raised of open.values())
    excluded.push({ device, fromTs: raised.ts, toTs: raised.ts + OPEN_ANOMALY_MS, why: 'anomaly', id: raised.id })
  return excluded.filter(
    ({ why, id, fromTs }) =>
      why === 'confirmed' || (!rejected.has(id) && !normal.some((label) => fromTs >= label.fromTs && fromTs <= label.toTs)),
  )
}

/** What lies between the excluded times; a window never spans one. */
function* normalPieces(device: string, readings: readonly StoredReading[], excluded: readonly Exclusion[]): Generator<Piece> {
  let piece: StoredReading[] = []
  for (const reading of readings) {
    const isOut = excluded.some(({ fromTs, toTs }) => reading.ts >= fromTs && reading.ts <= toTs)
    if (!isOut) piece.push(reading)
    else if (piece.length > 0) {
      yield { device, readings: piece }
      piece = []
    }
  }
  if (piece.length > 0) yield { device, readings: piece }
}
