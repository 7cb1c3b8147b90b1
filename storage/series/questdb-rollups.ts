import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { AppliedLog } from './questdb-applied.ts'
import type { TypeTable } from './questdb-catalogue.ts'
import type { QuestdbConfig } from './questdb-config.ts'
import { rollupName } from './questdb-names.ts'
import { microseconds } from './questdb-range.ts'
import type { QuestdbSql } from './questdb-sql.ts'

const DOING = 'use a roll-up'
const MINUTE_MS = 60_000
const US_PER_MS = 1000
const POLL_MS = 10

export interface RollupQuestion {
  device: string
  fromTs: number
  toTs: number
  intervalMs: number
  receivedBefore: number
}

/** A roll-up that answers exactly for this time, half open, ms. */
export interface RollupSpan {
  view: string
  fromTs: number
  toTs: number
  /** The refresh that this was found out after. */
  refresh: string
}

interface ViewState {
  status: string
  baseTxn: number
  /** When its last refresh began. */
  refresh: string
}

/** Where a downsampled answer came from. */
export type AnswerSource = 'roll-up' | 'readings'

export interface RollupsOptions {
  sql: QuestdbSql
  applied: AppliedLog
  config: QuestdbConfig
  clock: Clock
  log: Logger
  /** Told of each type's part of a downsampled answer. */
  onAnswer: (source: AnswerSource) => void
}

/**
 * One-minute roll-ups as materialized views, one for each metric that is asked for over long times. A view is used only for what it certainly
 * has right: it is refreshed when asked, it must have reached the last transaction of its table that can be read, and none of its minutes
 * may hold readings that retention has removed. Otherwise the answer comes from the readings.
 */
export class Rollups {
  readonly #sql: QuestdbSql
  readonly #applied: AppliedLog
  readonly #config: QuestdbConfig
  readonly #clock: Clock
  readonly #log: Logger
  readonly #onAnswer: (source: AnswerSource) => void
  readonly #making = new Set<string>()

  constructor(options: RollupsOptions) {
    this.#sql = options.sql
    this.#applied = options.applied
    this.#config = options.config
    this.#clock = options.clock
    this.#log = options.log
    this.#onAnswer = options.onAnswer
  }

  /** The whole minutes that the column's roll-up has right, or null: then there is none, it is not worth it, or it is behind. */
  async covering(table: TypeTable, column: string, asked: RollupQuestion): Promise<RollupSpan | null> {
    const span = await this.#covering(table, column, asked)
    if (span === null) this.#onAnswer('readings')
    return span
  }

  /** Whether the view has been left alone since `covering`: a full refresh in between shows it empty for a moment. */
  async wasSteady({ view, refresh }: RollupSpan): Promise<boolean> {
    const state = await this.#state(view)
    const steady = state?.status === 'valid' && state.refresh === refresh
    this.#onAnswer(steady ? 'roll-up' : 'readings')
    return steady
  }

  async #covering(table: TypeTable, column: string, asked: RollupQuestion): Promise<RollupSpan | null> {
    const { rollups, rollupMinRangeMs } = this.#config
    if (!rollups || asked.intervalMs % MINUTE_MS !== 0 || asked.toTs - asked.fromTs < rollupMinRangeMs) return null
    const view = rollupName(table.name, column)
    const state = await this.#state(view)
    if (state === undefined) await this.#make(view, table.name, column)
    const refresh = state === undefined ? null : await this.#refreshed(view, table.name)
    if (refresh === null) return null
    const begin = await this.#firstInstant(table.name)
    if (begin === null) return null
    const fromTs = Math.ceil(Math.max(asked.fromTs, begin) / MINUTE_MS) * MINUTE_MS
    const toTs = Math.floor(asked.toTs / MINUTE_MS) * MINUTE_MS
    if (fromTs >= toTs || (await this.#holdsRemoved(view, asked, fromTs, toTs))) return null
    return { view, fromTs, toTs, refresh }
  }

  /** Views of these tables that QuestDB no longer keeps right, with its reason. */
  async invalid(tables: ReadonlySet<string>): Promise<{ view: string; reason: string }[]> {
    const rows = await this.#sql.rows(
      DOING,
      `SELECT view_name, base_table_name, invalidation_reason FROM materialized_views() WHERE view_status = 'invalid'`,
    )
    return (rows as [string, string, string | null][])
      .filter(([, base]) => tables.has(base))
      .map(([view, , reason]) => ({ view, reason: reason ?? 'no reason given' }))
  }

  /** Roll-ups of these tables. */
  async names(tables: ReadonlySet<string>): Promise<string[]> {
    const rows = await this.#sql.rows(DOING, 'SELECT view_name, base_table_name FROM materialized_views()')
    return (rows as [string, string][]).filter(([, base]) => tables.has(base)).map(([view]) => view)
  }

