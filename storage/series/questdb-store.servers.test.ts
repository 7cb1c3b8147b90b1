import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { InternalError, InvalidInputError, LimitError, StoreError } from '../../kernel/errors.ts'
import type { QuestdbConfig } from './questdb-config.ts'
import type { QuestdbSeriesStore } from './questdb-series-store.ts'
import { allPages, asStored, MIDNIGHT, offsetsAfter, ReadingSource } from './testing/contract-engine.ts'
import { dropTables, makeQuestdbStore, newPrefix, openQuestdbStore, runSql, sharedQuestdb } from './testing/questdb.ts'

const { httpUrl, pgUrl } = sharedQuestdb()

/** A prefix whose tables go with the test, and stores over it. */
function prefixFor(t: TestContext): { prefix: string; open: (changes?: Partial<QuestdbConfig>) => Promise<QuestdbSeriesStore> } {
  const prefix = newPrefix()
  const stores: QuestdbSeriesStore[] = []
  t.after(async () => {
    for (const store of stores) await store.stop()
    await dropTables(pgUrl, prefix)
  })
  return {
    prefix,
    open: async (changes = {}) => {
      const store = await openQuestdbStore({ httpUrl, pgUrl, tablePrefix: prefix, ...changes })
      stores.push(store)
      return store
    },
  }
}

async function tableOf(prefix: string): Promise<string> {
  const [row] = await runSql(pgUrl, `SELECT table_name FROM ${prefix}catalogue LIMIT 1`)
  return String(row?.[0])
}

describe('stored once', () => {
  test('rows that come again without a position replace themselves, whatever of boot and seq they lack', async (t) => {
    const { prefix, open } = prefixFor(t)
    const first = await open()
    const source = new ReadingSource()
    const at = { ts: MIDNIGHT }
    const readings = [
      source.reading({ ...at, boot: 'b', seq: 1 }),
      source.reading({ ...at, boot: 'b', seq: 2 }),
      source.reading({ ...at, seq: 1 }),
      source.reading({ ...at, boot: '', seq: 1 }),
      source.reading({ ...at, boot: 'b' }),
      source.reading({ ...at }),
      source.reading({ ...at, partition: 1 }),
    ]
    await first.write(readings, offsetsAfter(readings))
    await first.settle()
    // As after a crash between rows and positions.
    await runSql(pgUrl, `TRUNCATE TABLE ${prefix}marks`)
    const second = await open()
    assert.equal((await second.positions()).size, 0)
    for (let round = 0; round < 2; round++)
      await second.write(
        readings,
        new Map([
          [0, 100 + round],
          [1, 100 + round],
        ]),
      )
    await second.settle()
    assert.equal(await second.count('default'), readings.length)
    const [row] = await runSql(pgUrl, `SELECT count() FROM ${await tableOf(prefix)}`)
    assert.equal(Number(row?.[0]), readings.length)
  })

  test('the key of a table is the identity of a reading', async (t) => {
    const { prefix, open } = prefixFor(t)
    const store = await open({ partitionBy: 'HOUR', ttl: '90 DAYS' })
    const readings = new ReadingSource().many(1)
    await store.write(readings, offsetsAfter(readings))
    const columns = await runSql(pgUrl, `SELECT "column", type, upsertKey FROM table_columns('${await tableOf(prefix)}')`)
    assert.deepEqual(
      columns.filter(([, , isKey]) => isKey === true).map(([name]) => name),
      ['ts', 'device', 'boot', 'seq', 'unnumbered'],
    )
    const [table] = await runSql(pgUrl, 'SELECT walEnabled, dedup, partitionBy, ttlValue, ttlUnit FROM tables() WHERE table_name = $1', [
      await tableOf(prefix),
    ])
    assert.deepEqual(table, [true, true, 'HOUR', 90, 'DAY'])
  })

  test('one identity that reaches the log twice is one row', async (t) => {
    const { open } = prefixFor(t)
    const store = await open()
    const source = new ReadingSource()
    const readings = [0, 1].map((partition) => source.reading({ ts: MIDNIGHT, boot: 'b', seq: 7, partition }))
    await store.write(readings, offsetsAfter(readings))
    await store.settle()
    assert.equal(await store.count('default'), 1)
  })
})

