import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { bytesOf } from '../../kernel/byte-stream.ts'
import fc from 'fast-check'
import type { LoggedReading } from '../../contracts/reading.ts'
import type { WindowResult } from '../../contracts/window.ts'
import type { WindowsConfig } from './config.ts'
import { LogHistogram, RELATIVE_ERROR } from './log-histogram.ts'
import { Collected, reading, windowOperator, windowsConfig } from './window-testing.ts'

const T0 = 1_700_000_000_000

/** -0 and 0 are the same value and, as JSON, the same text; which of them a minimum is depends on their order alone. */
const withoutNegativeZero = (value: number): number => value + 0

type Expected = { startTs: number; points: { ts: number; value: number }[] }

/** Windows by the book: every value of every window in a list, the watermark recomputed for each reading. */
function oracle(config: WindowsConfig, readings: readonly LoggedReading[]): { windows: Map<string, Expected>; late: number[] } {
  const all = new Map<string, Expected>()
  const late: number[] = []
  let maxTs = -Infinity
  for (const { ts, values, offset } of readings) {
    const watermark = maxTs - config.outOfOrdernessMs
    let taken = false
    for (const { kind, sizeMs, slideMs } of config.windows) {
      for (let startTs = Math.ceil((ts - sizeMs + 1) / slideMs) * slideMs; startTs <= ts; startTs += slideMs) {
        if (startTs + sizeMs + config.allowedLatenessMs <= watermark) continue
        taken = true
        for (const [metric, value] of Object.entries(values)) {
          const id = `default/pump-1/${metric}/${kind}/${sizeMs}/${startTs}`
          const window = all.get(id) ?? { startTs, points: [] }
          window.points.push({ ts, value: Number(value) })
          all.set(id, window)
        }
      }
    }
    if (!taken) late.push(offset)
    maxTs = Math.max(maxTs, ts)
  }
  const sizeOf = (id: string): number => Number(id.split('/')[4])
  const closed = [...all].filter(([id, window]) => window.startTs + sizeOf(id) <= maxTs - config.outOfOrdernessMs)
  return { windows: new Map(closed), late }
}

function near(actual: number, expected: number, scale: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= 1e-9 * Math.max(1, scale), `${what}: ${actual}, expected ${expected}`)
}

function agree(actual: WindowResult, { points }: Expected, exact: boolean): void {
  const values = points.map((point) => point.value)
  const sorted = values.toSorted((a, b) => a - b)
  const byTime = points.map((point, i) => ({ ...point, i })).toSorted((a, b) => a.ts - b.ts || a.i - b.i)
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
  const scale = Math.max(Math.abs(sorted[0] as number), Math.abs(sorted.at(-1) as number))
  assert.equal(actual.count, values.length)
  assert.equal(actual.min, sorted[0])
  assert.equal(actual.max, sorted.at(-1))
  assert.equal(actual.first, byTime[0]?.value)
  assert.equal(actual.last, byTime.at(-1)?.value)
  near(actual.mean, mean, scale, 'mean')
  near(actual.stddev, Math.sqrt(variance), scale, 'stddev')
  const p95 = sorted[Math.ceil(0.95 * sorted.length) - 1] as number
  if (exact) assert.equal(actual.p95, p95)
  else assert.ok(Math.abs(actual.p95 - p95) <= Math.abs(p95) * RELATIVE_ERROR + 1e-9, `p95 ${actual.p95}, exactly ${p95}`)
}

const specs = fc.constantFrom<WindowsConfig['windows']>(
  [
    { kind: 'tumbling', sizeMs: 60_000, slideMs: 60_000 },
    { kind: 'hopping', sizeMs: 300_000, slideMs: 60_000 },
  ],
  [{ kind: 'hopping', sizeMs: 50_000, slideMs: 10_000 }],
  [
    { kind: 'tumbling', sizeMs: 15_000, slideMs: 15_000 },
    { kind: 'hopping', sizeMs: 40_000, slideMs: 20_000 },
  ],
)

