import type { LoggedReading } from '../contracts/reading.ts'
import { describeError, FleetpulseError, EnvironmentError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../kernel/metrics.ts'
import { systemRandom } from '../kernel/random.ts'
import { retry } from '../kernel/retry.ts'
import { every, type Clock, type Timer } from '../kernel/time.ts'
import type { SeriesStore } from '../storage/series/series-store.ts'
import type { ProcessingConfig } from './config.ts'

export interface SeriesWriterOptions {
  series: SeriesStore
  config: ProcessingConfig
  clock: Clock
  log: Logger
  metrics: Metrics
  /** After rows became durable: what they were. */
  onWritten: (rows: readonly LoggedReading[]) => void
}

/**
 * Gathers rows and writes them with their offsets by size or time; one write at a time, the next batch gathers meanwhile.
 * A store that refuses is tried again for as long as it takes: rows wait, nothing is dropped, and `add` tells the caller to slow down.
 */
export class SeriesWriter {
  readonly #options: SeriesWriterOptions
  #rows: LoggedReading[] = []
  #offsets = new Map<number, number>()
  #writing: Promise<void> | null = null
  #timer: Timer | undefined
  readonly #stopping = new AbortController()
  readonly #seconds
  readonly #written
  #failing: string | null = null

  constructor(options: SeriesWriterOptions) {
    this.#options = options
    this.#seconds = options.metrics.histogram('processing_series_write_seconds', 'One write to the series store', LATENCY_BUCKETS_S)
    this.#written = options.metrics.counter('processing_series_rows_total', 'Rows written to the series store')
    options.metrics.gaugeOf('processing_series_waiting_rows', 'Rows not yet written', () => this.waitingRows)
  }

  start(): void {
    const { clock, config, log } = this.#options
    this.#timer = every(
      clock,
      config.seriesFlushMs,
      () => this.#begin(),
      (error) => log.error({ error: describeError(error) }, 'series flush failed'),
    )
  }

  get waitingRows(): number {
    return this.#rows.length
  }
  /** Why the last try failed, or null when writes go through. */
  get failing(): string | null {
    return this.#failing
  }

  /** Takes rows and the offsets they bring the store to; resolves at once while there is room, else when a write has made some. */
  async add(rows: readonly LoggedReading[], nextOffsets: ReadonlyMap<number, number>): Promise<void> {
    for (const row of rows) this.#rows.push(row)
    for (const [partition, next] of nextOffsets) this.#offsets.set(partition, next)
    if (this.#rows.length < this.#options.config.seriesFlushRows) return
    if (this.#writing !== null) await this.#writing
    this.#begin()
  }

  /** Resolves when everything added so far is durable. */
  async flush(): Promise<void> {
    while (this.#writing !== null || this.#rows.length > 0 || this.#offsets.size > 0) {
      this.#begin()
      await this.#writing
    }
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    if (this.#failing === null) await this.flush()
    this.#stopping.abort()
    await this.#writing?.catch(() => undefined)
  }

  #begin(): void {
    if (this.#writing !== null || (this.#rows.length === 0 && this.#offsets.size === 0)) return
    const rows = this.#rows
    const offsets = this.#offsets
    this.#rows = []
    this.#offsets = new Map()
    this.#writing = this.#write(rows, offsets).finally(() => {
      this.#writing = null
    })
    // Whoever awaits sees the failure; here it only must not be unhandled.
    this.#writing.catch((error: unknown) => this.#options.log.error({ error: describeError(error) }, 'rows left to the next start'))
  }

  async #write(rows: readonly LoggedReading[], offsets: ReadonlyMap<number, number>): Promise<void> {
    const { series, clock, config, log, onWritten } = this.#options
    const startedMs = clock.monotonicMs()
    const retryOptions = {
      clock,
      random: systemRandom,
      attemptsMax: Infinity,
      initialMs: config.retryInitialMs,
      maxMs: config.retryMaxMs,
      factor: 2,
      jitter: 0.5,
    }
    await retry(
      {
        ...retryOptions,
        signal: this.#stopping.signal,
        onRetry: (error, attempt) => {
          this.#failing = describeError(error)
          log.warn({ error: this.#failing, attempt }, 'series store refuses, rows wait')
        },
      },
      () => series.write(rows, offsets).catch(asRetryable),
    )
    this.#failing = null
    this.#seconds.observe((clock.monotonicMs() - startedMs) / 1000)
    this.#written.inc(rows.length)
    onWritten(rows)
  }
}

/** The road waits for its store whatever the trouble is: only a person can end it, and then nothing was lost. */
function asRetryable(error: unknown): never {
  if (error instanceof FleetpulseError && error.retryable) throw error
  throw new EnvironmentError('SERIES_WRITE_FAILED', describeError(error), { cause: error, retryable: true })
}
