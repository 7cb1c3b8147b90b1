import type { Catalogue } from './duckdb-catalogue.ts'
import type { FileConnection } from './duckdb-file.ts'

export interface RetentionOptions {
  sliceRows: number
  /** Lets one step at a time use the writer's connection, between writes. */
  exclusively: <T>(step: (connection: FileConnection, catalogue: Catalogue) => Promise<T>) => Promise<T>
}

/**
 * Removes rows received before an instant, slice by slice, then folds the deletions into the file.
 * DuckDB frees the blocks of removed rows at a checkpoint (`VACUUM` does not) and uses them again for later rows, so the file stops growing;
 * its tail is cut off when free. Rows that a running query still sees are freed by the next checkpoint that follows a write.
 */
export async function removeReceivedBefore(receivedBefore: number, options: RetentionOptions): Promise<number> {
  const types = await options.exclusively(async (_, catalogue) => catalogue.tables().map(({ type }) => type))
  let removed = 0
  for (const type of types) {
    for (let slice = options.sliceRows; slice === options.sliceRows; removed += slice) {
      slice = await options.exclusively(({ sql }, catalogue) => removeSlice(sql, catalogue, type, receivedBefore, options.sliceRows))
    }
  }
  if (removed > 0) await options.exclusively(({ sql }) => sql.run('CHECKPOINT'))
  return removed
}

async function removeSlice(
  sql: FileConnection['sql'],
  catalogue: Catalogue,
  type: string,
  receivedBefore: number,
  rowsMax: number,
): Promise<number> {
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
