import assert from 'node:assert/strict'
import { test } from 'node:test'
import { spanOf } from '../contracts/evidence.ts'
import { evidenceOf, evidenceWith } from './alert-evidence.ts'
import { anomaly, T0 } from './alerts-testing.ts'

const MINUTE = 60_000

test('an anomaly without evidence of its own points at its reading and its detector', () => {
  const { readings, window, versions } = evidenceOf(anomaly({ ts: T0, partition: 3, offset: 17 }))
  assert.deepEqual(readings, [{ device: 'pump-1', metric: 'temperature', ts: T0, value: 90, topic: 'readings', partition: 3, offset: 17 }])
  assert.deepEqual(window, spanOf(T0, T0))
  assert.deepEqual(versions, { detector: 'robust', detectorVersion: 1 })
})

test('a silence begins with the last reading, whose place is known and whose value is none', () => {
  const { explanation } = anomaly()
  const silence = anomaly({
    cause: 'silence',
    metric: '',
    ts: T0,
    offset: 4,
    explanation: { ...explanation, parameters: { limitMs: MINUTE } },
  })
  const { readings, window } = evidenceOf(silence)
  assert.deepEqual(readings, [{ device: 'pump-1', metric: '', ts: null, value: null, topic: 'readings', partition: 0, offset: 4 }])
  assert.deepEqual(window, spanOf(T0 - MINUTE, T0))
})

test('evidence without a place in the log names no reading', () => {
  assert.deepEqual(evidenceOf(anomaly({ cause: 'platform', partition: -1, offset: -1 })).readings, [])
})

test('of many readings the first and the latest stay, each once, while the span grows', () => {
  const first = anomaly({ ts: T0, offset: 100 })
  let evidence = evidenceOf(first)
  for (let i = 1; i <= 20; i++) evidence = evidenceWith(evidence, anomaly({ ts: T0 + i * MINUTE, offset: 100 + i }))
  evidence = evidenceWith(evidence, anomaly({ ts: T0 + 20 * MINUTE, offset: 120 }))
  assert.deepEqual(
    evidence.readings.map(({ offset }) => offset),
    [100, 114, 115, 116, 117, 118, 119, 120],
  )
  assert.deepEqual(evidence.window, spanOf(T0, T0 + 20 * MINUTE))
})

test('of windows the latest counts, and of one window its latest revision', () => {
  const windowed = (startTs: number, revision: number) => {
    const window = {
      kind: 'tumbling' as const,
      startTs,
      endTs: startTs + MINUTE,
      id: `w${startTs}`,
      revision,
      aggregate: 'max',
      value: 80 + revision,
    }
    return anomaly({ cause: 'rule', evidence: { readings: [], window, versions: { rule: 'r', ruleVersion: revision } } })
  }
  const evidence = evidenceWith(evidenceOf(windowed(T0, 1)), windowed(T0, 2))
  assert.deepEqual([evidence.window?.revision, evidence.window?.value, evidence.versions.ruleVersion], [2, 82, 2])
  assert.equal(evidenceWith(evidence, windowed(T0 + MINUTE, 1)).window?.startTs, T0 + MINUTE)
})
