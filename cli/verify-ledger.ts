import { sleep, type Clock } from '../kernel/time.ts'
import { checkDevice, listed, type ApiView, type DeviceCheck, type Fault, type HourRange } from './ledger-check.ts'

/** How long a device may disagree before it counts, in ms: readings are on their way for some, and hours are written about every second. */
const SETTLE_MS = 6_000
const RETRY_MS = 500
/** Faults that are told one by one; the rest are counted. */
const FAULTS_TOLD = 1_000

export interface LedgerReport extends Omit<DeviceCheck, 'faults'> {
  devices: number
  /** acked − stored − rejected − duplicate. */
  unaccounted: number
  faultsTotal: number
  faults: Fault[]
}

export interface VerifyOptions {
  api: ApiView
  clock: Clock
  /** One device, or all that have a ledger. */
  device?: string
  range: HourRange
  settleMs?: number
  onProgress: (device: string, rows: number) => void
}

/** Checks the ledger of every device against the stored readings, one device after the other. */
export async function verifyLedger(options: VerifyOptions): Promise<LedgerReport> {
  const report: LedgerReport = {
    devices: 0,
    acked: 0,
    stored: 0,
    rejected: 0,
    duplicate: 0,
    missing: 0,
    disordered: 0,
    unaccounted: 0,
    faultsTotal: 0,
    faults: [],
  }
  for await (const device of devicesOf(options)) {
    const check = await settledCheck(options, device)
    report.devices++
    for (const field of ['acked', 'stored', 'rejected', 'duplicate', 'missing', 'disordered'] as const) report[field] += check[field]
    report.faultsTotal += check.faults.length
    report.faults.push(...check.faults.slice(0, FAULTS_TOLD - report.faults.length))
    for (const { fault, count } of check.faults) if (fault === 'unaccounted') report.unaccounted += count
  }
  return report
}

/** Devices with a ledger in the range, in order; the list has an entry per hour. */
async function* devicesOf({ api, device, range }: VerifyOptions): AsyncGenerator<string> {
  if (device !== undefined) {
    yield device
    return
  }
  const bounds = [range.from > 0 ? `from=${range.from}` : '', Number.isFinite(range.to) ? `to=${range.to}` : ''].filter(
    (bound) => bound !== '',
  )
  let last: string | undefined
  for await (const entry of listed<{ device: string }>(api, `/ledger${bounds.length === 0 ? '' : `?${bounds.join('&')}`}`)) {
    if (entry.device === last) continue
    last = entry.device
    yield entry.device
  }
}

/** What still disagrees after readings on their way had time to arrive. */
async function settledCheck(options: VerifyOptions, device: string): Promise<DeviceCheck> {
  const { api, clock, range, onProgress, settleMs = SETTLE_MS } = options
  const deadlineMs = clock.monotonicMs() + settleMs
  for (;;) {
    const check = await checkDevice({ api, clock, device, range, onRows: (rows) => onProgress(device, rows) })
    if (check.faults.length === 0 || clock.monotonicMs() >= deadlineMs) return check
    await sleep(clock, RETRY_MS)
  }
}
