import { StoreError, TimeoutError } from '../../kernel/errors.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { QuestdbSql } from './questdb-sql.ts'

const FIRST_POLL_MS = 2
const LAST_POLL_MS = 50

/** How far a table's log is applied: `writer` of `sequencer` transactions can be read. */
interface TableState {
  suspended: boolean
  writer: number
  sequencer: number
}

/** Where waiting ended. */
export type Applied = { status: 'applied' } | { status: 'behind' | 'suspended'; table: string }

/**
 * QuestDB commits a write to the table's log and applies it a little later. This waits until tables show everything that was committed
 * when it was asked, by whichever process.
 */
export class AppliedLog {
  readonly #sql: QuestdbSql
  readonly #clock: Clock

  constructor(sql: QuestdbSql, clock: Clock) {
    this.#sql = sql
    this.#clock = clock
  }

  async wait(tables: ReadonlySet<string>, timeoutMs: number): Promise<Applied> {
    const deadlineMs = this.#clock.monotonicMs() + timeoutMs
    const targets = new Map<string, number>()
    let states = await this.states(tables)
    for (const [name, { sequencer }] of states) targets.set(name, sequencer)
    for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(LAST_POLL_MS, pollMs * 2)) {
      const behind = [...targets].find(([name, target]) => (states.get(name)?.writer ?? target) < target)
      if (behind === undefined) return { status: 'applied' }
      const [table] = behind
      if (states.get(table)?.suspended === true) return { status: 'suspended', table }
      if (this.#clock.monotonicMs() >= deadlineMs) return { status: 'behind', table }
      await sleep(this.#clock, pollMs)
      states = await this.states(tables)
    }
  }

  /** As `wait`, for a caller who may not go on before; TimeoutError and StoreError are retryable. */
  async demand(tables: ReadonlySet<string>, timeoutMs: number): Promise<void> {
    const applied = await this.wait(tables, timeoutMs)
    if (applied.status === 'applied') return
    if (applied.status === 'suspended') throw suspendedError(applied.table)
    throw new TimeoutError(`QuestDB has not applied all writes to ${applied.table} within ${timeoutMs} ms`, {
      remedy: 'It is tried again. If this stays, see the log of QuestDB, or raise questdb.appliedTimeoutMs.',
    })
  }

  async states(tables: ReadonlySet<string>): Promise<Map<string, TableState>> {
    const rows = await this.#sql.rows('read how far tables are', 'SELECT name, suspended, writerTxn, sequencerTxn FROM wal_tables()')
    const states = new Map<string, TableState>()
    for (const [name, suspended, writer, sequencer] of rows as [string, boolean, number, number][]) {
      if (tables.has(name)) states.set(name, { suspended, writer, sequencer })
    }
    return states
  }
}

export function suspendedError(table: string): StoreError {
  return new StoreError('STORE_UNUSABLE', suspendedSentence(table), {
    remedy: 'Mend the cause, then resume the table; nothing is lost.',
    retryable: true,
  })
}

export function suspendedSentence(table: string): string {
  return `QuestDB suspended table ${table}: writes are kept but cannot be read; mend the cause (its log names it), then ALTER TABLE ${table} RESUME WAL`
}
