import type { AppliedLog } from './questdb-applied.ts'
import type { TypeTable } from './questdb-catalogue.ts'
import { ERASED_RECEIVED_AT } from './questdb-marks.ts'
import { microseconds } from './questdb-range.ts'
import type { Rollups } from './questdb-rollups.ts'
import type { QuestdbSql } from './questdb-sql.ts'

const DOING = 'erase readings'

/**
 * Empties the rows of one device that were received before an instant: every metric becomes null, and their receipt an instant before
 * everything that is kept, so that no answer has them. Roll-ups hold values of them and go; they come back when asked for.
 */
export async function emptyRows(
  options: { sql: QuestdbSql; applied: AppliedLog; rollups: Rollups; appliedTimeoutMs: number },
  tables: readonly TypeTable[],
  device: string,
  receivedBefore: number,
): Promise<number> {
  const { sql, applied, rollups, appliedTimeoutMs } = options
  const [kept, before] = [microseconds(ERASED_RECEIVED_AT + 1), microseconds(receivedBefore)]
  const where = 'device = $1 AND received_at >= $2::LONG::TIMESTAMP AND received_at < $3::LONG::TIMESTAMP'
  let emptied = 0
  for (const { name, metrics } of tables) {
    const [row] = await sql.rows(DOING, `SELECT count() FROM ${name} WHERE ${where}`, [device, kept, before])
    if (Number(row?.[0]) === 0) continue
    await rollups.drop(name)
    const nothing = [...metrics.values()].map(({ column }) => `${column} = NULL`)
    const sets = [`received_at = ${ERASED_RECEIVED_AT}::LONG::TIMESTAMP`, ...nothing]
    await sql.rows(DOING, `UPDATE ${name} SET ${sets.join(', ')} WHERE ${where}`, [device, kept, before])
    await applied.demand(new Set([name]), appliedTimeoutMs)
    emptied += Number(row?.[0])
  }
  return emptied
}
