import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DeviceReadings, type SpanAsk } from './device-readings.ts'
import type { ReadingsAsk, SourceReading, Sources } from './sources.ts'

const DEVICES = ['a', 'b', 'c'] as const
const METRICS = ['m', 'n'] as const

/** A store in memory that counts what it is asked. */
function storeOf(rows: readonly SourceReading[]) {
  const asked: ReadingsAsk[] = []
  const readings: Sources['readings'] = (ask) => {
    asked.push(ask)
    const { devices, metric, fromTs = -Infinity, toTs = Infinity, limit } = ask
    const found = rows
      .filter((row) => devices.includes(row.device) && row.ts >= fromTs && row.ts < toTs)
      .filter(({ values }) => metric === undefined || Object.hasOwn(values, metric))
      .toSorted((a, b) => b.ts - a.ts)
    return Promise.resolve({ items: found.slice(0, limit), truncated: found.length > limit })
  }
  return { asked, sources: { readings } }
}

const row = fc.record({
  device: fc.constantFrom(...DEVICES),
  ts: fc.integer({ min: 0, max: 20 }),
  receivedAt: fc.integer({ min: 0, max: 20 }),
  boot: fc.constant(null),
  values: fc.subarray([...METRICS]).map((metrics) => Object.fromEntries(metrics.map((metric) => [metric, 1]))),
})
const span = fc
  .record(
    { metric: fc.constantFrom(...METRICS), fromTs: fc.integer({ min: 0, max: 20 }), toTs: fc.integer({ min: 0, max: 21 }) },
    { requiredKeys: [] },
  )
  .chain((ask) => fc.constantFrom(1, 3, 100).map((limit) => ({ ...ask, limit })))
const step = fc.oneof(
  fc.tuple(fc.constant('one' as const), fc.constantFrom(...DEVICES), span),
  fc.tuple(fc.constant('together' as const), fc.subarray([...DEVICES]), span),
)

test('whatever is asked, in whatever order, is what the store says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(row, { maxLength: 30 }), fc.array(step, { maxLength: 12 }), async (rows, steps) => {
      const readings = new DeviceReadings({ ...storeOf(rows), tenant: 't' })
      const asks: SpanAsk[] = []
      const answers = steps.flatMap(([kind, of, ask]) => {
        if (kind === 'together') return (readings.together(of, ask), [])
        asks.push({ ...ask, device: of })
        return [readings.newest({ ...ask, device: of })]
      })
      const found = await Promise.all(answers)
      for (const [index, { device, ...ask }] of asks.entries()) {
        const expected = await storeOf(rows).sources.readings({ tenant: 't', devices: [device], ...ask })
        const values = (items: readonly SourceReading[]) => items.map(({ ts, values: all }) => [ts, ask.metric === undefined ? all : all[ask.metric]])
        assert.deepEqual(values(found[index]!.items), values(expected.items))
        assert.equal(found[index]!.truncated, expected.truncated)
      }
    }),
  )
})

test('what lies within a span, or is asked of several devices, is one question', async () => {
  const rows = DEVICES.flatMap((device) => Array.from({ length: 10 }, (_, ts) => ({ device, ts, receivedAt: ts, boot: null, values: { m: ts } })))
  const { asked, sources } = storeOf(rows)
  const readings = new DeviceReadings({ sources, tenant: 't' })
  void readings.newest({ device: 'a', fromTs: 0, toTs: 10, limit: 20 })
  await Promise.all([2, 4, 6].map((toTs) => readings.newest({ device: 'a', metric: 'm', fromTs: 1, toTs, limit: 20 })))
  assert.equal(asked.length, 1)
  readings.together(['b', 'c'], { metric: 'm', fromTs: 0, toTs: 10, limit: 20 })
  const [b, c] = await Promise.all(['b', 'c'].map((device) => readings.newest({ device, metric: 'm', fromTs: 0, toTs: 10, limit: 20 })))
  assert.deepEqual([b?.items.length, c?.items.length, asked.length], [10, 10, 2])
})

test('a question that fails fails for whoever needs it, and nobody else', async () => {
  const sources = { readings: () => Promise.reject(new Error('away')) }
  const readings = new DeviceReadings({ sources, tenant: 't' })
  readings.together(['b', 'c'], { fromTs: 0, toTs: 10, limit: 20 })
  await assert.rejects(readings.newest({ device: 'b', fromTs: 1, toTs: 3, limit: 20 }), /away/)
})