const steps = fc.array(
  fc.record({
    stepMs: fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 0, max: 5_000 }) },
      fc.integer({ min: -90_000, max: 90_000 }),
      fc.constant(400_000),
    ),
    temperature: fc.oneof(
      fc.integer({ min: -50, max: 50 }),
      fc.double({ min: -1e6, max: 1e6, noNaN: true }).map(withoutNegativeZero),
      fc.boolean(),
    ),
    second: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }),
  }),
  { minLength: 1, maxLength: 200 },
)

describe('windows against an oracle', () => {
  for (const exactValuesMax of [10_000, 3]) {
    it(`final revisions and late readings equal it, p95 ${exactValuesMax > 3 ? 'exact' : 'within 1 %'}`, () => {
      fc.assert(
        fc.property(
          specs,
          steps,
          fc.integer({ min: 0, max: 20_000 }),
          fc.integer({ min: 0, max: 90_000 }),
          fc.nat(),
          (windows, moves, ooo, lateness, cut) => {
            const config = windowsConfig({ windows, outOfOrdernessMs: ooo, allowedLatenessMs: lateness, exactValuesMax })
            const operator = windowOperator(config)
            const out = new Collected()
            let state = operator.create('default', 'pump-1')
            let ts = T0
            const readings = moves.map(({ stepMs, temperature, second }) => {
              ts += stepMs
              return reading(ts, second === undefined ? { temperature } : { temperature, second })
            })
            readings.forEach((each, i) => {
              if (i === cut % readings.length)
                state = operator.decode(
                  bytesOf((into) => operator.encode(state, into)),
                  operator.stateVersion,
                )
              operator.apply(state, each, out)
            })
            const expected = oracle(config, readings)
            const final = out.final()
            assert.deepEqual([...final.keys()].toSorted(), [...expected.windows.keys()].toSorted())
            for (const [id, window] of final) agree(window, expected.windows.get(id) as Expected, exactValuesMax > 3)
            assert.deepEqual(
              out.late.map((each) => each.offset),
              expected.late,
            )
            const emissions = new Map<string, number>()
            for (const window of out.windows) {
              emissions.set(window.id, (emissions.get(window.id) ?? 0) + 1)
              assert.equal(window.revision, emissions.get(window.id), 'revisions count up by one')
            }
          },
        ),
        { numRuns: 300 },
      )
    })
  }
})

describe('logarithmic histogram', () => {
  const magnitudes = fc
    .integer({ min: -20, max: 20 })
    .chain((power) => fc.double({ min: -1, max: 1, noNaN: true }).map((unit) => unit * 10 ** (power / 4)))

  it('answers every rank within 1 % of the exact value, merged or not', () => {
    fc.assert(
      fc.property(fc.array(magnitudes, { minLength: 1, maxLength: 500 }), fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
        const [left, right] = [new LogHistogram(), new LogHistogram()]
        values.forEach((value, i) => (i % 3 === 0 ? left : right).add(value))
        left.merge(right)
        const rank = Math.max(1, Math.ceil(share * values.length))
        const exact = values.toSorted((a, b) => a - b)[rank - 1] as number
        assert.ok(Math.abs(left.valueAtRank(rank) - exact) <= Math.abs(exact) * RELATIVE_ERROR * (1 + 1e-9) + 1e-300)
      }),
      { numRuns: 500 },
    )
  })

  it('stays bounded over the whole range of numbers and keeps the high quantiles right', () => {
    const histogram = new LogHistogram()
    for (let power = -300; power <= 300; power += 0.01) histogram.add(10 ** power)
    assert.ok(histogram.size <= 2_048)
    const exact = 10 ** (-300 + 0.01 * (Math.ceil(0.99 * 60_001) - 1))
    assert.ok(Math.abs(histogram.valueAtRank(Math.ceil(0.99 * 60_001)) / exact - 1) < 0.02)
  })
})
