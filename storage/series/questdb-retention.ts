import type { Logger } from '../../kernel/log.ts'
import type { AppliedLog } from './questdb-applied.ts'
import { microseconds } from './questdb-range.ts'
import type { Rollups } from './questdb-rollups.ts'
import type { QuestdbSql } from './questdb-sql.ts'

const DOING = 'remove old readings'
/** A partition that is written to all the time is tried again at the next retention. */
const TRIES_MAX = 5

/** Readings received in [from, before), over these tables. */
export async function countReceived(sql: QuestdbSql, tables: readonly string[], from: number, before: number): Promise<number> {
  let count = 0
  for (const table of tables) {
    const [row] = await sql.rows(
      DOING,
      `SELECT count() FROM ${table} WHERE received_at >= $1::LONG::TIMESTAMP AND received_at < $2::LONG::TIMESTAMP`,
      [microseconds(from), microseconds(before)],
    )
    count += Number(row?.[0])
  }
  return count
}

/**
 * Frees disk: drops the partitions of which every reading was received before the instant. QuestDB removes nothing smaller. Queries leave
 * such readings out already. A partition is dropped only when nothing was committed to its table since it was looked at.
 */
export async function dropOldPartitions(
  options: { sql: QuestdbSql; applied: AppliedLog; rollups: Rollups; log: Logger; appliedTimeoutMs: number },
  table: string,
  receivedBefore: number,
): Promise<number> {
  const { sql, applied, rollups, log, appliedTimeoutMs } = options
  const self = new Set([table])
  let dropped = 0
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    await applied.demand(self, appliedTimeoutMs)
    const before = (await applied.states(self)).get(table)
    if (before === undefined || before.writer !== before.sequencer) continue
    const name = await oldPartition(sql, table, receivedBefore)
    if (name === null) return dropped
    if (dropped === 0) await rollups.drop(table)
    const now = (await applied.states(self)).get(table)
    if (now?.sequencer !== before.sequencer) continue
    await sql.rows(DOING, `ALTER TABLE ${table} DROP PARTITION LIST '${name}'`)
    dropped++
    tries = -1
    log.info({ table, partition: name }, 'partition removed: all of its readings are beyond retention')
  }
  return dropped
}

/** Characters of a partition's name; QuestDB may split one, and then each part's name goes on. */
const NAME_LENGTHS: Readonly<Record<string, number>> = { HOUR: 13, DAY: 10, WEEK: 8, MONTH: 7, YEAR: 4 }

/** Name of one partition without a reading that is kept; never the last one, which QuestDB writes to. */
async function oldPartition(sql: QuestdbSql, table: string, receivedBefore: number): Promise<string | null> {
  const rows = await sql.rows(
    DOING,
    `SELECT partitionBy, name, minTimestamp::LONG, maxTimestamp::LONG, active FROM table_partitions('${table}')`,
  )
  const spans = new Map<string, { from: number; to: number; active: boolean }>()
  for (const [unit, name, from, to, active] of rows as [string, string, number, number, boolean][]) {
    const whole = name.slice(0, NAME_LENGTHS[unit])
    const known = spans.get(whole) ?? { from, to, active }
    spans.set(whole, { from: Math.min(from, known.from), to: Math.max(to, known.to), active: active || known.active })
  }
  for (const [name, { from, to, active }] of spans) {
    if (active) continue
    const kept = await sql.rows(
      DOING,
      `SELECT ts FROM ${table} WHERE ts >= $1::LONG::TIMESTAMP AND ts <= $2::LONG::TIMESTAMP AND received_at >= $3::LONG::TIMESTAMP LIMIT 1`,
      [from, to, microseconds(receivedBefore)],
    )
    if (kept.length === 0) return name
  }
  return null
}
