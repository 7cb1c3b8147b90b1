import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asStored, DAY_MS, MIDNIGHT, offsetsAfter, ReadingSource } from './testing/contract-engine.ts'
import { dropTables, newPrefix, openQuestdbStore, runSql, sharedQuestdb } from './testing/questdb.ts'

const { httpUrl, pgUrl } = sharedQuestdb()
const DAYS = 6

test('retention counts from receipt, frees whole days, and keeps what was received later of an old day', async (t) => {
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
  const readings = source.many(DAYS * 10, (index) => ({ ts: MIDNIGHT + Math.floor(index / 10) * DAY_MS + (index % 10) * 1000 }))
  // Of the second day, but it came on the last.
  const late = source.reading({ ts: MIDNIGHT + DAY_MS + 500, receivedAt: MIDNIGHT + (DAYS - 1) * DAY_MS })
  await store.write([...readings, late], new Map([[0, 1_000]]))
  await store.settle()
  const bound = MIDNIGHT + 3 * DAY_MS
  assert.equal(await store.retain(bound), 30)
  assert.equal(await other.retain(bound), 0)
  await store.settle()
  const kept = [late, ...readings.filter(({ receivedAt }) => receivedAt >= bound)].sort((a, b) => b.ts - a.ts)
  for (const each of [store, other]) {
    assert.deepEqual((await each.range({ tenant: 'default', limit: 100 })).items, kept.map(asStored))
    assert.equal(await each.count('default'), kept.length)
  }
  const buckets = await store.downsample({
    tenant: 'default',
    device: 'pump-1',
    metric: 'temperature',
    fromTs: MIDNIGHT,
    toTs: MIDNIGHT + 2 * DAY_MS,
    intervalMs: DAY_MS,
  })
  assert.deepEqual(
    buckets.map(({ ts, count }) => [ts, count]),
    [[MIDNIGHT + DAY_MS, 1]],
  )
  const old = readings[0] as (typeof readings)[0]
  const identity = { tenant: 'default', device: old.device, boot: null, seq: null, partition: 0, offset: 9_999 }
  assert.deepEqual(
    await store.contains([
      { ...identity, ts: old.ts },
      { ...identity, ts: late.ts },
    ]),
    [false, true],
  )
  const [row] = await runSql(pgUrl, `SELECT table_name FROM ${prefix}catalogue LIMIT 1`)
  const partitions = await runSql(pgUrl, `SELECT name FROM table_partitions('${String(row?.[0])}')`)
  assert.deepEqual(
    partitions.map(([name]) => name),
    ['2025-11-22', '2025-11-24', '2025-11-25', '2025-11-26'],
  )
  // What retention removed does not come back with a replay of the log.
  await runSql(pgUrl, `TRUNCATE TABLE ${prefix}marks`)
  await runSql(pgUrl, `SELECT wait_wal_table('${prefix}marks')`)
  await store.write(readings, offsetsAfter(readings))
  await store.settle()
  assert.equal(await store.count('default'), kept.length)
})
