import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileSchema } from '../kernel/schema.ts'
import { anomalyConfigFaults, AnomalyConfigSchema } from './config.ts'

const check = compileSchema(AnomalyConfigSchema)

test('defaults are valid and go together', () => {
  const checked = check({})
  assert.ok(checked.status === 'valid')
  assert.deepEqual(anomalyConfigFaults(checked.value), [])
})

test('every fault is named at once', () => {
  const checked = check({ alertThreshold: 0.7, criticalThreshold: 0.6, normalBelow: 0.8, silenceMinMs: 90_000, silenceMaxMs: 2_000 })
  assert.ok(checked.status === 'valid')
  assert.deepEqual(
    anomalyConfigFaults(checked.value).map((fault) => fault.key),
    ['anomaly.criticalThreshold', 'anomaly.normalBelow', 'anomaly.silenceMaxMs'],
  )
})

test('unknown keys and values out of range are refused', () => {
  assert.equal(check({ threshold: 0.5 }).status, 'invalid')
  assert.equal(check({ alertThreshold: 1.5 }).status, 'invalid')
})
