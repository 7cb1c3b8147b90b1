import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DAY_MS, MIDNIGHT, offsetsAfter, ReadingSource } from './testing/contract-engine.ts'
import { dropTables, newPrefix, openQuestdbStore, runSql, sharedQuestdb } from './testing/questdb.ts'

const { httpUrl, pgUrl } = sharedQuestdb()

test('erased readings have no value left in the table, other processes keep them out too, and days without others are dropped', async (t) => {
  const prefix = newPrefix()
  const config = { httpUrl, pgUrl, tablePrefix: prefix, catalogueMaxAgeMs: 0 }
  const store = await openQuestdbStore(config)
  const other = await openQuestdbStore(config)
  t.after(async () => {
    await store.stop()
    await other.stop()
    await dropTables(pgUrl, prefix)
  })
  const source = new ReadingSource()
  const gone = source.many(20, (index) => ({ device: 'gone', ts: MIDNIGHT + Math.floor(index / 10) * DAY_MS + (index % 10) * 1_000 }))
  const kept = source.many(20, (index) => ({ device: 'kept', ts: MIDNIGHT + DAY_MS + index * 500 }))
  await store.write([...gone, ...kept], offsetsAfter([...gone, ...kept]))
  await store.settle()
  const before = MIDNIGHT + 3 * DAY_MS
  assert.equal(await store.erase('default', 'gone', before), 20)
  const [row] = await runSql(pgUrl, `SELECT table_name FROM ${prefix}catalogue LIMIT 1`)
  const table = String(row?.[0])
  await runSql(pgUrl, `SELECT wait_wal_table('${table}')`)
  const rows = await runSql(pgUrl, `SELECT received_at::LONG, m_temperature FROM ${table} WHERE device = 'gone'`)
  assert.ok(rows.length > 0 && rows.every(([receivedAt, value]) => Number(receivedAt) === 0 && value === null), JSON.stringify(rows))
  const partitions = await runSql(pgUrl, `SELECT name FROM table_partitions('${table}')`)
  assert.deepEqual(
    partitions.map(([name]) => name),
    ['2025-11-22'],
  )

  const late = source.reading({ device: 'gone', ts: MIDNIGHT + DAY_MS, receivedAt: MIDNIGHT + DAY_MS })
  await other.write([late], offsetsAfter([late]))
  await other.settle()
  assert.equal(await other.count('default', 'gone'), 0)
  assert.equal(await other.count('default'), 20)
  assert.equal(await store.count('default', 'gone'), 0, 'another process knows that it is erased')
})
