import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { integerBetween, systemRandom } from '../../kernel/random.ts'
import { anyText } from '../../kernel/testing/any-text.ts'
import type { MetricValue } from '../../contracts/reading.ts'
import { allPages, asStored, MIDNIGHT, ReadingSource, writeAll, type ReadingParts, type SeriesEngine } from './testing/contract-engine.ts'

const RUNS = 25

/** Metric names as strange as JSON allows; each name keeps one kind within its type, as ingest sees to. */
const metricNames = fc.uniqueArray(
  fc.oneof(
    anyText({ maxLength: 80 }),
    fc.constantFrom('__proto__', 'constructor', 'ts', 'TS', 'Ts', 'tenant', 'rowid', '"', "'", '`', '\\', '$1'),
  ),
  { minLength: 1, maxLength: 12 },
)
const valuesOf: Record<string, fc.Arbitrary<MetricValue>> = {
  number: fc.double({ noNaN: true, noDefaultInfinity: true }),
  boolean: fc.boolean(),
  string: anyText({ maxLength: 40 }),
}

const batches = metricNames.chain((names) =>
  fc.array(fc.constantFrom('number', 'boolean', 'string'), { minLength: names.length, maxLength: names.length }).chain((kinds) => {
    const values = fc
      .tuple(...kinds.map((kind) => fc.option(valuesOf[kind] as fc.Arbitrary<MetricValue>, { nil: undefined, freq: 3 })))
      .map((drawn) => {
        const entries = names.map((name, index) => [name, drawn[index]] as const)
        return Object.fromEntries(entries.filter((entry): entry is readonly [string, MetricValue] => entry[1] !== undefined))
      })
    const parts: fc.Arbitrary<ReadingParts> = fc.record(
      {
        device: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
        ts: fc.oneof(fc.integer({ min: MIDNIGHT, max: MIDNIGHT + 5 }), fc.integer({ min: 946_684_800_000, max: 4_102_444_800_000 })),
        receivedAt: fc.integer({ min: MIDNIGHT, max: MIDNIGHT + 5 }),
        boot: anyText({ maxLength: 20 }),
        seq: fc.maxSafeNat(),
        partition: fc.integer({ min: 0, max: 3 }),
        values,
      },
      { requiredKeys: ['device', 'ts', 'receivedAt', 'partition', 'values'] },
    )
    return fc.array(fc.array(parts, { maxLength: 40 }), { minLength: 1, maxLength: 4 })
  }),
)

/** What goes in comes out: any readings, in any batches, through pages of any size. The seed is printed; TEST_SEED replays it. */
export function propertyContract(engine: () => SeriesEngine): void {
  describe('any readings', () => {
    test('come back through pages, each once and in order', async (t) => {
      const seed = Number(process.env['TEST_SEED'] ?? integerBetween(systemRandom, 1, 2 ** 31 - 1))
      t.diagnostic(`seed ${seed}`)
      const source = new ReadingSource()
      let run = 0
      const property = fc.asyncProperty(batches, fc.integer({ min: 1, max: 50 }), async (drawn, limit) => {
        // One engine for all runs: a tenant and a type of its own keep each run apart.
        const tenant = `run-${run++}`
        const written = []
        for (const batch of drawn) {
          const readings = batch.map((parts, index) => source.reading({ ...parts, tenant, type: index % 3 === 0 ? `${tenant}-b` : tenant }))
          await writeAll(engine(), readings)
          written.push(...readings)
        }
        written.sort((a, b) => b.ts - a.ts || b.receivedAt - a.receivedAt || b.offset - a.offset || b.partition - a.partition)
        const { items } = await allPages(engine().store, { tenant, limit })
        assert.deepEqual(items, written.map(asStored))
        assert.equal(await engine().store.count(tenant), written.length)
        const identities = written.map(({ device, ts, boot, seq, partition }) => {
          return { tenant, device, ts, boot: boot ?? null, seq: seq ?? null, partition, offset: Number.MAX_SAFE_INTEGER }
        })
        assert.ok((await engine().store.contains(identities)).every(Boolean))
      })
      await fc.assert(property, { seed, numRuns: RUNS })
    })
  })
}
