import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  allPages,
  asStored,
  DAY_MS,
  MIDNIGHT,
  offsetsAfter,
  ReadingSource,
  writeAll,
  type SeriesEngine,
} from './testing/contract-engine.ts'
import type { ReadingIdentity } from './series-store.ts'

function identity(parts: Partial<ReadingIdentity>): ReadingIdentity {
  return { tenant: 'default', device: 'pump-1', ts: MIDNIGHT, boot: null, seq: null, partition: 0, offset: 1000, ...parts }
}

/** Writing, positions, identities, erasure and retention. */
export function writingContract(engine: () => SeriesEngine): void {
  describe('writing', () => {
    test('gives back every field as it was written', async () => {
      const source = new ReadingSource()
      const readings = [
        source.reading({ boot: 'b7', seq: 42, values: { temperature: 21.5, ok: true, mode: 'eco' } }),
        source.reading({ seq: Number.MAX_SAFE_INTEGER, values: { temperature: -1.7976931348623157e308, ok: false } }),
        source.reading({ boot: 'a boot name of more than twelve bytes', seq: 0, values: { temperature: 5e-324, mode: '' } }),
        source.reading({ values: { mode: 'Grüße, 日本 😀 and a long tail' } }),
      ]
      await writeAll(engine(), readings)
      const { items, next } = await engine().store.range({ tenant: 'default', limit: 10 })
      assert.deepEqual(items, readings.map(asStored).reverse())
      assert.equal(next, null)
    })

    test('remembers positions with the rows, through a restart', async () => {
      const source = new ReadingSource()
      assert.equal((await engine().store.positions()).size, 0)
      await writeAll(
        engine(),
        source.many(6, (index) => ({ partition: index % 2 })),
      )
      const expected = new Map([
        [0, 3],
        [1, 3],
      ])
      assert.deepEqual(await engine().store.positions(), expected)
      await engine().reopen()
      assert.deepEqual(await engine().store.positions(), expected)
      assert.equal(await engine().store.count('default'), 6)
    })

    test('skips rows before the remembered position, so that a replay stores nothing twice', async () => {
      const source = new ReadingSource()
      const first = source.many(10)
      await writeAll(engine(), first)
      const second = source.many(5)
      await writeAll(engine(), [...first.slice(4), ...second])
      await engine().reopen()
      await writeAll(engine(), [...first, ...second])
      const { items } = await engine().store.range({ tenant: 'default', limit: 100 })
      assert.deepEqual(items, [...first, ...second].map(asStored).reverse())
    })

    test('moves positions without rows, and never back', async () => {
      await engine().store.write([], new Map([[3, 100]]))
      await engine().store.write([], new Map([[3, 50]]))
      await engine().reopen()
      assert.deepEqual(await engine().store.positions(), new Map([[3, 100]]))
    })

    test('keeps two readings of one instant', async () => {
      const source = new ReadingSource()
      const readings = [1, 2].map((seq) => source.reading({ ts: MIDNIGHT, boot: 'b', seq, values: { temperature: seq } }))
      await writeAll(engine(), readings)
      assert.equal(await engine().store.count('default'), 2)
    })

    test('takes metrics that appear later, and readings that lack some', async () => {
      const source = new ReadingSource()
      const readings = [
        source.reading({ values: { a: 1 } }),
        source.reading({ values: { b: true } }),
        source.reading({ values: { a: 2, c: 'x' } }),
        source.reading({ values: { d: 4 } }),
      ]
      for (const reading of readings) await writeAll(engine(), [reading])
      const { items } = await engine().store.range({ tenant: 'default', limit: 10 })
      assert.deepEqual(items, readings.map(asStored).reverse())
      await engine().reopen()
      const kinds = await engine().store.metrics('default', 'pump')
      assert.deepEqual(Object.fromEntries(kinds), { a: 'number', b: 'boolean', c: 'string', d: 'number' })
      assert.equal((await engine().store.metrics('default', 'nothing')).size, 0)
    })

    test('two tenants may give one type and metric to different things', async () => {
      const source = new ReadingSource()
      const ours = source.reading({ type: 'shared', values: { level: 1 } })
      const theirs = source.reading({ tenant: 'other', type: 'shared', values: { level: 'high' } })
      await writeAll(engine(), [ours, theirs])
      assert.deepEqual([...(await engine().store.metrics('default', 'shared'))], [['level', 'number']])
      assert.deepEqual([...(await engine().store.metrics('other', 'shared'))], [['level', 'string']])
      assert.deepEqual((await engine().store.range({ tenant: 'other', limit: 10 })).items[0]?.values, { level: 'high' })
    })

    test('tells names apart that differ only in case or in signs', async () => {
      const source = new ReadingSource()
      const readings = ['A', 'a', 'a.b', 'a_b', 'a-b', 'select', '0'].map((type, index) =>
        source.reading({
          type,
          device: `d${index}`,
          values: { Temp: index, temp: -index, 'te"mp': 'q', "te'mp; DROP TABLE x": true, ts: 7, '': 1 },
        }),
      )
      await writeAll(engine(), readings)
      await engine().reopen()
      for (const reading of readings) {
        assert.deepEqual(await engine().store.latest('default', reading.device), asStored(reading))
        assert.equal((await engine().store.metrics(reading.tenant, reading.type)).size, 6)
      }
    })

    test('stores many types and thousands of rows in one write', async () => {
      const source = new ReadingSource()
      const readings = source.many(5000, (index) => ({
        type: `type-${index % 7}`,
        device: `a-device-with-a-long-name-${index % 100}`,
        partition: index % 3,
        seq: index,
        values:
          index % 5 === 0
            ? { [`only-${index % 7}`]: index }
            : { temperature: index / 3, mode: index % 2 === 0 ? 'on' : 'switched off entirely' },
      }))
      await writeAll(engine(), readings)
      const { items, pages } = await allPages(engine().store, { tenant: 'default', limit: 999 })
      assert.equal(pages, 6)
      const bySeq = (a: { seq: number | null }, b: { seq: number | null }): number => Number(a.seq) - Number(b.seq)
      assert.deepEqual(items.sort(bySeq), readings.map(asStored))
    })
  })

  describe('identities', () => {
    test('are (tenant, device, boot, seq, ts), or (tenant, device, ts) without seq', async () => {
      const source = new ReadingSource()
      const readings = [
        source.reading({ ts: MIDNIGHT, boot: 'b1', seq: 1 }),
        source.reading({ ts: MIDNIGHT + 1, seq: 2 }),
        source.reading({ ts: MIDNIGHT + 2 }),
        source.reading({ ts: MIDNIGHT + 3, boot: 'b1', type: 'valve' }),
      ]
      const asked: [ReadingIdentity, boolean][] = [
        [identity({ boot: 'b1', seq: 1 }), true],
        [identity({ boot: 'b2', seq: 1 }), false],
        [identity({ boot: null, seq: 1 }), false],
        [identity({ boot: 'b1', seq: 2 }), false],
        [identity({ boot: 'b1', seq: 1, ts: MIDNIGHT + 1 }), false],
        [identity({ boot: 'b1', seq: 1, device: 'pump-2' }), false],
        [identity({ boot: 'b1', seq: 1, tenant: 'other' }), false],
        [identity({ seq: 2, ts: MIDNIGHT + 1 }), true],
        [identity({ seq: 2, ts: MIDNIGHT + 1, boot: 'b1' }), false],
        [identity({ ts: MIDNIGHT + 2 }), true],
        [identity({ ts: MIDNIGHT + 3 }), true],
        [identity({ ts: MIDNIGHT + 3, boot: 'b9' }), true],
        [identity({ ts: MIDNIGHT + 4 }), false],
      ]
      const identities = asked.map(([one]) => one)
      assert.deepEqual(await engine().store.contains(identities), new Array(asked.length).fill(false))
      await writeAll(engine(), readings)
      assert.deepEqual(
        await engine().store.contains(identities),
        asked.map(([, stored]) => stored),
      )
      assert.deepEqual(await engine().store.contains([]), [])
    })

    test('count only at earlier offsets of the partition that asks', async () => {
      const source = new ReadingSource()
      source.many(5)
      await writeAll(engine(), [source.reading({ ts: MIDNIGHT, seq: 9 })])
      const asked = [
        identity({ seq: 9, offset: 5 }),
        identity({ seq: 9, offset: 6 }),
        identity({ seq: 9, offset: 4 }),
        identity({ seq: 9, offset: 6, partition: 1 }),
      ]
      assert.deepEqual(await engine().store.contains(asked), [false, true, false, false])
    })

    test('are looked up by the thousand, in the order asked', async () => {
      const source = new ReadingSource()
      const readings = source.many(3000, (index) => ({ device: `device-number-${index}`, type: `t${index % 3}`, boot: 'b', seq: index }))
      await writeAll(engine(), readings)
      const asked = readings.map((reading, index) =>
        identity({ device: reading.device, ts: reading.ts, boot: 'b', seq: index % 2 === 0 ? index : index + 1, offset: 10_000 }),
      )
      assert.deepEqual(
        await engine().store.contains(asked),
        readings.map((_, index) => index % 2 === 0),
      )
    })
  })

  describe('erasure', () => {
    test('removes one device of one tenant from every answer, for good', async () => {
      const source = new ReadingSource()
      const gone = source.many(40, (index) => ({
        device: 'gone',
        type: `t${index % 2}`,
        boot: 'b',
        seq: index,
        values: { temperature: index, mode: 'x' },
      }))
      const others = [
        ...source.many(20, (index) => ({ device: 'pump-1', type: `t${index % 2}` })),
        ...source.many(5, () => ({ tenant: 'other', device: 'gone', type: 't0' })),
      ]
      await writeAll(engine(), [...gone, ...others])
      assert.equal(await engine().store.count('default', 'gone'), 40)
      const at = Math.max(...gone.map(({ receivedAt }) => receivedAt)) + 1
      assert.equal(await engine().store.erase('default', 'gone', at), 40)
      await engine().settle()
      assert.equal(await engine().store.erase('default', 'gone', at), 0)
      const check = async (): Promise<void> => {
        assert.deepEqual(await allPages(engine().store, { tenant: 'default', device: 'gone', limit: 100 }), { items: [], pages: 1 })
        assert.equal(await engine().store.latest('default', 'gone'), null)
        assert.deepEqual(
          [await engine().store.count('default', 'gone'), await engine().store.count('default'), await engine().store.count('other')],
          [0, 20, 5],
        )
        const span = { fromTs: MIDNIGHT, toTs: MIDNIGHT + DAY_MS, intervalMs: DAY_MS }
        assert.deepEqual(await engine().store.downsample({ tenant: 'default', device: 'gone', metric: 'temperature', ...span }), [])
        const asked = gone.map(({ ts, boot, seq }) =>
          identity({ device: 'gone', ts, boot: boot ?? null, seq: seq ?? null, offset: 10_000 }),
        )
        assert.deepEqual(await engine().store.contains(asked), new Array(40).fill(false))
        assert.deepEqual(await engine().store.positions(), offsetsAfter([...gone, ...others]))
      }
      await check()
      await engine().reopen()
      await check()
    })

    test('keeps out what the log brings later of it, also after a restart, and takes in what was received after', async () => {
      const source = new ReadingSource()
      const [first, late, lateToo, after] = source.many(4, (index) => ({
        device: 'gone',
        ts: MIDNIGHT + index * 1_000,
        receivedAt: MIDNIGHT + index * 1_000,
      }))
      assert.ok(first !== undefined && late !== undefined && lateToo !== undefined && after !== undefined)
      await writeAll(engine(), [first])
      assert.equal(await engine().store.erase('default', 'gone', MIDNIGHT + 3_000), 1)
      await writeAll(engine(), [late])
      await engine().reopen()
      await writeAll(engine(), [lateToo])
      await writeAll(engine(), [after])
      const { items } = await engine().store.range({ tenant: 'default', limit: 10 })
      assert.deepEqual(items, [asStored(after)])
      assert.deepEqual(await engine().store.positions(), new Map([[0, 4]]))
    })

    test('of a device without readings is nothing, and holds all the same', async () => {
      const source = new ReadingSource()
      assert.equal(await engine().store.erase('default', 'gone', MIDNIGHT), 0)
      await writeAll(engine(), [source.reading({ device: 'gone', ts: MIDNIGHT - 10, receivedAt: MIDNIGHT - 1 }), source.reading()])
      assert.equal(await engine().store.count('default'), 1)
    })
  })

  describe('retention', () => {
    test('removes what was received before, whatever its event time, and keeps positions', async () => {
      const source = new ReadingSource()
      const old = source.many(40, (index) => ({
        type: `t${index % 2}`,
        ts: MIDNIGHT - 3 * DAY_MS + index,
        receivedAt: MIDNIGHT - 3 * DAY_MS + index,
      }))
      const kept = source.many(30, (index) => ({ type: `t${index % 3}`, ts: MIDNIGHT + index, receivedAt: MIDNIGHT + index }))
      await writeAll(engine(), [...old, ...kept])
      assert.equal(await engine().store.retain(MIDNIGHT), 40)
      await engine().settle()
      assert.equal(await engine().store.retain(MIDNIGHT), 0)
      const { items } = await engine().store.range({ tenant: 'default', limit: 100 })
      assert.deepEqual(items, kept.map(asStored).reverse())
      assert.deepEqual(await engine().store.positions(), offsetsAfter(kept))
      await writeAll(engine(), [...old, ...source.many(1)])
      assert.equal(await engine().store.count('default'), 31)
    })
  })
}
