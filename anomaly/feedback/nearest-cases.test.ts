import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { Pattern } from '../../contracts/feedback.ts'
import { nearestCases } from './nearest-cases.ts'

const pattern = (shape: number[], words?: string[]): Pattern => ({
  shape,
  shares: { step: 1 },
  score: 0.8,
  ...(words === undefined ? {} : { words }),
})

function anomaly(id: string, of: Pattern | undefined, phase: Anomaly['phase'] = 'raised'): Anomaly {
  return { id, phase, ts: 0, ...(of === undefined ? {} : { pattern: of }) } as Anomaly
}

test('the likest shapes come first; ends, others without pattern and itself do not come', () => {
  const own = anomaly('own', pattern([0, 0, 5]))
  const found = nearestCases(
    own,
    [
      anomaly('other way', pattern([0, 0, -5])),
      anomaly('near', pattern([0, 0, 4.5])),
      anomaly('end', pattern([0, 0, 5]), 'cleared'),
      anomaly('old', undefined),
      own,
      anomaly('same', pattern([0, 0, 5])),
      anomaly('step', pattern([0, 5, 5])),
    ],
    2,
  )
  assert.deepEqual(
    found.map((one) => one.anomaly.id),
    ['same', 'near'],
  )
  assert.equal(found[0]?.likeness, 1)
})

test('words are like when they are the same, and an anomaly without pattern has no cases', () => {
  const off = anomaly('off', pattern([], ['on', 'off']))
  assert.deepEqual(
    nearestCases(off, [anomaly('a', pattern([], ['x', 'off'])), anomaly('b', pattern([], ['on', 'fault']))], 5).map(
      (one) => one.anomaly.id,
    ),
    ['a'],
  )
  assert.deepEqual(nearestCases(anomaly('none', undefined), [off], 5), [])
})
