import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InvalidInputError } from '../../kernel/errors.ts'
import { allPages, asStored, MIDNIGHT, offsetsAfter, ReadingSource, writeAll, type SeriesEngine } from './testing/contract-engine.ts'

/** Ranges, pages, latest, buckets and counts. */
export function readingContract(engine: () => SeriesEngine): void {
  describe('range', () => {
    test('answers newest event time first, then newest receipt, then highest offset', async () => {
      const source = new ReadingSource()
      const readings = [
        source.reading({ ts: MIDNIGHT + 1, receivedAt: MIDNIGHT + 50 }),
        source.reading({ ts: MIDNIGHT + 2, receivedAt: MIDNIGHT + 10, type: 'valve' }),
        source.reading({ ts: MIDNIGHT + 1, receivedAt: MIDNIGHT + 40 }),
        source.reading({ ts: MIDNIGHT + 1, receivedAt: MIDNIGHT + 50, type: 'valve' }),
      ]
      await writeAll(engine(), readings)
      const expected = [1, 3, 0, 2].map((index) => asStored(readings[index] as (typeof readings)[0]))
      const { items } = await engine().store.range({ tenant: 'default', limit: 10 })
      assert.deepEqual(items, expected)
      for (const limit of [1, 2, 3]) assert.deepEqual((await allPages(engine().store, { tenant: 'default', limit })).items, expected)
    })

    test('continues a page exactly where it ended while newer readings arrive', async () => {
      const source = new ReadingSource()
      const readings = source.many(20, (index) => ({
        type: `t${index % 3}`,
        partition: index % 2,
        ts: MIDNIGHT + Math.floor(index / 4),
        receivedAt: MIDNIGHT,
      }))
      await writeAll(engine(), readings)
      const first = await engine().store.range({ tenant: 'default', limit: 7 })
      assert.ok(first.next !== null)
      await writeAll(
        engine(),
        source.many(9, () => ({ ts: MIDNIGHT + 100 })),
      )
      const second = await engine().store.range({ tenant: 'default', limit: 100, cursor: first.next })
      assert.equal(second.next, null)
      const order = readings.map((reading) => reading).sort((a, b) => b.ts - a.ts || b.offset - a.offset || b.partition - a.partition)
      assert.deepEqual([...first.items, ...second.items], order.map(asStored))
    })

    test('has no next page when the last one is full', async () => {
      const source = new ReadingSource()
      await writeAll(engine(), source.many(4))
      const { items, next } = await engine().store.range({ tenant: 'default', limit: 4 })
      assert.equal(items.length, 4)
      assert.equal(next, null)
    })

    test('bounds event time, the first instant included and the last not', async () => {
      const source = new ReadingSource()
      const readings = source.many(10, (index) => ({ ts: MIDNIGHT + index }))
      await writeAll(engine(), readings)
      const { items } = await engine().store.range({ tenant: 'default', fromTs: MIDNIGHT + 3, toTs: MIDNIGHT + 6, limit: 10 })
      assert.deepEqual(
        items.map(({ ts }) => ts - MIDNIGHT),
        [5, 4, 3],
      )
    })

    test('finds one device through all the types it has had', async () => {
      const source = new ReadingSource()
      const readings = source.many(12, (index) => ({ device: `d${index % 2}`, type: index < 6 ? 'generic' : 'pump' }))
      await writeAll(engine(), readings)
      const { items } = await engine().store.range({ tenant: 'default', device: 'd1', limit: 10 })
      const expected = readings.filter(({ device }) => device === 'd1').map(asStored)
      assert.deepEqual(items, expected.reverse())
      assert.deepEqual(await engine().store.latest('default', 'd1'), expected[0])
      assert.equal(await engine().store.latest('default', 'd9'), null)
    })

    test('finds several devices in one order and with one limit', async () => {
      const source = new ReadingSource()
      const readings = source.many(12, (index) => ({ device: `d${index % 4}`, type: index < 6 ? 'generic' : 'pump' }))
      await writeAll(engine(), readings)
      const expected = readings.filter(({ device }) => device === 'd1' || device === 'd3').map(asStored)
      expected.reverse()
      const asked = { tenant: 'default', device: ['d1', 'd3', "d9' OR '1'='1"] }
      assert.deepEqual(await engine().store.range({ ...asked, limit: 10 }), { items: expected, next: null })
      assert.deepEqual((await allPages(engine().store, { ...asked, limit: 4 })).items, expected)
    })

    test('with a metric gives only readings that carry it, and it alone', async () => {
      const source = new ReadingSource()
      const readings = [
        source.reading({ values: { temperature: 0, mode: 'eco' } }),
        source.reading({ values: { mode: 'eco' } }),
        source.reading({ type: 'valve', values: { temperature: 2, open: false } }),
        source.reading({ type: 'lamp', values: { open: true } }),
      ]
      await writeAll(engine(), readings)
      const { items, next } = await engine().store.range({ tenant: 'default', metric: 'temperature', limit: 2 })
      assert.deepEqual(
        items.map(({ type, values }) => [type, values]),
        [
          ['valve', { temperature: 2 }],
          ['pump', { temperature: 0 }],
        ],
      )
      assert.equal(next, null)
      assert.deepEqual((await engine().store.range({ tenant: 'default', metric: 'nothing', limit: 2 })).items, [])
    })

    test('refuses cursors it did not give and limits below one', async () => {
      const source = new ReadingSource()
      await writeAll(engine(), source.many(3))
      const { next } = await engine().store.range({ tenant: 'default', limit: 1 })
      const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
      const bad = [
        '',
        'x',
        '!!!',
        encoded({}),
        encoded([]),
        encoded([1, 2, 3]),
        encoded([1, 'a', 1, 1, 1]),
        encoded([1, 1.5, 1, 1, 1]),
        `${next ?? ''}x`,
        '🙂',
      ]
      for (const cursor of bad) {
        await assert.rejects(engine().store.range({ tenant: 'default', limit: 1, cursor }), InvalidInputError, JSON.stringify(cursor))
      }
      for (const limit of [0, -1, 1.5, NaN]) await assert.rejects(engine().store.range({ tenant: 'default', limit }), InvalidInputError)
    })

    test('takes whatever text is asked for as a value, never as a statement', async () => {
      const source = new ReadingSource()
      await writeAll(engine(), source.many(3))
      for (const text of [`' OR '1'='1`, `"; DROP TABLE pump; --`, '$1', '%', '\u0000', '\\']) {
        assert.deepEqual((await engine().store.range({ tenant: text, limit: 5 })).items, [])
        assert.deepEqual((await engine().store.range({ tenant: 'default', device: text, limit: 5 })).items, [])
        assert.deepEqual((await engine().store.range({ tenant: 'default', metric: text, limit: 5 })).items, [])
        assert.equal(await engine().store.latest('default', text), null)
        assert.equal(await engine().store.count(text), 0)
        assert.equal((await engine().store.metrics('default', text)).size, 0)
      }
      assert.equal(await engine().store.count('default'), 3)
    })

    test('answers on an empty store', async () => {
      assert.deepEqual(await engine().store.range({ tenant: 'default', limit: 5 }), { items: [], next: null })
      assert.equal(await engine().store.latest('default', 'pump-1'), null)
      assert.equal(await engine().store.count('default'), 0)
      assert.equal(await engine().store.retain(MIDNIGHT), 0)
    })
  })

  describe('tenants', () => {
    test('never see each other', async () => {
      const source = new ReadingSource()
      const readings = source.many(10, (index) => ({ tenant: index < 7 ? 'acme' : 'globex', values: { temperature: index } }))
      await writeAll(engine(), readings)
      assert.equal(await engine().store.count('acme'), 7)
      assert.equal(await engine().store.count('globex'), 3)
      const { items } = await engine().store.range({ tenant: 'acme', limit: 100 })
      assert.deepEqual(items, readings.slice(0, 7).map(asStored).reverse())
      assert.deepEqual(await engine().store.latest('acme', 'pump-1'), asStored(readings[6] as (typeof readings)[0]))
      const buckets = await engine().store.downsample({
        tenant: 'globex',
        device: 'pump-1',
        metric: 'temperature',
        fromTs: MIDNIGHT,
        toTs: MIDNIGHT + 60_000,
        intervalMs: 60_000,
      })
      assert.deepEqual(buckets, [{ ts: MIDNIGHT, count: 3, min: 7, max: 9, mean: 8, first: 7, last: 9 }])
    })
  })

  describe('downsample', () => {
    const asked = {
      tenant: 'default',
      device: 'pump-1',
      metric: 'temperature',
      fromTs: MIDNIGHT,
      toTs: MIDNIGHT + 60_000,
      intervalMs: 10_000,
    }

    test('gives the non-empty buckets with count, min, max, mean, first and last', async () => {
      const source = new ReadingSource()
      const readings = [
        source.reading({ ts: MIDNIGHT + 9_000, values: { temperature: 3 } }),
        source.reading({ ts: MIDNIGHT + 1_000, values: { temperature: 5 } }),
        source.reading({ ts: MIDNIGHT + 4_000, values: { temperature: 1, mode: 'eco' } }),
        source.reading({ ts: MIDNIGHT + 5_000, values: { mode: 'eco' } }),
        source.reading({ ts: MIDNIGHT + 30_000, values: { temperature: -4 } }),
        source.reading({ ts: MIDNIGHT + 31_000, device: 'pump-2', values: { temperature: 99 } }),
        source.reading({ ts: MIDNIGHT + 60_000, values: { temperature: 99 } }),
        source.reading({ ts: MIDNIGHT - 1, values: { temperature: 99 } }),
      ]
      await writeAll(engine(), readings)
      assert.deepEqual(await engine().store.downsample(asked), [
        { ts: MIDNIGHT, count: 3, min: 1, max: 5, mean: 3, first: 5, last: 3 },
        { ts: MIDNIGHT + 30_000, count: 1, min: -4, max: -4, mean: -4, first: -4, last: -4 },
      ])
    })

    test('begins buckets at multiples of the width since the epoch', async () => {
      const source = new ReadingSource()
      await writeAll(engine(), [source.reading({ ts: MIDNIGHT + 12_345, values: { temperature: 1 } })])
      const [bucket] = await engine().store.downsample({ ...asked, fromTs: MIDNIGHT + 11_111, intervalMs: 7_000 })
      assert.equal(bucket?.ts, Math.floor((MIDNIGHT + 12_345) / 7_000) * 7_000)
    })

    test('goes through all the types a device has had', async () => {
      const source = new ReadingSource()
      const readings = source.many(4, (index) => ({ type: index < 2 ? 'generic' : 'pump', values: { temperature: index } }))
      await writeAll(engine(), readings)
      assert.deepEqual(await engine().store.downsample(asked), [{ ts: MIDNIGHT, count: 4, min: 0, max: 3, mean: 1.5, first: 0, last: 3 }])
    })

    test('refuses metrics that hold no numbers and widths below a millisecond; knows nothing of unknown ones', async () => {
      const source = new ReadingSource()
      await writeAll(engine(), [source.reading({ values: { mode: 'eco', ok: true } })])
      for (const metric of ['mode', 'ok']) await assert.rejects(engine().store.downsample({ ...asked, metric }), InvalidInputError)
      for (const intervalMs of [0, -5, 0.5]) await assert.rejects(engine().store.downsample({ ...asked, intervalMs }), InvalidInputError)
      assert.deepEqual(await engine().store.downsample({ ...asked, metric: 'nothing' }), [])
    })
  })

  describe('reading beside writing', () => {
    test('sees whole writes only, and each reading once', async () => {
      const source = new ReadingSource()
      await writeAll(engine(), source.many(200))
      let writing = true
      const writer = async (): Promise<void> => {
        for (let round = 0; round < 14; round++) {
          const batch = source.many(200, (index) => ({ type: `t${index % 2}`, seq: round }))
          await engine().store.write(batch, offsetsAfter(batch))
        }
        writing = false
      }
      const reader = async (): Promise<void> => {
        while (writing) {
          const { items } = await allPages(engine().store, { tenant: 'default', limit: 1000 })
          assert.equal(new Set(items.map(({ ts }) => ts)).size, items.length)
        }
      }
      await Promise.all([writer(), reader(), reader()])
      await engine().settle()
      assert.equal(await engine().store.count('default'), 3000)
    })
  })
}
