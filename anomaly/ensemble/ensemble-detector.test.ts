import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { detectorContract, type DetectorEngine } from '../detector.contract.ts'
import { EnsembleDetector } from './ensemble-detector.ts'
import type { EnsembleState } from './ensemble-state.ts'
import { MEMBERS } from './members.ts'
import { TieredDetector } from './tiered-detector.ts'

const START_TS = 1_763_680_000_000
const MINUTE_MS = 60_000

type Engine = DetectorEngine<EnsembleState, number>

const anyValue = fc.oneof(
  fc.double(),
  fc.integer({ min: -3, max: 3 }),
  fc.constantFrom(0, 1e300, -1e300, Number.MAX_VALUE, -Number.MAX_VALUE, Number.MIN_VALUE, Number.NaN, Infinity, -Infinity),
)
const normal = (i: number, random: () => number): number => 20 + 5 * Math.sin(i / 30) + random()
const spike = (i: number, random: () => number): number => 45 + 5 * Math.sin(i / 30) + random()

detectorContract<EnsembleState, number>('ensemble', { make: () => new EnsembleDetector(), anyValue, normal, abnormal: spike })
detectorContract<EnsembleState, number>('tiers, all judged in full', {
  make: () => new TieredDetector({ fullEveryMs: 0 }),
  anyValue,
  normal,
  abnormal: spike,
})
detectorContract<EnsembleState, number>('tiers, some judged by the fast one', {
  make: () => new TieredDetector({ fullEveryMs: 3 * MINUTE_MS }),
  anyValue,
  normal,
  abnormal: spike,
  abnormalReadings: 4,
})

/** Each member alone, with what it is there for; each new fault is larger than the last, for what has been is no longer new. */
const SOLO: Record<string, Partial<Engine> & { weight?: number }> = {
  'new value': { abnormal: (i) => 40 + i / 20 },
  'new mean of 3': { abnormal: (i) => 40 + i / 20 },
  'new mean of 10': { abnormal: (i) => 60 + i / 10, abnormalReadings: 5 },
  'new distance from the latest readings': { abnormal: (i) => 45 + i / 20 },
  'new step': { abnormal: (i) => 45 + i / 20 },
  'new distance from the season': { weight: 1, abnormal: (i) => 45 + i / 20 },
  'new distribution': {
    normal: (_i, random) => 20 + random(),
    abnormal: (i, random) => 20.5 + (i % 7) * 0.01 + 0.01 * random(),
    abnormalReadings: 50,
  },
  'shift of level': { weight: 1, normal: (_i, random) => 20 + random(), abnormal: (_i, random) => 22 + random(), abnormalReadings: 12 },
  'stuck value': { abnormal: () => 21, abnormalReadings: 60 },
}

for (const { member } of MEMBERS) {
  const engine = SOLO[member.name]
  if (engine === undefined) continue
  detectorContract<EnsembleState, number>(`${member.name} alone`, {
    make: () => new EnsembleDetector({ name: member.name, members: [{ member, weight: engine.weight ?? 4 }] }),
    anyValue,
    normal,
    abnormal: spike,
    ...engine,
  })
}

test('every member is checked alone: by the contract, or, where it judges time and not values, here', () => {
  assert.deepEqual(
    MEMBERS.map(({ member }) => member.name).filter((name) => !(name in SOLO)),
    ['sampling rate'],
  )
  const member = MEMBERS.find((weighted) => weighted.member.name === 'sampling rate')?.member
  assert.ok(member)
  const detector = new EnsembleDetector({ members: [{ member, weight: 1 }] })
  const state = detector.create()
  let tsMs = START_TS
  const novelties = Array.from({ length: 1_000 }, (_, i) => {
    tsMs += (i < 900 ? MINUTE_MS : 20 * MINUTE_MS) + (i % 7) * 1_000
    const novelty = detector.novelty(state, 20, tsMs)
    detector.learn(state, 20, tsMs)
    return novelty
  })
  assert.ok(Math.max(...novelties.slice(0, 900)) < 0.5, `${Math.max(...novelties.slice(0, 900))}`)
  assert.ok(Math.max(...novelties.slice(900)) > 0.65, `${Math.max(...novelties.slice(900))}`)
})

function noveltiesOf(values: readonly number[], stepMs = MINUTE_MS): number[] {
  const detector = new EnsembleDetector()
  const state = detector.create()
  return values.map((value, i) => {
    const novelty = detector.novelty(state, value, START_TS + i * stepMs)
    detector.learn(state, value, START_TS + i * stepMs)
    return novelty
  })
}

function noise(length: number, seed = 1): number[] {
  const random = seededRandom(seed)
  return Array.from({ length }, () => gaussian(random))
}

test('unit and offset do not change scores', () => {
  const values = noise(2_000)
  values[1_500] = 15
  const plain = noveltiesOf(values)
  for (const [factor, offset] of [
    [1e-6, 0],
    [1e6, 0],
    [1, 1_000],
  ] as const) {
    const moved = noveltiesOf(values.map((value) => value * factor + offset))
    const worst = Math.max(...moved.map((novelty, i) => (i < 500 ? 0 : Math.abs(novelty - (plain[i] ?? 0)))))
    assert.ok(worst < 0.05, `factor ${factor}, offset ${offset}: differs by ${worst}`)
  }
})

test('one reading of 1e300 is novel, and later faults are still seen', () => {
  const values = noise(3_000)
  values[1_500] = 1e300
  values[2_500] = 60
  const novelties = noveltiesOf(values)
  assert.ok((novelties[1_500] ?? 0) > 0.95)
  assert.ok(Math.max(...novelties.slice(1_700, 2_500)) < 0.65)
  assert.ok((novelties[2_500] ?? 0) > 0.65, `${novelties[2_500]}`)
})

test('a fault that comes back is less novel than the first time', () => {
  const values = noise(4_000)
  values[2_000] = 20
  values[3_000] = 20
  const novelties = noveltiesOf(values)
  assert.ok((novelties[2_000] ?? 0) > 0.8)
  assert.ok((novelties[3_000] ?? 0) < (novelties[2_000] ?? 0))
})

test('a value that is not finite scores 0 and leaves the state as it was', () => {
  const detector = new EnsembleDetector()
  const state = detector.create()
  noise(200).forEach((value, i) => detector.learn(state, value, START_TS + i * MINUTE_MS))
  const before = Uint8Array.from(detector.snapshot(state))
  for (const value of [Number.NaN, Infinity, -Infinity]) {
    assert.equal(detector.score(state, value, START_TS), 0)
    detector.learn(state, value, START_TS)
  }
  assert.deepEqual(detector.snapshot(state), before)
})

test('the reason given is that of the largest member', () => {
  const detector = new EnsembleDetector()
  const state = detector.create()
  noise(1_000).forEach((value, i) => detector.learn(state, 20 + value, START_TS + i * MINUTE_MS))
  const finding = detector.explain(state, 48.2, START_TS + 1_000 * MINUTE_MS)
  assert.equal(finding.contributions[0]?.part, 'new value')
  assert.match(
    finding.sentence,
    /^48\.2 is [\d.]+ spreads above the expected .*; the reading, 48\.2, was never nearer to this than 2\d(\.\d+)?$/,
  )
})

test('state is within 64 KiB a series', () => {
  assert.ok(new EnsembleDetector().stateBytes <= 8_192)
})
