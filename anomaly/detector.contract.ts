import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../kernel/random.ts'
import type { Detector } from './detector.ts'

export interface DetectorEngine<S, V> {
  make: () => Detector<S, V>
  /** Any value of the kind, strange ones included. */
  anyValue: fc.Arbitrary<V>
  /** A normal reading, and an abnormal one, of a series that a detector ought to tell apart. */
  normal: (i: number, random: () => number) => V
  abnormal: (i: number, random: () => number) => V
  /** Abnormal readings in a row that make an event to be told from normal ones, the last of which is judged. Default 1. */
  abnormalReadings?: number
}

const SEED = 20_251_121
const START_TS = 1_763_680_000_000
const MINUTE_MS = 60_000
/** Readings after an event began that are neither: its traces fade. */
const AFTERMATH_READINGS = 100

/** Checks that hold for every detector. */
export function detectorContract<S, V>(name: string, engine: DetectorEngine<S, V>): void {
  const anySeries = fc.array(fc.record({ value: engine.anyValue, ts: fc.integer({ min: 946_684_800_000, max: 1_900_000_000_000 }) }), {
    maxLength: 300,
  })

  test(`${name}: scores are numbers in [0, 1] whatever comes, timestamps in any order`, () => {
    fc.assert(
      fc.property(anySeries, (series) => {
        for (const score of scoresOf(engine.make(), series)) assert.ok(score >= 0 && score <= 1, `score ${score}`)
      }),
      { seed: SEED, numRuns: 60 },
    )
  })

  test(`${name}: the scores of a prefix are the prefix of the scores`, () => {
    fc.assert(
      fc.property(anySeries, fc.nat(300), (series, cut) => {
        assert.deepEqual(scoresOf(engine.make(), series.slice(0, cut)), scoresOf(engine.make(), series).slice(0, cut))
      }),
      { seed: SEED, numRuns: 40 },
    )
  })

  test(`${name}: a restored snapshot scores bit-equally, and does not share state with the original`, () => {
    fc.assert(
      fc.property(anySeries, anySeries, (before, after) => {
        const detector = engine.make()
        const state = detector.create()
        run(detector, state, before)
        const restored = detector.restore(detector.snapshot(state))
        const other = engine.make()
        const expected = run(detector, state, after)
        assert.deepEqual(run(other, restored, after), expected)
        assert.deepEqual(other.snapshot(restored), detector.snapshot(state))
      }),
      { seed: SEED, numRuns: 40 },
    )
  })

  test(`${name}: bytes that are no snapshot are refused`, () => {
    assert.throws(() => engine.make().restore(new Uint8Array([1, 2, 3])), { code: 'INVALID_INPUT' })
  })

  test(`${name}: novelty, score and explain change nothing, and series do not disturb one another`, () => {
    const series = normalSeries(engine, 400)
    const detector = engine.make()
    const alone = run(detector, detector.create(), series)
    const [one, two] = [detector.create(), detector.create()]
    const together = series.map(({ value, ts }, i) => {
      const other = engine.abnormal(i, () => 0.5)
      detector.explain(one, other, ts)
      detector.novelty(one, other, ts + 1)
      const score = detector.score(one, value, ts)
      detector.learn(two, other, ts)
      detector.explain(one, value, ts)
      detector.learn(one, value, ts)
      return score
    })
    assert.deepEqual(together, alone)
  })

  test(`${name}: contributions are not negative, largest first, and add up to the novelty`, () => {
    const detector = engine.make()
    const state = detector.create()
    run(detector, state, normalSeries(engine, 600))
    const before = (engine.abnormalReadings ?? 1) - 1
    for (let i = 600; i < 600 + before; i++)
      detector.learn(
        state,
        engine.abnormal(i, () => 0.5),
        START_TS + i * MINUTE_MS,
      )
    const ts = START_TS + (600 + before) * MINUTE_MS
    const value = engine.abnormal(600 + before, () => 0.5)
    const novelty = detector.novelty(state, value, ts)
    const finding = detector.explain(state, value, ts)
    const weights = finding.contributions.map((entry) => entry.weight)
    assert.ok(novelty > 0.5, `novelty ${novelty}`)
    assert.ok(Math.abs(weights.reduce((sum, weight) => sum + weight, 0) - novelty) < 1e-9)
    assert.deepEqual(
      weights,
      [...weights].sort((a, b) => b - a),
    )
    assert.ok(weights.every((weight) => weight >= 0))
    assert.equal(finding.readingsSeen, 600 + before)
    assert.equal(detector.seen(state), 600 + before)
  })

  test(`${name}: abnormal readings score above normal ones (AUC > 0.9), and nothing is loud while warming up`, () => {
    const random = seededRandom(SEED)
    const detector = engine.make()
    const state = detector.create()
    const normal: number[] = []
    const abnormal: number[] = []
    const eventReadings = engine.abnormalReadings ?? 1
    for (let i = 0; i < 4_000; i++) {
      const place = i % 200
      const odd = i > 500 && place < eventReadings
      const value = odd ? engine.abnormal(i, () => random.next()) : engine.normal(i, () => random.next())
      const novelty = detector.novelty(state, value, START_TS + i * MINUTE_MS)
      detector.learn(state, value, START_TS + i * MINUTE_MS)
      if (i < detector.warmUpReadings) assert.ok(novelty < 0.65, `reading ${i}: ${novelty}`)
      else if (odd && place === eventReadings - 1) abnormal.push(novelty)
      else if (place >= AFTERMATH_READINGS) normal.push(novelty)
    }
    const wins = abnormal.map((odd) => normal.filter((usual) => usual < odd).length + normal.filter((usual) => usual === odd).length / 2)
    const auc = wins.reduce((sum, count) => sum + count, 0) / (abnormal.length * normal.length)
    assert.ok(auc > 0.9, `AUC ${auc}`)
  })
}

function normalSeries<S, V>(engine: DetectorEngine<S, V>, length: number): { value: V; ts: number }[] {
  const random = seededRandom(SEED)
  return Array.from({ length }, (_, i) => ({ value: engine.normal(i, () => random.next()), ts: START_TS + i * MINUTE_MS }))
}

function scoresOf<S, V>(detector: Detector<S, V>, series: readonly { value: V; ts: number }[]): number[] {
  return run(detector, detector.create(), series)
}

function run<S, V>(detector: Detector<S, V>, state: S, series: readonly { value: V; ts: number }[]): number[] {
  return series.map(({ value, ts }) => {
    const score = detector.score(state, value, ts)
    detector.learn(state, value, ts)
    return score
  })
}
