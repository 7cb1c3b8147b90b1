import { DeviceReadings, type SpanAsk } from './device-readings.ts'
import type { SourceReading, Sources } from './sources.ts'
import type { Series, TimeWindow } from './evidence.ts'
import type { Point } from './statistics.ts'

export interface Rows {
  /** Oldest first; of one instant in the order of receipt. */
  rows: SourceReading[]
  truncated: boolean
}

/** Readings as of a watermark, each asked for once however many checks look at them. Bounded by what one investigation asks. */
export class ReadingsReader {
  readonly #asOf: number
  readonly #limit: number
  readonly #readings: DeviceReadings

  /** `limit`: readings per question. When the signal aborts, all that is asked is given up. */
  constructor(options: { sources: Sources; tenant: string; asOf: number; limit: number; signal?: AbortSignal }) {
    this.#asOf = options.asOf
    this.#limit = options.limit
    this.#readings = new DeviceReadings(options)
  }

  /** With `metric`, only readings that carry it. Those received after the watermark are left out. */
  async rows(ask: Omit<SpanAsk, 'limit'> & { limit?: number }): Promise<Rows> {
    const { items, truncated } = await this.#readings.newest({ ...ask, limit: ask.limit ?? this.#limit })
    return { rows: items.filter(({ receivedAt }) => receivedAt <= this.#asOf).toReversed(), truncated }
  }

  /** The same will be asked of each of these. */
  together(devices: readonly string[], ask: Omit<SpanAsk, 'device' | 'limit'>): void {
    this.#readings.together(devices, { ...ask, limit: this.#limit })
  }

  /** What will be asked of this one lies within this time. */
  ahead(device: string, { from, to }: TimeWindow): void {
    // Whoever asks for a part of it hears why it is not there.
    this.rows({ device, fromTs: from, toTs: to }).catch(() => undefined)
  }

  /** Numbers, and switches as 0 and 1, of one series within a window of event time. */
  async points({ device, metric }: Series, { from, to }: TimeWindow): Promise<{ points: Point[]; truncated: boolean }> {
    const { rows, truncated } = await this.rows({ device, metric, fromTs: from, toTs: to })
    return { points: pointsOf(rows, metric, { from, to }), truncated }
  }
}

export function pointsOf(rows: readonly SourceReading[], metric: string, { from, to }: TimeWindow): Point[] {
  const points: Point[] = []
  for (const { ts, values } of rows) {
    const value = Object.hasOwn(values, metric) ? values[metric] : undefined
    if (ts < from || ts >= to) continue
    if (typeof value === 'number') points.push({ ts, value })
    else if (typeof value === 'boolean') points.push({ ts, value: value ? 1 : 0 })
  }
  return points
}