describe('several processes on the same tables', () => {
  test('write their own partitions, and see what the others wrote', async (t) => {
    const { open } = prefixFor(t)
    const stores = await Promise.all([open(), open(), open()])
    const source = new ReadingSource()
    const written = []
    for (let round = 0; round < 5; round++) {
      const batches = stores.map((_, partition) =>
        source.many(300, (index) => ({
          partition,
          device: `d${partition}-${index % 5}`,
          type: `t${index % 3}`,
          values: { temperature: index, [`round-${round}`]: true },
        })),
      )
      await Promise.all(batches.map((batch, index) => (stores[index] as QuestdbSeriesStore).write(batch, offsetsAfter(batch))))
      written.push(...batches.flat())
    }
    const identities = written.map(({ tenant, device, ts, partition }) => ({
      tenant,
      device,
      ts,
      boot: null,
      seq: null,
      partition,
      offset: 10_000,
    }))
    const [, second, third] = stores
    assert.ok((await third.contains(identities)).every(Boolean))
    assert.deepEqual(await second.positions(), offsetsAfter(written))
    const { items } = await allPages(second, { tenant: 'default', limit: 1_000 })
    written.sort((a, b) => b.ts - a.ts || b.receivedAt - a.receivedAt || b.offset - a.offset || b.partition - a.partition)
    assert.deepEqual(items, written.map(asStored))
  })

  test('that see one metric first as two kinds agree on one', async (t) => {
    const { open } = prefixFor(t)
    const stores = await Promise.all([open(), open()])
    const source = new ReadingSource()
    const batches = [1, 'text'].map((value, partition) => source.many(1, () => ({ partition, values: { mode: value } })))
    const outcomes = await Promise.allSettled(
      batches.map((batch, index) => (stores[index] as QuestdbSeriesStore).write(batch, offsetsAfter(batch))),
    )
    const refused = outcomes.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[]
    assert.deepEqual(
      refused.map(({ reason }) => (reason as { code: string }).code),
      ['METRIC_KIND_CHANGED'],
    )
    const reader = await open()
    await reader.settle()
    assert.equal(await reader.count('default'), 1)
    assert.equal((await reader.range({ tenant: 'default', limit: 9 })).items.length, 1)
  })
})

describe('bounds', () => {
  test('a metric beyond columnsMax, or of another kind, is named; nothing of its write is stored, and the writer goes on', async (t) => {
    const { open } = prefixFor(t)
    const store = await open({ columnsMax: 2 })
    const source = new ReadingSource()
    const first = [source.reading({ values: { a: 1, b: 'x' } })]
    await store.write(first, offsetsAfter(first))
    const wide = [source.reading({ values: { a: 2 } }), source.reading({ values: { overflowing: 1 } })]
    await assert.rejects(store.write(wide, offsetsAfter(wide)), (error: unknown) => {
      assert.ok(error instanceof LimitError && !error.retryable)
      assert.deepEqual(error.details, { type: 'pump', metric: 'overflowing', columnsMax: 2 })
      return true
    })
    assert.match(String(store.failing), /overflowing/)
    const mixed = [wide[0] as (typeof wide)[0], source.reading({ values: { b: 1 } })]
    await assert.rejects(store.write(mixed, offsetsAfter(mixed)), (error: unknown) => {
      assert.ok(error instanceof InvalidInputError)
      assert.deepEqual(error.details, { type: 'pump', metric: 'b', kind: 'string', device: 'pump-1', partition: 0, offset: 3 })
      return true
    })
    await assert.rejects(
      store.write(
        mixed,
        new Map([
          [0, 3],
          [1, 9],
        ]),
      ),
      InternalError,
    )
    await store.settle()
    assert.equal(await store.count('default'), 1)
    await store.write(mixed.slice(0, 1), new Map([[0, 4]]))
    assert.equal(store.failing, null)
    await store.settle()
    assert.equal(await store.count('default'), 2)
  })

  test('a write larger than one request is stored whole', async (t) => {
    const { open } = prefixFor(t)
    const store = await open({ requestBytesMax: 65_536 })
    const rows = new ReadingSource().many(5_000, (index) => ({
      values: { temperature: index, [`late-${Math.floor(index / 2_500)}`]: 'a text'.repeat(9) },
    }))
    await store.write(rows, offsetsAfter(rows))
    await store.settle()
    assert.deepEqual((await allPages(store, { tenant: 'default', limit: 1_000 })).items, rows.map(asStored).reverse())
  })

  test('writes that nobody waits for, and pages and buckets beyond their bounds', async (t) => {
    const { open } = prefixFor(t)
    const store = await open({ writeQueueMax: 2, rangeLimitMax: 4, bucketsMax: 5 })
    const source = new ReadingSource()
    const writes = [1, 2, 3].map(() => {
      const rows = source.many(2)
      return store.write(rows, offsetsAfter(rows))
    })
    const outcomes = await Promise.allSettled(writes)
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'rejected'],
    )
    await store.write(source.many(4), new Map([[0, 10]]))
    await store.settle()
    assert.equal((await store.range({ tenant: 'default', limit: 1_000_000 })).items.length, 4)
    const asked = { tenant: 'default', device: 'pump-1', metric: 'temperature', fromTs: 0, toTs: MIDNIGHT * 2 }
    assert.equal((await store.downsample({ ...asked, intervalMs: 5_000 })).length, 2)
    await assert.rejects(store.downsample({ ...asked, intervalMs: 1_000 }), {
      code: 'INVALID_INPUT',
      details: { field: 'intervalMs', bucketsMax: 5 },
    })
  })
})

