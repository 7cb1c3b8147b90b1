import { describeError, InvalidInputError, TimeoutError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import type { Clock } from '../../kernel/time.ts'
import type { MetricKind } from '../../contracts/device.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { queryBuckets, queryCount } from './questdb-aggregates.ts'
import type { QuestdbConfig } from './questdb-config.ts'
import { isStale, stoppedError } from './questdb-errors.ts'
import { emptyRows } from './questdb-erasure.ts'
import { QuestdbHealth } from './questdb-health.ts'
import { storedIdentities } from './questdb-identities.ts'
import { integer, queryRange } from './questdb-range.ts'
import { countReceived, dropOldPartitions } from './questdb-retention.ts'
import { QuestdbSession } from './questdb-session.ts'
import { SerialQueue } from './serial-queue.ts'
import type { Bucket, DownsampleQuery, RangeQuery, ReadingIdentity, SeriesStore, StoredReading } from './series-store.ts'

export interface QuestdbSeriesStoreOptions {
  config: QuestdbConfig
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
}

/** A query that meets a table whose shape has just changed is asked again. */
const STALE_TRIES_MAX = 3

/**
 * The series store on QuestDB: readings go in by line protocol over HTTP, queries over the PostgreSQL wire. Several processes may use the
 * same tables, each writing its own partitions of the log. Errors: STORE_UNUSABLE (retryable unless a person has to act: wrong address,
 * credentials or tables), STORE_FULL, TIMEOUT (both retryable), STORE_STOPPED, LIMIT_REACHED, INVALID_INPUT, METRIC_KIND_CHANGED.
 */
export class QuestdbSeriesStore implements SeriesStore {
  readonly name = 'series-store'
  readonly #options: QuestdbSeriesStoreOptions
  readonly #counters: ReturnType<typeof makeCounters>
  readonly #writes: SerialQueue
  #session: QuestdbSession | null = null
  #health: QuestdbHealth | null = null

  constructor(options: QuestdbSeriesStoreOptions) {
    this.#options = options
    this.#counters = makeCounters(options.metrics)
    this.#writes = new SerialQueue('queue of series writes (questdb.writeQueueMax)', options.config.writeQueueMax)
  }

  /** Why the store is not well, in one sentence with the remedy, or null: for /readyz. */
  get failing(): string | null {
    return this.#health?.failing ?? null
  }

  async start(): Promise<void> {
    await this.#writes.run(async () => {
      if (this.#session !== null) return
      const { config, clock, log } = this.#options
      const session = await QuestdbSession.open({
        ...this.#options,
        onRetry: () => this.#counters.retries.inc(),
        onAnswer: (source) => this.#counters.downsamples.inc({ source }),
      })
      const { applied, rollups } = session
      this.#session = session
      this.#health = new QuestdbHealth({ applied, rollups, tables: () => session.tableNames(), clock, log, intervalMs: config.healthMs })
      this.#health.start()
      log.info({ http: session.address.http, pg: session.address.pg, types: session.catalogue.tables().length }, 'series store open')
    })
  }

  /** Tries in flight end at once; what was not resolved is written again from the event log. */
  async stop(): Promise<void> {
    const session = this.#session
    this.#session = null
    this.#health?.stop()
    await session?.close()
    await this.#writes.runRegardless(() => Promise.resolve())
  }

  async write(rows: readonly LoggedReading[], nextOffsets: ReadonlyMap<number, number>): Promise<void> {
    await this.#writes.run(async () => {
      const startedMs = this.#options.clock.monotonicMs()
      try {
        await this.#learnErasures()
        const stored = await this.#open().writer.write(rows, nextOffsets)
        this.#counters.stored.inc(stored)
        this.#counters.skipped.inc(rows.length - stored)
        this.#counters.writeSeconds.observe((this.#options.clock.monotonicMs() - startedMs) / 1000)
        this.#health?.wrote(null)
      } catch (error) {
        this.#health?.wrote(error)
        throw error
      }
    })
  }

  async positions(): Promise<ReadonlyMap<number, number>> {
    const session = this.#open()
    await session.applied.demand(new Set([session.tables.marksName]), this.#options.config.appliedTimeoutMs)
    await session.marks.load(session.sql)
    return new Map(session.marks.nextOffsets)
  }

  /** Right for every write that was resolved before, by whichever process: it waits until QuestDB has applied them. */
  async contains(identities: readonly ReadingIdentity[]): Promise<boolean[]> {
    if (identities.length === 0) return []
    return await this.#query(async (session) => {
      await session.settleAll()
      const stored = new Set<ReadingIdentity>()
      for (const tenant of new Set(identities.map((identity) => identity.tenant))) {
        const asked = identities.filter((identity) => identity.tenant === tenant)
        const found = await storedIdentities(session.sql, session.catalogue.tablesOf(tenant), asked, session.marks.receivedBefore)
        for (const identity of found) stored.add(identity)
      }
      return identities.map((identity) => stored.has(identity))
    })
  }

  async range(asked: RangeQuery, signal?: AbortSignal): Promise<{ items: StoredReading[]; next: string | null }> {
    if (integer('limit', asked.limit) < 1) {
      throw new InvalidInputError(`limit must be at least 1, not ${asked.limit}`, {
        details: { field: 'limit' },
        remedy: 'Ask for one reading or more.',
      })
    }
    const limit = Math.min(asked.limit, this.#options.config.rangeLimitMax)
    return await this.#read((session) =>
      queryRange(session.sql.until(signal), session.catalogue.tablesOf(asked.tenant), { ...asked, limit }, session.marks.receivedBefore),
    )
  }

  async latest(tenant: string, device: string): Promise<StoredReading | null> {
    const { items } = await this.range({ tenant, device, limit: 1 })
    return items[0] ?? null
  }

  async downsample(asked: DownsampleQuery): Promise<Bucket[]> {
    const { bucketsMax } = this.#options.config
    return await this.#read(({ sql, catalogue, marks, rollups }) =>
      queryBuckets(sql, catalogue.tablesOf(asked.tenant), asked, { bucketsMax, receivedBefore: marks.receivedBefore, rollups }),
    )
  }

  async metrics(tenant: string, type: string): Promise<ReadonlyMap<string, MetricKind>> {
    const session = this.#open()
    await session.refresh(this.#options.config.catalogueMaxAgeMs)
    const columns = session.catalogue.table(tenant, type)?.metrics.values() ?? []
    return new Map([...columns].map(({ metric, kind }) => [metric, kind]))
  }

  async count(tenant: string, device?: string): Promise<number> {
    return await this.#read(({ sql, catalogue, marks }) => queryCount(sql, catalogue.tablesOf(tenant), marks.receivedBefore, device))
  }

  /**
   * QuestDB deletes no rows: readings received before the instant are left out of every answer from now on (of other processes within
   * `catalogueMaxAgeMs`), and partitions that hold no others are dropped. An instant before an earlier one removes nothing.
   */
  async retain(receivedBefore: number): Promise<number> {
    const bound = integer('receivedBefore', receivedBefore)
    const { config, log } = this.#options
    const removed = await this.#writes.run(async () => {
      const session = this.#open()
      await session.settleAll()
      const { marks, sender, sql } = session
      if (bound <= marks.receivedBefore) return 0
      const names = session.catalogue.tables().map(({ name }) => name)
      const count = await countReceived(sql, names, marks.receivedBefore, bound)
      await sender.send(marks.receivedBeforeLines(bound))
      marks.raiseReceivedBefore(bound)
      // So that other processes leave them out from now on, too.
      await session.applied.wait(new Set([session.tables.marksName]), config.appliedTimeoutMs)
      return count
    })
    for (const { name } of this.#open().catalogue.tables()) {
      await this.#writes.run(async () => {
        const session = this.#open()
        await dropOldPartitions({ ...parts(session), log, appliedTimeoutMs: config.appliedTimeoutMs }, name, session.marks.receivedBefore)
      })
    }
    this.#counters.removed.inc(removed)
    return removed
  }

  /** See SeriesStore. Other processes leave the readings out, and keep later ones of them out, within `catalogueMaxAgeMs`. */
  async erase(tenant: string, device: string, receivedBefore: number): Promise<number> {
    const bound = integer('receivedBefore', receivedBefore)
    const { config, log } = this.#options
    const erased = await this.#writes.run(async () => {
      const session = this.#open()
      await session.settleAll()
      const { marks, sender, sql, applied, rollups, catalogue } = session
      await sender.send(marks.erasedLines(tenant, device, bound))
      marks.erasures.note(tenant, device, bound)
      await applied.demand(new Set([session.tables.marksName]), config.appliedTimeoutMs)
      return await emptyRows(
        { sql, applied, rollups, appliedTimeoutMs: config.appliedTimeoutMs },
        catalogue.tablesOf(tenant),
        device,
        bound,
      )
    })
    for (const { name } of this.#open().catalogue.tablesOf(tenant)) {
      await this.#writes.run(async () => {
        const session = this.#open()
        await dropOldPartitions({ ...parts(session), log, appliedTimeoutMs: config.appliedTimeoutMs }, name, session.marks.receivedBefore)
      })
    }
    this.#counters.erased.inc(erased)
    return erased
  }

  /** Resolves when queries see every write that has been resolved. */
  async settle(): Promise<void> {
    await this.#open().settleAll()
  }

  /** Looks now whether the store is well; otherwise every `healthMs`. */
  async checkHealth(): Promise<void> {
    await this.#health?.check()
  }

  /** What other processes erased is kept out from here on; a write does not fail for it. */
  async #learnErasures(): Promise<void> {
    try {
      await this.#open().refresh(this.#options.config.catalogueMaxAgeMs)
    } catch (error) {
      this.#options.log.debug({ error: describeError(error) }, 'what other processes erased could not be read')
    }
  }

  async #read<T>(run: (session: QuestdbSession) => Promise<T>): Promise<T> {
    const { catalogueMaxAgeMs, readWaitMs } = this.#options.config
    return await this.#query(async (session) => {
      await session.refresh(catalogueMaxAgeMs)
      await session.settleOwn(readWaitMs)
      return await run(session)
    })
  }

  async #query<T>(run: (session: QuestdbSession) => Promise<T>): Promise<T> {
    const startedMs = this.#options.clock.monotonicMs()
    try {
      const answer = await this.#againWhenStale(run)
      this.#counters.queries.inc({ outcome: 'answered' })
      return answer
    } catch (error) {
      this.#counters.queries.inc({ outcome: error instanceof TimeoutError ? 'timeout' : 'failed' })
      throw error
    } finally {
      this.#counters.querySeconds.observe((this.#options.clock.monotonicMs() - startedMs) / 1000)
    }
  }

  async #againWhenStale<T>(run: (session: QuestdbSession) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await run(this.#open())
      } catch (error) {
        if (!isStale(error) || tries >= STALE_TRIES_MAX) throw error
        await this.#open().settleAll()
      }
    }
  }

  #open(): QuestdbSession {
    if (this.#session === null) throw stoppedError()
    return this.#session
  }
}

function parts({ sql, applied, rollups }: QuestdbSession): Pick<QuestdbSession, 'sql' | 'applied' | 'rollups'> {
  return { sql, applied, rollups }
}

function makeCounters(metrics: Metrics) {
  return {
    stored: metrics.counter('series_rows_stored_total', 'Readings stored'),
    skipped: metrics.counter('series_rows_skipped_total', 'Readings skipped because a replay brought them again'),
    removed: metrics.counter('series_rows_removed_total', 'Readings removed by retention'),
    erased: metrics.counter('series_rows_erased_total', 'Readings of single devices erased'),
    retries: metrics.counter('series_request_retries_total', 'Requests of readings that failed and were sent again'),
    writeSeconds: metrics.histogram('series_write_seconds', 'Time of one write, rows and positions', LATENCY_BUCKETS_S),
    downsamples: metrics.counter('series_downsamples_total', 'Downsampled answers by what they were computed from', ['source']),
    queries: metrics.counter('series_queries_total', 'Queries by outcome', ['outcome']),
    querySeconds: metrics.histogram('series_query_seconds', 'Time of one query, waiting included', LATENCY_BUCKETS_S),
  }
}
