import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { detectorContract } from '../detector.contract.ts'
import { CorrelationDetector } from './correlation-detector.ts'
import { snapshotCorrelationState, type CorrelationState } from './correlation-state.ts'

const anyNumber = fc.oneof(
  fc.double(),
  fc.integer({ min: -3, max: 3 }),
  fc.constantFrom(0, 1e300, -1e300, Number.MAX_VALUE, Number.MIN_VALUE, Number.NaN, Infinity, -Infinity),
)
const load = (i: number): number => 50 + 20 * Math.sin(i / 40) + 10 * Math.sin(i / 7)

detectorContract<CorrelationState, readonly number[]>('correlation', {
  make: () => new CorrelationDetector(),
  anyValue: fc.array(anyNumber, { maxLength: 10 }),
  normal: (i, random) => [load(i), 2 * load(i) + 3 * random(), 100 - load(i) + 2 * random()],
  // The third goes the other way, within its own bounds.
  abnormal: (i, random) => [load(i), 2 * load(i) + 3 * random(), load(i) + 2 * random()],
  abnormalReadings: 15,
})

interface Outcome {
  found: number
  rightMetric: number
  falseEvents: number
}

/** Devices of four metrics, three of which follow a load; from `at` on one of them goes its own way. */
function devices(count: number, breaks: boolean): Outcome {
  const outcome = { found: 0, rightMetric: 0, falseEvents: 0 }
  for (let device = 0; device < count; device++) {
    const random = seededRandom(`device ${device}`)
    const detector = new CorrelationDetector()
    const state = detector.create()
    const broken = device % 3
    let wander = 0
    let found = false
    for (let i = 0; i < 3_000; i++) {
      wander = 0.97 * wander + gaussian(random)
      const base = load(i) + wander
      const values = [base + gaussian(random), 3 * base + 3 * gaussian(random), 200 - base + 1.5 * gaussian(random), gaussian(random)]
      const odd = breaks && i >= 2_500
      if (odd) values[broken] = [1, 3, -1][broken]! * load(2 * i) + [0, 0, 200][broken]! + gaussian(random)
      const reached = detector.novelty(state, values) >= 0.65
      if (reached && odd && !found) {
        found = true
        outcome.found++
        if (detector.explain(state, values).contributions[0]?.part === String(broken)) outcome.rightMetric++
      } else if (reached && !odd) outcome.falseEvents++
      detector.learn(state, values)
    }
  }
  return outcome
}

test('a metric that no longer goes with the others is found and named, though it stays within its own bounds', (t) => {
  const { found, rightMetric, falseEvents } = devices(30, true)
  t.diagnostic(`${found} of 30 found, ${rightMetric} named right, ${falseEvents} readings too early`)
  assert.ok(found >= 27, `${found} of 30`)
  assert.ok(rightMetric >= 0.9 * found, `${rightMetric} of ${found}`)
  assert.ok(falseEvents <= 3, `${falseEvents}`)
})

test('devices whose metrics keep going together say nothing', () => {
  assert.ok(devices(30, false).falseEvents <= 3)
})

test('what the metrics of a device are together takes less than a KiB', () => {
  assert.ok(snapshotCorrelationState(new CorrelationDetector().create()).byteLength <= 1_024)
})