describe('a start', () => {
  const refused = async (store: QuestdbSeriesStore, message: RegExp): Promise<void> => {
    await assert.rejects(store.start(), (error: unknown) => {
      assert.ok(error instanceof StoreError, String(error))
      assert.match(error.message, message)
      assert.ok((error.remedy ?? '').length > 20)
      assert.doesNotMatch(`${error.message} ${error.remedy ?? ''} ${JSON.stringify(error.toJSON())}`, /hunter2/)
      return true
    })
    await store.stop()
  }
  const address = new URL(pgUrl).host

  test('over a wrong address names it', async () => {
    await refused(
      makeQuestdbStore({ httpUrl, pgUrl: 'postgres://admin:hunter2@127.0.0.1:1/qdb' }),
      /QuestDB at 127\.0\.0\.1:1 does not answer/,
    )
    await refused(
      makeQuestdbStore({ httpUrl: 'http://admin:hunter2@127.0.0.1:1', pgUrl }),
      /QuestDB at http:\/\/127\.0\.0\.1:1 does not answer/,
    )
  })

  test('with wrong credentials says so and masks them', async () => {
    await refused(
      makeQuestdbStore({ httpUrl, pgUrl: `postgres://admin:hunter2@${address}/qdb` }),
      new RegExp(`${address} does not accept the user and password`),
    )
  })

  test('over tables that are not ours names table and column, and changes nothing', async (t) => {
    const { prefix, open } = prefixFor(t)
    await runSql(
      pgUrl,
      `CREATE TABLE ${prefix}marks (ts TIMESTAMP, mark VARCHAR, value DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, mark)`,
    )
    await assert.rejects(open(), {
      code: 'STORE_UNUSABLE',
      message: new RegExp(`table ${prefix}marks of QuestDB at ${address} is not ours: its column value is DOUBLE instead of LONG`),
    })
    await runSql(pgUrl, `DROP TABLE ${prefix}marks`)
    const store = await open()
    const rows = new ReadingSource().many(3)
    await store.write(rows, offsetsAfter(rows))
    await store.settle()
    await store.stop()
    const table = await tableOf(prefix)
    await runSql(pgUrl, `ALTER TABLE ${table} DROP COLUMN m_temperature`)
    await runSql(pgUrl, `SELECT wait_wal_table('${table}')`)
    await assert.rejects(open(), {
      code: 'STORE_UNUSABLE',
      message: new RegExp(`table ${table} .* is not ours: it has no column m_temperature`),
    })
    await runSql(pgUrl, `ALTER TABLE ${table} DEDUP DISABLE`)
    await runSql(pgUrl, `ALTER TABLE ${table} ADD COLUMN m_temperature DOUBLE`)
    await runSql(pgUrl, `SELECT wait_wal_table('${table}')`)
    await assert.rejects(open(), { message: /its key for DEDUP is not \(ts, device, boot, seq, unnumbered\)/ })
  })

  test('refuses a catalogue with names that are not its own', async (t) => {
    const { prefix, open } = prefixFor(t)
    await (await open()).stop()
    await runSql(pgUrl, `INSERT INTO ${prefix}catalogue VALUES (0, 'x; DROP TABLE y', '', 'default', 'pump', '""', 'number')`)
    await runSql(pgUrl, `SELECT wait_wal_table('${prefix}catalogue')`)
    await assert.rejects(open(), { code: 'STORE_CORRUPT' })
  })

  test('is idempotent, and so is a stop; what comes between and after says so', async (t) => {
    const { open } = prefixFor(t)
    const store = await open()
    await store.start()
    await store.stop()
    await store.stop()
    await assert.rejects(store.write([], new Map([[0, 1]])), { code: 'STORE_STOPPED' })
    await assert.rejects(store.count('default'), { code: 'STORE_STOPPED' })
    await store.start()
    assert.equal(await store.count('default'), 0)
  })
})
