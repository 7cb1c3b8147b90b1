import type { DuckDBConnection } from '@duckdb/node-api'
import { inTransaction } from './duckdb-transaction.ts'
import { removeRows, type RetentionOptions } from './duckdb-retention.ts'
import type { Erasures } from './erasures.ts'

/** Made by whichever version first needs it: a file without it has nothing erased. */
const CREATE =
  'CREATE TABLE IF NOT EXISTS series_erased (tenant VARCHAR NOT NULL, device VARCHAR NOT NULL, received_before BIGINT NOT NULL)'

export async function loadErasures(sql: DuckDBConnection, into: Erasures): Promise<void> {
  await sql.run(CREATE)
  const rows = await (await sql.run('SELECT tenant, device, received_before::DOUBLE FROM series_erased')).getRows()
  for (const [tenant, device, receivedBefore] of rows as [string, string, number][]) into.note(tenant, device, receivedBefore)
}

/**
 * Removes a device's rows received before an instant, slice by slice. That they are erased is durable before the first one goes: neither a
 * write that comes later nor a crash brings one back, and a call that was cut short is repeated.
 */
export async function eraseDevice(
  { tenant, device, receivedBefore }: { tenant: string; device: string; receivedBefore: number },
  options: RetentionOptions & { erasures: () => Erasures },
): Promise<number> {
  await options.exclusively(async ({ sql }) => {
    await inTransaction(sql, async () => {
      await sql.run('DELETE FROM series_erased WHERE tenant = $1 AND device = $2 AND received_before <= $3', [
        tenant,
        device,
        BigInt(receivedBefore),
      ])
      await sql.run('INSERT INTO series_erased VALUES ($1, $2, $3)', [tenant, device, BigInt(receivedBefore)])
    })
    options.erasures().note(tenant, device, receivedBefore)
  })
  return await removeRows(
    {
      sql: 'tenant = $1 AND device = $2 AND received_at < $3',
      bind: (prepared) => {
        prepared.bindVarchar(1, tenant)
        prepared.bindVarchar(2, device)
        prepared.bindBigInt(3, BigInt(receivedBefore))
      },
    },
    options,
  )
}
