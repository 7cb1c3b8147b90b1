import type { Clock } from '../../kernel/time.ts'
import { sleep } from '../../kernel/time.ts'
import type { Catalogue } from './duckdb-catalogue.ts'
import { isBusy } from './duckdb-errors.ts'
import type { FileConnection } from './duckdb-file.ts'

export interface RetentionOptions {
  clock: Clock
  sliceRows: number
  /** Lets one step at a time use the writer's connection, between writes. */
  exclusively: <T>(step: (connection: FileConnection, catalogue: Catalogue) => Promise<T>) => Promise<T>
}

/** Tries of the final checkpoint while queries hold older rows, and the wait between them; later commits do it otherwise. */
const CHECKPOINT_TRIES_MAX = 20
const CHECKPOINT_WAIT_MS = 250

/**
 * Removes rows received before an instant, slice by slice, then folds the deletions into the file.
 * DuckDB frees the blocks of rows only at a checkpoint and uses them again for later rows: the file stops growing, and its tail is cut when free.
 */
export async function removeReceivedBefore(receivedBefore: number, options: RetentionOptions): Promise<number> {
  const types = await options.exclusively(async (_, catalogue) => catalogue.tables().map(({ type }) => type))
  let removed = 0
  for (const type of types) {
    for (let slice = options.sliceRows; slice === options.sliceRows; removed += slice) {
      slice = await options.exclusively(({ sql }, catalogue) => removeSlice(sql, catalogue, type, receivedBefore, options.sliceRows))
    }
  }
  if (removed > 0) await checkpoint(options)
  return removed
}

async function removeSlice(sql: FileConnection['sql'], catalogue: Catalogue, type: string, receivedBefore: number, rowsMax: number): Promise<number> {
  const table = catalogue.table(type)
  if (table === undefined) return 0
  const prepared = await sql.prepare(
    `DELETE FROM ${table.quoted} WHERE rowid IN (SELECT rowid FROM ${table.quoted} WHERE received_at < $1 LIMIT ${rowsMax})`,
  )
  try {
    prepared.bindBigInt(1, BigInt(receivedBefore))
    return (await prepared.run()).rowsChanged
  } finally {
    prepared.destroySync()
  }
}

async function checkpoint(options: RetentionOptions): Promise<void> {
  for (let attempt = 1; attempt <= CHECKPOINT_TRIES_MAX; attempt++) {
    const done = await options.exclusively(async ({ sql }) => {
      try {
        await sql.run('CHECKPOINT')
        return true
      } catch (error) {
        if (isBusy(error)) return false
        throw error
      }
    })
    if (done) return
    await sleep(options.clock, CHECKPOINT_WAIT_MS)
  }
}
