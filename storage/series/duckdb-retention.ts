import type { DuckDBPreparedStatement } from '@duckdb/node-api'
import type { Catalogue } from './duckdb-catalogue.ts'
import { isBusy } from './duckdb-errors.ts'
import type { FileConnection } from './duckdb-file.ts'

export interface RetentionOptions {
  sliceRows: number
  /** Lets one step at a time use the writer's connection, between writes. */
  exclusively: <T>(step: (connection: FileConnection, catalogue: Catalogue) => Promise<T>) => Promise<T>
  /** Resolves when a running query has ended; at once when none runs. */
  queryEnded: () => Promise<void>
}

/** Which rows go, with its bound values. */
export interface RemovedRows {
  sql: string
  bind: (prepared: DuckDBPreparedStatement) => void
}

/** Tries of the last step while queries are in its way; after that the next retention or a full log does it. */
const CHECKPOINT_TRIES_MAX = 20

/** Removes rows received before an instant. */
export function removeReceivedBefore(receivedBefore: number, options: RetentionOptions): Promise<number> {
  return removeRows({ sql: 'received_at < $1', bind: (prepared) => prepared.bindBigInt(1, BigInt(receivedBefore)) }, options)
}

/**
 * Removes rows, slice by slice, then folds the deletions into the file.
 * DuckDB frees the blocks of removed rows at a checkpoint (`VACUUM` does not) and uses them again for later rows, so the file stops growing;
 * its tail is cut off when free. Rows that a running query still sees are freed by the next checkpoint that follows a write.
 */
export async function removeRows(removed: RemovedRows, options: RetentionOptions): Promise<number> {
  const types = await options.exclusively(async (_, catalogue) => catalogue.tables().map(({ key }) => key))
  let count = 0
  for (const type of types) {
    for (let slice = options.sliceRows; slice === options.sliceRows; count += slice) {
      slice = await options.exclusively(({ sql }, catalogue) => removeSlice(sql, catalogue, type, removed, options.sliceRows))
    }
  }
  for (let tries = 0; count > 0 && tries < CHECKPOINT_TRIES_MAX; tries++) {
    if (await options.exclusively(({ sql }) => checkpoint(sql))) break
    await options.queryEnded()
  }
  return count
}

async function removeSlice(
  sql: FileConnection['sql'],
  catalogue: Catalogue,
  type: string,
  removed: RemovedRows,
  rowsMax: number,
): Promise<number> {
  const table = catalogue.table(type)
  if (table === undefined) return 0
  const prepared = await sql.prepare(
    `DELETE FROM ${table.quoted} WHERE rowid IN (SELECT rowid FROM ${table.quoted} WHERE ${removed.sql} LIMIT ${rowsMax})`,
  )
  try {
    removed.bind(prepared)
    return (await prepared.run()).rowsChanged
  } finally {
    prepared.destroySync()
  }
}

/** False when a query that is just ending is in the way: DuckDB then refuses at once, which is better than a writer that waits for a reader. */
async function checkpoint(sql: FileConnection['sql']): Promise<boolean> {
  try {
    await sql.run('CHECKPOINT')
    return true
  } catch (error) {
    if (isBusy(error)) return false
    throw error
  }
}
