import type { DuckDBConnection } from '@duckdb/node-api'
import { isInvalidated, isWithoutTransaction } from './duckdb-errors.ts'

/** Runs statements of one connection as one transaction; whatever `run` throws leaves nothing behind. */
export async function inTransaction<T>(sql: DuckDBConnection, run: () => Promise<T>): Promise<T> {
  await sql.run('BEGIN')
  try {
    const result = await run()
    await sql.run('COMMIT')
    return result
  } catch (error) {
    await rollback(sql)
    throw error
  }
}

/** Ends a failed transaction. DuckDB has ended it already when the commit failed, and an invalidated database has none. */
export async function rollback(sql: DuckDBConnection): Promise<void> {
  try {
    await sql.run('ROLLBACK')
  } catch (error) {
    if (!isWithoutTransaction(error) && !isInvalidated(error)) throw error
  }
}
