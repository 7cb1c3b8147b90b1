import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { detectorContract } from './detector.contract.ts'
import { LabelDetector, type LabelState } from './label-detector.ts'

const MODES = ['eco', 'heat', 'idle']

detectorContract<LabelState, string>('label detector', {
  make: () => new LabelDetector(),
  anyValue: fc.oneof(fc.constantFrom(...MODES), fc.string({ maxLength: 80 })),
  normal: (i) => MODES[i % MODES.length] ?? '',
  abnormal: (i) => `fault-${i}`,
})

function learn(labels: readonly string[]): { detector: LabelDetector; state: LabelState } {
  const detector = new LabelDetector()
  const state = detector.create()
  for (const label of labels) detector.learn(state, label)
  return { detector, state }
}

test('a label never seen is novel, one seen all the time is not', () => {
  const { detector, state } = learn(Array<string>(500).fill('eco'))
  assert.ok(detector.novelty(state, 'turbo') > 0.65)
  assert.ok(detector.novelty(state, 'eco') < 0.1)
  assert.match(detector.explain(state, 'turbo').sentence, /^"turbo" was never seen before; most often it is "eco" \(100 %\)$/)
})

test('a known label in a place where it never comes is more novel than in its own', () => {
  const { detector, state } = learn(Array.from({ length: 900 }, (_, i) => MODES[i % 3] ?? ''))
  assert.ok(detector.novelty(state, 'idle') > detector.novelty(state, 'eco') + 0.3)
})

test('a series of ever new labels is not one event after another', () => {
  const { detector, state } = learn(Array.from({ length: 1_000 }, (_, i) => `session-${i}`))
  assert.ok(detector.novelty(state, 'session-1000') < 0.65)
})

test('memory is bounded however many labels come', () => {
  const { detector, state } = learn(Array.from({ length: 10_000 }, (_, i) => `label ${i} ${'x'.repeat(1_000)}`))
  assert.ok(detector.snapshot(state).byteLength < 32_768)
})
