import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { detectorContract } from './detector.contract.ts'
import { NumericDetector } from './numeric-detector.ts'
import { STATE_BYTES, type SeriesState } from './series-state.ts'

const START_TS = 1_763_680_000_000
const MINUTE_MS = 60_000

detectorContract<SeriesState, number>('numeric detector', {
  make: () => new NumericDetector(),
  anyValue: fc.oneof(
    fc.double(),
    fc.integer({ min: -3, max: 3 }),
    fc.constantFrom(0, 1e300, -1e300, Number.MAX_VALUE, -Number.MAX_VALUE, Number.MIN_VALUE, Number.NaN, Infinity, -Infinity),
  ),
  normal: (i, random) => 20 + 5 * Math.sin(i / 30) + random(),
  abnormal: (i, random) => 45 + 5 * Math.sin(i / 30) + random(),
})

function noveltiesOf(values: readonly number[], options: { quantum?: number; stepMs?: number } = {}): number[] {
  const detector = new NumericDetector(options)
  const state = detector.create()
  return values.map((value, i) => {
    const novelty = detector.novelty(state, value, START_TS + i * (options.stepMs ?? MINUTE_MS))
    detector.learn(state, value, START_TS + i * (options.stepMs ?? MINUTE_MS))
    return novelty
  })
}

function noise(length: number, seed = 1): number[] {
  const random = seededRandom(seed)
  return Array.from({ length }, () => gaussian(random))
}

test('a series that never changes is never novel, and its first large change is', () => {
  const novelties = noveltiesOf([...Array<number>(1_000).fill(45), 90])
  assert.equal(Math.max(...novelties.slice(0, 1_000)), 0)
  assert.ok((novelties[1_000] ?? 0) > 0.9)
})

test('a slow sensor that steps by its resolution stays quiet', () => {
  const values = Array.from({ length: 5_000 }, (_, i) => Math.round(10 * (20 + 3 * Math.sin(i / 900))) / 10)
  assert.ok(Math.max(...noveltiesOf(values)) < 0.65)
})

/** A first change is measured against the level, for want of anything else; its traces fade while the series is learnt. */
const LEARNT = 500

test('scores do not depend on unit or offset', () => {
  const values = noise(2_000)
  values[1_500] = 15
  const plain = noveltiesOf(values)
  for (const [factor, offset] of [
    [1e-6, 0],
    [1e6, 0],
    [1, 1_000],
  ] as const) {
    const moved = noveltiesOf(values.map((value) => value * factor + offset))
    const worst = Math.max(...moved.map((novelty, i) => (i < LEARNT ? 0 : Math.abs(novelty - (plain[i] ?? 0)))))
    assert.ok(worst < 0.05, `factor ${factor}, offset ${offset}: differs by ${worst}`)
  }
})

test('one reading of 1e300 is novel, and the series is scored as before soon after', () => {
  const values = noise(3_000)
  values[1_500] = 1e300
  values[2_500] = 16
  const novelties = noveltiesOf(values)
  assert.ok((novelties[1_500] ?? 0) > 0.95)
  assert.ok(Math.max(...novelties.slice(1_700, 2_500)) < 0.65)
  assert.ok((novelties[2_500] ?? 0) > 0.65)
})

test('a value that is not finite scores 0 and leaves the state as it was', () => {
  const detector = new NumericDetector()
  const state = detector.create()
  noise(200).forEach((value, i) => detector.learn(state, value, START_TS + i * MINUTE_MS))
  const before = Uint8Array.from(detector.snapshot(state))
  for (const value of [Number.NaN, Infinity, -Infinity]) {
    assert.equal(detector.score(state, value, START_TS), 0)
    detector.learn(state, value, START_TS)
  }
  assert.deepEqual(detector.snapshot(state), before)
})

test('a season of the day is learnt: its own steps grow quiet, the same step at another hour is novel', () => {
  const stepMs = 5 * MINUTE_MS
  const wobble = noise(288 * 21, 3)
  const values = wobble.map((value, i) => (i % 288 >= 96 && i % 288 < 216 ? 50 : 10) + value)
  const oddAt = 288 * 20 + 30
  for (let k = 0; k < 12; k++) values[oddAt + k] = 50 + (wobble[oddAt + k] ?? 0)
  const novelties = noveltiesOf(values, { stepMs })
  const calm = Math.max(...novelties.slice(288 * 15, oddAt))
  const odd = Math.max(...novelties.slice(oddAt, oddAt + 12))
  assert.ok(calm < 0.65, `calm ${calm}`)
  assert.ok(odd > 0.65, `odd ${odd}`)
})

test('a switch that moves now and then is quiet, one that had never moved is not', () => {
  const moving = Array.from({ length: 3_000 }, (_, i) => (i % 50 < 10 ? 1 : 0))
  assert.ok(Math.max(...noveltiesOf(moving, { quantum: 0.25 }).slice(500)) < 0.65)
  const still = noveltiesOf([...Array<number>(1_000).fill(0), 1], { quantum: 0.25 })
  assert.ok((still[1_000] ?? 0) > 0.65)
})

test('the repeats of one event are kept low in the score', () => {
  const values = noise(1_200)
  for (let i = 1_000; i < 1_040; i++) values[i] = 10
  const detector = new NumericDetector()
  const state = detector.create()
  const scores = values.map((value, i) => {
    const score = detector.score(state, value, START_TS + i * MINUTE_MS)
    detector.learn(state, value, START_TS + i * MINUTE_MS)
    return score
  })
  assert.ok((scores[1_000] ?? 0) > 0.65)
  assert.ok(scores.slice(1_010, 1_100).filter((score) => score > 0.5).length <= 1)
})

test('the explanation says expected value, band, and which pattern it is', () => {
  const values = noise(1_000).map((value) => 20 + value)
  const detector = new NumericDetector()
  const state = detector.create()
  values.forEach((value, i) => detector.learn(state, value, START_TS + i * MINUTE_MS))
  const finding = detector.explain(state, 48.2, START_TS + 1_000 * MINUTE_MS)
  const { expected, low, high } = finding
  assert.ok(expected !== null && low !== null && high !== null)
  assert.ok(Math.abs(expected - 20) < 1 && low > 10 && low < 18 && high > 22 && high < 30, `${low} ${expected} ${high}`)
  assert.match(finding.sentence, /^48\.2 is \d+(\.\d+)? spreads above the expected \d+(\.\d+)? \(normal between [\d.]+ and [\d.]+\)$/)
  assert.match(detector.explain(state, 20, START_TS + 1_000 * MINUTE_MS).sentence, /^20 is normal \(between /)
})

test('hot state is within 2 KiB a series', () => {
  assert.ok(STATE_BYTES <= 2_048)
  assert.equal(new NumericDetector().snapshot(new NumericDetector().create()).byteLength, STATE_BYTES)
})
