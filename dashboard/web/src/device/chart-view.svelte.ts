import { messageOf } from '../api/client.ts'
import type { LiveReading, MetricKind } from '../api/types.ts'
import { ChartSeries } from '../chart/chart-series.ts'
import { loadHistory } from '../chart/history.ts'
import { now } from '../live/now.svelte.ts'

export const RANGES = [
  { name: '5m', label: '5 min', spanMs: 300_000 },
  { name: '1h', label: '1 h', spanMs: 3_600_000 },
  { name: '24h', label: '24 h', spanMs: 86_400_000 },
  { name: 'all', label: 'All', spanMs: null },
] as const
export type RangeName = (typeof RANGES)[number]['name']

/** Redrawn at most this often, however many readings arrive. */
const DRAW_EVERY_MS = 250
/** The server sends at most 50 readings per second: near that, what it left out is fetched. */
const THINNED_AT_PER_S = 40
const REFRESH_AFTER_MS = 2_000

export interface ChartChoice {
  device: string
  metric: string
  kind: MetricKind
  spanMs: number | null
  /** Event time of the device's latest reading. */
  latestTs: number | undefined
}

/** One metric over a time range: loaded once, then grown by the live stream. */
export class ChartView {
  series = $state.raw(new ChartSeries())
  version = $state(0)
  loading = $state(false)
  error = $state('')
  #choice: ChartChoice | undefined
  #abort = new AbortController()
  #drawTimer: ReturnType<typeof setTimeout> | undefined
  #refreshTimer: ReturnType<typeof setTimeout> | undefined
  #second = 0
  #inSecond = 0

  /** The last event time to show: now, or the latest reading when that is older than the whole range (a recording that was replayed). */
  readonly toTs = $derived.by(() => {
    const last = this.version >= 0 ? (this.series.lastTs ?? now.ms) : now.ms
    const span = this.#span
    return now.ms - last < (span ?? 60_000) ? Math.max(now.ms, last) : last
  })
  readonly fromTs = $derived.by(() => {
    if (this.#span !== null) return this.toTs - this.#span
    const first = this.version >= 0 ? this.series.firstTs : undefined
    return Math.min(first ?? this.toTs - 60_000, this.toTs - 1_000)
  })
  #span = $state<number | null>(300_000)

  async load(choice: ChartChoice): Promise<void> {
    this.#abort.abort()
    const abort = new AbortController()
    this.#abort = abort
    this.#choice = choice
    this.loading = true
    try {
      const { spanMs, latestTs } = choice
      const nowMs = Date.now()
      const isRecent = latestTs === undefined || nowMs - latestTs < (spanMs ?? 0)
      const series = await loadHistory({ ...choice, endTs: isRecent ? nowMs : latestTs }, abort.signal)
      if (abort.signal.aborted) return
      this.series = series
      this.#span = spanMs
      this.version++
      this.error = ''
    } catch (error) {
      if (!abort.signal.aborted) this.error = messageOf(error)
    } finally {
      if (this.#abort === abort) this.loading = false
    }
  }

  take(reading: LiveReading): void {
    const value = this.#choice === undefined ? undefined : reading.values[this.#choice.metric]
    if (value === undefined) return
    this.series.push(reading.ts, value)
    if (this.#span !== null) this.series.trim(this.fromTs - this.#span * 0.1)
    this.#drawTimer ??= setTimeout(() => {
      this.#drawTimer = undefined
      this.version++
    }, DRAW_EVERY_MS)
    this.#noticeThinning()
  }

  stop(): void {
    this.#abort.abort()
    clearTimeout(this.#drawTimer)
    clearTimeout(this.#refreshTimer)
  }

  #noticeThinning(): void {
    const second = Math.floor(Date.now() / 1_000)
    this.#inSecond = second === this.#second ? this.#inSecond + 1 : 1
    this.#second = second
    if (this.#inSecond < THINNED_AT_PER_S) return
    this.#refreshTimer ??= setTimeout(() => {
      this.#refreshTimer = undefined
      if (this.#choice !== undefined) void this.load({ ...this.#choice, latestTs: this.series.lastTs })
    }, REFRESH_AFTER_MS)
  }
}
