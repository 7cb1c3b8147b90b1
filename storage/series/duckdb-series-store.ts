import { EnvironmentError, InvalidInputError, TimeoutError, describeError, type FleetpulseError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'
import type { Clock } from '../../kernel/time.ts'
import type { MetricKind } from '../../contracts/device.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import type { SeriesConfig } from './config.ts'
import { tableKey } from './duckdb-catalogue.ts'
import { queryBuckets, queryCount } from './duckdb-aggregates.ts'
import { eraseDevice } from './duckdb-erasure.ts'
import { isInvalidated, toStoreError } from './duckdb-errors.ts'
import { integer, queryRange } from './duckdb-range.ts'
import type { Query } from './duckdb-readers.ts'
import { removeReceivedBefore, type RetentionOptions } from './duckdb-retention.ts'
import { scanReadings } from './duckdb-scan.ts'
import { DuckdbSession } from './duckdb-session.ts'
import type { Erasures } from './erasures.ts'
import { SerialQueue } from './serial-queue.ts'
import type {
  Bucket,
  DownsampleQuery,
  RangeQuery,
  ReadingIdentity,
  ScannedReading,
  ScanPlace,
  SeriesSource,
  SeriesStore,
  StoredReading,
} from './series-store.ts'

export interface DuckdbSeriesStoreOptions {
  /** Folder of `series.duckdb`; created with mode 0700 when missing. */
  directory: string
  config: SeriesConfig
  clock: Clock
  log: Logger
  metrics: Metrics
}

/**
 * The series store on DuckDB, in one file. One writer, a few connections for queries, one for identity look-ups; none waits for another.
 * Errors: STORE_FULL (retryable), STORE_CORRUPT, STORE_NEWER, STORE_LOCKED, STORE_UNWRITABLE, STORE_UNUSABLE (retryable: the file is opened anew
 * by the next call), STORE_MEMORY (retryable), STORE_STOPPED, TIMEOUT, LIMIT_REACHED, INVALID_INPUT, METRIC_KIND_CHANGED.
 */
export class DuckdbSeriesStore implements SeriesStore, SeriesSource {
  readonly name = 'series-store'
  readonly #options: DuckdbSeriesStoreOptions
  readonly #counters: ReturnType<typeof makeCounters>
  /** Lock order: writes, then probes. */
  readonly #writes: SerialQueue
  readonly #probes: SerialQueue
  #session: DuckdbSession | null = null
  #running = false
  /** DuckDB ended after a fatal error: the session must be closed and opened anew. */
  #broken = false

  constructor(options: DuckdbSeriesStoreOptions) {
    this.#options = options
    this.#counters = makeCounters(options.metrics)
    this.#writes = new SerialQueue('queue of series writes (series.writeQueueMax)', options.config.writeQueueMax)
    this.#probes = new SerialQueue('queue of identity look-ups (series.readQueueMax)', options.config.readQueueMax + 1)
  }

  async start(): Promise<void> {
    await this.#writes.run(async () => {
      if (this.#running) return
      this.#running = true
      try {
        await this.#open()
      } catch (error) {
        this.#running = false
        throw error
      }
    })
  }

  async stop(): Promise<void> {
    this.#running = false
    await this.#writes.runRegardless(() => this.#probes.runRegardless(() => this.#close()))
  }

  async write(rows: readonly LoggedReading[], nextOffsets: ReadonlyMap<number, number>): Promise<void> {
    await this.#exclusively('store readings', async (session) => {
      const startedMs = this.#options.clock.monotonicMs()
      const stored = await session.writer.write(rows, nextOffsets)
      this.#counters.stored.inc(stored)
      this.#counters.skipped.inc(rows.length - stored)
      this.#counters.writeSeconds.observe((this.#options.clock.monotonicMs() - startedMs) / 1000)
    })
  }

  async positions(): Promise<ReadonlyMap<number, number>> {
    const session = await this.#healthy()
    return new Map(session.writer.positions)
  }

  async contains(identities: readonly ReadingIdentity[]): Promise<boolean[]> {
    await this.#healthy()
    return await this.#probes.run(() => this.#guard('look up identities', (session) => session.probe.contains(identities)))
  }

  async range(asked: RangeQuery, signal?: AbortSignal): Promise<{ items: StoredReading[]; next: string | null }> {
    if (integer('limit', asked.limit) < 1) {
      throw new InvalidInputError(`limit must be at least 1, not ${asked.limit}`, {
        details: { field: 'limit' },
        remedy: 'Ask for one reading or more.',
      })
    }
    const limit = Math.min(asked.limit, this.#options.config.rangeLimitMax)
    return await this.#query('read a range', (query, session) => queryRange(query, session.catalogue, { ...asked, limit }), signal)
  }

  async latest(tenant: string, device: string): Promise<StoredReading | null> {
    const { items } = await this.range({ tenant, device, limit: 1 })
    return items[0] ?? null
  }

  async downsample(asked: DownsampleQuery): Promise<Bucket[]> {
    const { bucketsMax } = this.#options.config
    return await this.#query('downsample', (query, session) => queryBuckets(query, session.catalogue, asked, bucketsMax))
  }

  async metrics(tenant: string, type: string): Promise<ReadonlyMap<string, MetricKind>> {
    const session = await this.#healthy()
    const columns = session.catalogue.table(tableKey(tenant, type))?.metrics.values() ?? []
    return new Map([...columns].map(({ metric, kind }) => [metric, kind]))
  }

  async count(tenant: string, device?: string): Promise<number> {
    return await this.#query('count readings', (query, session) => queryCount(query, session.catalogue, tenant, device))
  }

  async tenants(): Promise<string[]> {
    const session = await this.#healthy()
    return [...new Set(session.catalogue.tables().map(({ key, type }) => key.slice(0, -type.length - 1)))]
  }

  async scan(from: ScanPlace | null, rowsMax: number): Promise<{ rows: ScannedReading[]; next: ScanPlace | null }> {
    return await this.#query('read everything', (query, session) => scanReadings(query, session.catalogue, from, rowsMax))
  }

  async retain(receivedBefore: number): Promise<number> {
    const removed = await removeReceivedBefore(integer('receivedBefore', receivedBefore), this.#removal('remove old readings'))
    this.#counters.removed.inc(removed)
    return removed
  }

  async erase(tenant: string, device: string, receivedBefore: number): Promise<number> {
    const erasures = (): Erasures => {
      if (this.#session === null) throw this.#stopped()
      return this.#session.erasures
    }
    const asked = { tenant, device, receivedBefore: integer('receivedBefore', receivedBefore) }
    const removed = await eraseDevice(asked, { ...this.#removal('erase readings'), erasures })
    this.#counters.erased.inc(removed)
    return removed
  }

  #removal(doing: string): RetentionOptions {
    return {
      sliceRows: this.#options.config.retentionSliceRows,
      exclusively: (step) => this.#exclusively(doing, (session) => step(session.writeConnection, session.catalogue)),
      queryEnded: async () => await this.#session?.readers.queryEnded(),
    }
  }

  async #exclusively<T>(doing: string, run: (session: DuckdbSession) => Promise<T>): Promise<T> {
    return await this.#writes.run(async () => {
      await this.#reopenIfBroken()
      return await this.#guard(doing, run)
    })
  }

  async #query<T>(doing: string, run: (query: Query, session: DuckdbSession) => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#healthy()
    const startedMs = this.#options.clock.monotonicMs()
    try {
      const answer = await this.#guard(doing, (session) => session.readers.run(doing, (query) => run(query, session), signal))
      this.#counters.queries.inc({ outcome: 'answered' })
      return answer
    } catch (error) {
      this.#counters.queries.inc({ outcome: error instanceof TimeoutError ? 'timeout' : 'failed' })
      throw error
    } finally {
      this.#counters.querySeconds.observe((this.#options.clock.monotonicMs() - startedMs) / 1000)
    }
  }

  /** Runs with the open session; what DuckDB throws becomes one of our errors, and a fatal one marks the session broken. */
  async #guard<T>(doing: string, run: (session: DuckdbSession) => Promise<T>): Promise<T> {
    const session = this.#session
    if (session === null) throw this.#stopped()
    try {
      return await run(session)
    } catch (error) {
      if (isInvalidated(error)) this.#broken = true
      throw this.#translate(error, doing)
    }
  }

  async #healthy(): Promise<DuckdbSession> {
    if (this.#running && this.#session !== null && !this.#broken) return this.#session
    return await this.#writes.run(() => this.#reopenIfBroken())
  }

  /** Only within `#writes`. */
  async #reopenIfBroken(): Promise<DuckdbSession> {
    if (!this.#running) throw this.#stopped()
    if (this.#session !== null && !this.#broken) return this.#session
    return await this.#probes.runRegardless(async () => {
      this.#options.log.warn({ path: this.#session?.file.path }, 'series store opens its file anew after a fatal error of DuckDB')
      this.#counters.reopened.inc()
      await this.#close()
      return await this.#open()
    })
  }

  async #open(): Promise<DuckdbSession> {
    const { directory, config, clock, log } = this.#options
    try {
      const session = await DuckdbSession.open(directory, config, clock)
      this.#session = session
      this.#broken = false
      log.info({ path: session.file.path, types: session.catalogue.tables().length }, 'series store open')
      return session
    } catch (error) {
      throw this.#translate(error, 'open')
    }
  }

  async #close(): Promise<void> {
    const session = this.#session
    this.#session = null
    if (session === null) return
    const fold = !this.#broken
    this.#broken = false
    try {
      await session.close(fold)
    } catch (error) {
      // Nothing is lost: what is not folded into the file is in the write-ahead log, and is read from there at the next start.
      this.#options.log.warn({ path: session.file.path, error: describeError(error) }, 'series store closed without a checkpoint')
    }
  }

  #translate(error: unknown, doing: string): FleetpulseError {
    return toStoreError(error, doing, this.#session?.file.path ?? this.#options.directory)
  }

  #stopped(): EnvironmentError {
    return new EnvironmentError('STORE_STOPPED', 'the series store is not running', {
      remedy: 'Start it first, or ask again after the restart.',
    })
  }
}

function makeCounters(metrics: Metrics) {
  return {
    stored: metrics.counter('series_rows_stored_total', 'Readings stored'),
    skipped: metrics.counter('series_rows_skipped_total', 'Readings skipped because a replay brought them again'),
    removed: metrics.counter('series_rows_removed_total', 'Readings removed by retention'),
    erased: metrics.counter('series_rows_erased_total', 'Readings of single devices erased'),
    reopened: metrics.counter('series_file_reopens_total', 'Times the file was opened anew after a fatal error'),
    writeSeconds: metrics.histogram('series_write_seconds', 'Time of one write, rows and positions', LATENCY_BUCKETS_S),
    queries: metrics.counter('series_queries_total', 'Queries by outcome', ['outcome']),
    querySeconds: metrics.histogram('series_query_seconds', 'Time of one query, waiting included', LATENCY_BUCKETS_S),
  }
}
