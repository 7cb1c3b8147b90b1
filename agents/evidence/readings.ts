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
  readonly #sources: Sources
  readonly #tenant: string
  readonly #asOf: number
  readonly #limit: number
  readonly #signal: AbortSignal | undefined
  readonly #asked = new Map<string, Promise<Rows>>()

  /** `limit`: readings per question. When the signal aborts, all that is asked is given up. */
  constructor(options: { sources: Sources; tenant: string; asOf: number; limit: number; signal?: AbortSignal }) {
    this.#sources = options.sources
    this.#tenant = options.tenant
    this.#asOf = options.asOf
    this.#limit = options.limit
    this.#signal = options.signal
  }

  /** With `metric`, only readings that carry it. Those received after the watermark are left out. */
  rows(ask: { device: string; metric?: string; fromTs?: number; toTs?: number; limit?: number }): Promise<Rows> {
    const { limit = this.#limit, ...rest } = ask
    const key = JSON.stringify([rest.device, rest.metric, rest.fromTs, rest.toTs, limit])
    let rows = this.#asked.get(key)
    if (rows === undefined) {
      rows = this.#read({ ...rest, limit })
      this.#asked.set(key, rows)
    }
    return rows
  }

  /** Numbers, and switches as 0 and 1, of one series within a window of event time. */
  async points({ device, metric }: Series, { from, to }: TimeWindow): Promise<{ points: Point[]; truncated: boolean }> {
    const { rows, truncated } = await this.rows({ device, metric, fromTs: from, toTs: to })
    return { points: pointsOf(rows, metric, { from, to }), truncated }
  }

  async #read(ask: { device: string; metric?: string; fromTs?: number; toTs?: number; limit: number }): Promise<Rows> {
    const signal = this.#signal
    const { items, truncated } = await this.#sources.readings({ tenant: this.#tenant, ...ask, ...(signal === undefined ? {} : { signal }) })
    return { rows: items.filter(({ receivedAt }) => receivedAt <= this.#asOf).toReversed(), truncated }
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
