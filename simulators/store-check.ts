import { every, sleep, type Clock, type Timer } from '../kernel/time.ts'
import type { Fleet } from './fleet.ts'
import { Latencies } from './latencies.ts'

/** What the check needs to know of a device. */
export interface CheckedDevice {
  readonly id: string
  readonly boot: string
  /** Readings sent, with sequence numbers from 0. */
  readonly sent: number
  isUnacked(seq: number): boolean
}

export interface StoredItem {
  boot: string | null
  seq: number | null
  ts: number
}

/** The store as an outsider sees it: the API's readings. */
export interface StoreView {
  readings(query: string): Promise<{ items: StoredItem[]; next: string | null }>
}

const PROBE_EVERY_MS = 250
const PROBE_POLL_MS = 5
const PROBE_TIMEOUT_MS = 10_000
const PAGE_ITEMS = 1_000
const RETRY_MS = 250

/** Samples how long a reading takes from publish until the API answers it. */
export class StoredLatencyProbe {
  readonly #options: { fleet: Fleet; store: StoreView; clock: Clock }
  readonly latencies = new Latencies()
  #timer: Timer | undefined
  #probing: Promise<void> = Promise.resolve()
  #next = 0

  constructor(options: { fleet: Fleet; store: StoreView; clock: Clock }) {
    this.#options = options
  }

  start(): void {
    this.#timer = every(this.#options.clock, PROBE_EVERY_MS, () => (this.#probing = this.#probe()), () => undefined)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    await this.#probing.catch(() => undefined)
  }

  async #probe(): Promise<void> {
    const { fleet, store, clock } = this.#options
    const device = fleet.devices[this.#next++ % fleet.devices.length]
    const target = device?.lastAcked
    if (device === undefined || target === undefined) return
    const deadlineMs = clock.monotonicMs() + PROBE_TIMEOUT_MS
    while (clock.monotonicMs() < deadlineMs) {
      const { items } = await store.readings(`device=${device.id}&limit=1`)
      if (items[0]?.boot === device.boot && (items[0].seq ?? -1) >= target.seq) {
        this.latencies.add(clock.monotonicMs() - target.sentAtMs)
        return
      }
      await sleep(clock, PROBE_POLL_MS)
    }
  }
}

export interface StoredTruth {
  lost: number
  duplicated: number
  outOfOrder: number
}

/**
 * Reads every device's readings of this run back and compares sequence numbers: acknowledged and not there is lost, there twice is
 * duplicated. Waits for what is still on its way.
 */
export async function measureStored(options: { fleet: { devices: readonly CheckedDevice[] }; store: StoreView; clock: Clock; timeoutMs: number; onProgress: (done: number, total: number) => void }): Promise<StoredTruth> {
  const { fleet, store, clock } = options
  const truth = { lost: 0, duplicated: 0, outOfOrder: 0 }
  const deadlineMs = clock.monotonicMs() + options.timeoutMs
  for (const [done, device] of fleet.devices.entries()) {
    options.onProgress(done, fleet.devices.length)
    let found = await readBack(store, device)
    while (found.lost > 0 && clock.monotonicMs() < deadlineMs) {
      await sleep(clock, RETRY_MS)
      found = await readBack(store, device)
    }
    truth.lost += found.lost
    truth.duplicated += found.duplicated
    truth.outOfOrder += found.outOfOrder
  }
  return truth
}

async function readBack(store: StoreView, device: CheckedDevice): Promise<StoredTruth> {
  const times = new Uint8Array(device.sent)
  let cursor: string | null = ''
  let outOfOrder = 0
  let previous = Infinity
  while (cursor !== null) {
    const page: { items: StoredItem[]; next: string | null } = await store.readings(`device=${device.id}&limit=${PAGE_ITEMS}${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`)
    for (const { boot, seq } of page.items) {
      if (boot !== device.boot || seq === null || seq >= times.length) continue
      times[seq] = (times[seq] as number) + 1
      if (seq > previous) outOfOrder++
      previous = seq
    }
    cursor = page.next
  }
  let lost = 0
  let duplicated = 0
  for (const [seq, count] of times.entries()) {
    if (count === 0 && !device.isUnacked(seq)) lost++
    if (count > 1) duplicated += count - 1
  }
  return { lost, duplicated, outOfOrder }
}
