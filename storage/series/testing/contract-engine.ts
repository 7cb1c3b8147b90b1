import type { LoggedReading, MetricValue } from '../../../contracts/reading.ts'
import type { SeriesStore, StoredReading } from '../series-store.ts'

/** One engine under test, with an empty store of its own. */
export interface SeriesEngine {
  /** Started; replaced by `reopen`. */
  store: SeriesStore
  /** Resolves when queries see everything written so far; at once for an engine whose writes are visible when they resolve. */
  settle(): Promise<void>
  /** Stops the store and starts one anew over the same data. */
  reopen(): Promise<void>
  /** Stops the store and removes its data. */
  dispose(): Promise<void>
}

export type CreateSeriesEngine = () => Promise<SeriesEngine>

/** 2025-11-21T00:00:00Z: midnight, so that engines that keep data by day have a clean cut. */
export const MIDNIGHT = 1_763_683_200_000
export const DAY_MS = 86_400_000

export interface ReadingParts {
  tenant?: string
  device?: string
  type?: string
  ts?: number
  receivedAt?: number
  boot?: string
  seq?: number
  values?: Record<string, MetricValue>
  partition?: number
}

/** Makes readings at rising offsets of their partitions. */
export class ReadingSource {
  readonly #nextOffsets = new Map<number, number>()

  reading(parts: ReadingParts = {}): LoggedReading {
    const partition = parts.partition ?? 0
    const offset = this.#nextOffsets.get(partition) ?? 0
    this.#nextOffsets.set(partition, offset + 1)
    const ts = parts.ts ?? MIDNIGHT + offset * 1000
    return {
      tenant: parts.tenant ?? 'default',
      device: parts.device ?? 'pump-1',
      type: parts.type ?? 'pump',
      receivedAt: parts.receivedAt ?? ts + 5,
      correlationId: `c-${partition}-${offset}`,
      ts,
      ...(parts.boot === undefined ? {} : { boot: parts.boot }),
      ...(parts.seq === undefined ? {} : { seq: parts.seq }),
      values: parts.values ?? { temperature: 20 + offset },
      partition,
      offset,
    }
  }

  many(count: number, parts: (index: number) => ReadingParts = () => ({})): LoggedReading[] {
    return Array.from({ length: count }, (_, index) => this.reading(parts(index)))
  }
}

/** Writes readings with the offsets after them and waits until they can be seen. */
export async function writeAll(engine: SeriesEngine, readings: readonly LoggedReading[]): Promise<void> {
  await engine.store.write(readings, offsetsAfter(readings))
  await engine.settle()
}

/** The next offset of each partition once these readings are stored. */
export function offsetsAfter(readings: readonly LoggedReading[]): Map<number, number> {
  const next = new Map<number, number>()
  for (const { partition, offset } of readings) next.set(partition, Math.max(next.get(partition) ?? 0, offset + 1))
  return next
}

/** What the store is to answer for a reading. */
export function asStored(reading: LoggedReading): StoredReading {
  const { device, type, ts, receivedAt, values } = reading
  return { device, type, ts, receivedAt, boot: reading.boot ?? null, seq: reading.seq ?? null, values }
}

/** Follows cursors to the end. */
export async function allPages(
  store: SeriesStore,
  query: Omit<Parameters<SeriesStore['range']>[0], 'cursor'>,
): Promise<{ items: StoredReading[]; pages: number }> {
  const items: StoredReading[] = []
  let pages = 0
  let cursor: string | null = null
  do {
    const page: Awaited<ReturnType<SeriesStore['range']>> = await store.range(cursor === null ? query : { ...query, cursor })
    for (const item of page.items) items.push(item)
    cursor = page.next
    pages++
  } while (cursor !== null)
  return { items, pages }
}
