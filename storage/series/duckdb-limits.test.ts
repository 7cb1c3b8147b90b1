import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { InternalError, InvalidInputError, LimitError } from '../../kernel/errors.ts'
import { crossCheckSeriesConfig, type SeriesConfig } from './config.ts'
import type { DuckdbSeriesStore } from './duckdb-series-store.ts'
import { allPages, asStored, MIDNIGHT, offsetsAfter, ReadingSource } from './testing/contract-engine.ts'
import { openStore, seriesConfig } from './testing/store.ts'

async function temporaryStore(t: TestContext, config: Partial<SeriesConfig> = {}): Promise<DuckdbSeriesStore> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-series-'))
  const store = await openStore(directory, { config })
  t.after(async () => {
    await store.stop()
    await rm(directory, { recursive: true })
  })
  return store
}

describe('bounds of writing', () => {
  test('a metric beyond columnsMax is named, nothing of its write is stored, and the writer goes on', async (t) => {
    const store = await temporaryStore(t, { columnsMax: 3 })
    const source = new ReadingSource()
    const first = [source.reading({ values: { a: 1, b: 2 } })]
    await store.write(first, offsetsAfter(first))
    const tooWide = [source.reading({ values: { a: 2 } }), source.reading({ values: { c: 1, overflowing: 1 } })]
    await assert.rejects(store.write(tooWide, offsetsAfter(tooWide)), (error: unknown) => {
      assert.ok(error instanceof LimitError && !error.retryable)
      assert.match(error.message, /pump.*columnsMax.*"overflowing"/)
      assert.deepEqual(error.details, { type: 'pump', metric: 'overflowing', columnsMax: 3 })
      return true
    })
    assert.deepEqual(await store.positions(), offsetsAfter(first))
    const fitting = [tooWide[0] as (typeof tooWide)[0], source.reading({ type: 'other', values: { overflowing: 1 } })]
    await store.write(fitting, new Map([[0, 4]]))
    assert.deepEqual((await store.range({ tenant: 'default', limit: 10 })).items, [...first, ...fitting].map(asStored).reverse())
  })

  test('a metric of another kind than its column is named, nothing of its write is stored, and the writer goes on', async (t) => {
    const store = await temporaryStore(t)
    const source = new ReadingSource()
    const good = source.many(3_000, () => ({ values: { mode: 'a mode of more than twelve bytes' } }))
    await store.write(good, offsetsAfter(good))
    const mixed = [...source.many(2_500, () => ({ values: { mode: 'on' } })), source.reading({ values: { mode: 1 } })]
    await assert.rejects(store.write(mixed, offsetsAfter(mixed)), (error: unknown) => {
      assert.ok(error instanceof InvalidInputError)
      assert.equal(error.code, 'METRIC_KIND_CHANGED')
      assert.deepEqual(error.details, { type: 'pump', metric: 'mode', kind: 'string', device: 'pump-1', partition: 0, offset: 5_500 })
      return true
    })
    assert.equal(await store.count('default'), 3_000)
    const rest = mixed.slice(0, 2_500)
    await store.write(rest, offsetsAfter(rest))
    const { items } = await allPages(store, { tenant: 'default', limit: 2_000 })
    assert.deepEqual(items, [...good, ...rest].map(asStored).reverse())
  })

  test('a row that its next offset does not cover is refused: a replay would store it twice', async (t) => {
    const store = await temporaryStore(t)
    const rows = new ReadingSource().many(3)
    await assert.rejects(store.write(rows, new Map([[0, 2]])), InternalError)
    await assert.rejects(store.write(rows, new Map([[1, 9]])), InternalError)
    assert.equal(await store.count('default'), 0)
  })

  test('a write larger than what an appender gathers by itself is still one transaction', async (t) => {
    const store = await temporaryStore(t)
    const source = new ReadingSource()
    const rows = [...source.many(250_000), source.reading({ values: { temperature: 'not a number' } })]
    await assert.rejects(store.write(rows, offsetsAfter(rows)), { code: 'METRIC_KIND_CHANGED' })
    assert.equal(await store.count('default'), 0)
    await store.write(rows.slice(0, -1), new Map([[0, 250_000]]))
    assert.equal(await store.count('default'), 250_000)
  })

  test('more types than appenders may stay open are all stored', async (t) => {
    const store = await temporaryStore(t, { columnsMax: 32, openColumnsMax: 64 })
    const source = new ReadingSource()
    const written = []
    for (let round = 0; round < 3; round++) {
      const batch = source.many(90, (index) => ({ type: `type-${index % 30}`, values: { [`m${index % 30}`]: index, shared: round } }))
      await store.write(batch, offsetsAfter(batch))
      written.push(...batch)
    }
    assert.deepEqual((await store.range({ tenant: 'default', limit: 1_000 })).items, written.map(asStored).reverse())
  })

  test('writes that nobody waits for are refused beyond writeQueueMax', async (t) => {
    const store = await temporaryStore(t, { writeQueueMax: 2 })
    const source = new ReadingSource()
    const writes = [1, 2, 3].map(() => {
      const rows = source.many(1)
      return store.write(rows, offsetsAfter(rows))
    })
    const outcomes = await Promise.allSettled(writes)
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'rejected'],
    )
    assert.ok((outcomes[2] as PromiseRejectedResult).reason instanceof LimitError)
  })
})

describe('bounds of reading', () => {
  test('a page is never larger than rangeLimitMax, and its cursor leads to the rest', async (t) => {
    const store = await temporaryStore(t, { rangeLimitMax: 4 })
    const rows = new ReadingSource().many(10)
    await store.write(rows, offsetsAfter(rows))
    const { items, pages } = await allPages(store, { tenant: 'default', limit: 1_000_000 })
    assert.equal(pages, 3)
    assert.deepEqual(items, rows.map(asStored).reverse())
  })

  test('more buckets than bucketsMax are refused with the field that can change it', async (t) => {
    const store = await temporaryStore(t, { bucketsMax: 5 })
    const rows = new ReadingSource().many(6)
    await store.write(rows, offsetsAfter(rows))
    const asked = { tenant: 'default', device: 'pump-1', metric: 'temperature', fromTs: 0, toTs: MIDNIGHT * 2 }
    assert.equal((await store.downsample({ ...asked, intervalMs: 2_000 })).length, 3)
    await assert.rejects(store.downsample({ ...asked, intervalMs: 1_000 }), {
      code: 'INVALID_INPUT',
      details: { field: 'intervalMs', bucketsMax: 5 },
    })
  })

  test('a stop ends queries that run or wait, and leaves nothing behind', async (t) => {
    const store = await temporaryStore(t, { readConnections: 1 })
    const rows = new ReadingSource().many(20_000)
    await store.write(rows, offsetsAfter(rows))
    const queries = Array.from({ length: 20 }, () => store.range({ tenant: 'default', limit: 10_000 }))
    const settled = Promise.allSettled(queries)
    await store.stop()
    const outcomes = await settled
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') assert.equal(outcome.value.items.length, 10_000)
      else assert.match((outcome.reason as { code: string }).code, /^(STORE_STOPPED|TIMEOUT)$/)
    }
    assert.equal(outcomes.at(-1)?.status, 'rejected')
  })
})

test('the configuration names bounds that do not fit one another', () => {
  assert.deepEqual(crossCheckSeriesConfig(seriesConfig(), 'series'), [])
  const [fault] = crossCheckSeriesConfig(seriesConfig({ columnsMax: 4096 }), 'storage.series')
  assert.equal(fault?.key, 'storage.series.openColumnsMax')
  assert.equal(fault?.allowed, 'at least 4104')
})