  /** Drops the views of a table whose partitions are about to go, which would make them invalid; they come back when asked for. */
  async drop(table: string): Promise<void> {
    const rows = await this.#sql.rows(DOING, 'SELECT view_name FROM materialized_views() WHERE base_table_name = $1', [table])
    for (const [view] of rows as [string][]) {
      if (view.startsWith(`${table}_1m_`)) await this.#sql.rows('drop a roll-up', `DROP MATERIALIZED VIEW IF EXISTS ${view}`)
    }
  }

  /** Begins the view; QuestDB fills it meanwhile, so this answer still comes from the readings. */
  async #make(view: string, table: string, column: string): Promise<void> {
    if (this.#making.has(view)) return
    this.#making.add(view)
    try {
      const { rollupsMax, rollupRefreshMinutes, tablePrefix, partitionBy, ttl } = this.#config
      const views = await this.#sql.rows(DOING, 'SELECT view_name FROM materialized_views()')
      if ((views as [string][]).filter(([name]) => name.startsWith(tablePrefix)).length >= rollupsMax) return
      await this.#sql.rows(
        'make a roll-up',
        `CREATE MATERIALIZED VIEW IF NOT EXISTS ${view} WITH BASE ${table} REFRESH EVERY ${rollupRefreshMinutes}m AS (
           SELECT ts, device, count() readings, min(${column}) lowest, max(${column}) highest, sum(${column}) total,
             first(${column}) first_value, last(${column}) last_value, min(ts) first_at, max(ts) last_at, min(received_at) received_from
           FROM ${table} WHERE ${column} IS NOT NULL SAMPLE BY 1m ALIGN TO CALENDAR
         ) PARTITION BY ${partitionBy}${ttl === 'none' ? '' : ` TTL ${ttl}`}`,
      )
      this.#log.info({ view, table, column }, 'roll-up made')
    } catch (error) {
      this.#log.warn({ view, error: describeError(error) }, 'roll-up could not be made; answers come from the readings')
    } finally {
      this.#making.delete(view)
    }
  }

  /** The refresh after which the view shows everything that could be read of its table when asked; null when there is none in time. */
  async #refreshed(view: string, table: string): Promise<string | null> {
    const target = (await this.#applied.states(new Set([table]))).get(table)?.writer
    if (target === undefined) return null
    const deadlineMs = this.#clock.monotonicMs() + this.#config.rollupWaitMs
    for (let asked = false; ;) {
      const state = await this.#state(view)
      if (state === undefined || state.status === 'invalid') return null
      if (state.status === 'valid' && state.baseTxn >= target) {
        const { status } = await this.#applied.wait(new Set([view]), this.#config.rollupWaitMs)
        return status === 'applied' ? state.refresh : null
      }
      if (!asked && state.status === 'valid') {
        await this.#sql.rows('refresh a roll-up', `REFRESH MATERIALIZED VIEW ${view} INCREMENTAL`)
        asked = true
      }
      if (this.#clock.monotonicMs() >= deadlineMs) return null
      await sleep(this.#clock, POLL_MS)
    }
  }

  async #state(view: string): Promise<ViewState | undefined> {
    const rows = await this.#sql.rows(
      DOING,
      'SELECT view_status, refresh_base_table_txn, last_refresh_start_timestamp::LONG FROM materialized_views() WHERE view_name = $1',
      [view],
    )
    const [row] = rows as [string, number, number | null][]
    return row === undefined ? undefined : { status: row[0], baseTxn: row[1], refresh: String(row[2]) }
  }

  /** First event time of a table in ms, null when it is empty: what QuestDB dropped from it may still be in the view. */
  async #firstInstant(table: string): Promise<number | null> {
    const [row] = (await this.#sql.rows(DOING, `SELECT min(ts)::LONG FROM ${table}`)) as [number | null][]
    const us = row?.[0]
    return us === null || us === undefined ? null : us / US_PER_MS
  }

  /** True when a minute of this device holds readings that retention has removed. */
  async #holdsRemoved(view: string, asked: RollupQuestion, fromTs: number, toTs: number): Promise<boolean> {
    if (asked.receivedBefore <= 0) return false
    const rows = await this.#sql.rows(
      DOING,
      `SELECT ts FROM ${view} WHERE device = $1 AND ts >= $2::LONG::TIMESTAMP AND ts < $3::LONG::TIMESTAMP
         AND received_from < $4::LONG::TIMESTAMP LIMIT 1`,
      [asked.device, microseconds(fromTs), microseconds(toTs), microseconds(asked.receivedBefore)],
    )
    return rows.length > 0
  }
}
