import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modelExplanation } from './model-explanation.ts'
import { newWindow, takeReading } from './device-window.ts'
import { Scorer } from './scorer.ts'
import { shapleyOf, type ShapleyOptions } from './shapley.ts'
import { PUMP_METRICS, pumpReadings } from './testing/synthetic-fleet.ts'
import { trainedModel } from './testing/trained-model.ts'

const SHAPE = { metrics: 4, rows: 1, hidden: 1, middle: 1 }
const WINDOW = Float32Array.of(1, 2, 3, 4)

/** Scores windows of four figures one by one. */
function shapley(score: (window: Float32Array) => number, changes: Partial<ShapleyOptions> = {}) {
  const scores = (windows: Float32Array, count: number) =>
    Float64Array.from({ length: count }, (_, k) => score(windows.subarray(4 * k, 4 * k + 4)))
  return shapleyOf(WINDOW, { shape: SHAPE, scores, backgrounds: new Float32Array(4), seed: 'a', orders: 16, ...changes })
}

test('where every metric adds its own, its share is exactly that, without an error', () => {
  const { shares, score, base } = shapley((window) => window.reduce((sum, figure, k) => sum + figure * (k + 1), 0))
  assert.deepEqual(
    shares.map(({ value }) => value),
    [1, 4, 9, 16],
  )
  assert.ok(shares.every(({ error }) => error === 0))
  assert.deepEqual([score, base], [30, 0])
})

test('two metrics that only count together share alike; the shares add up to the score', () => {
  const { shares, score, base } = shapley((window) => window[0]! * window[1]!)
  assert.deepEqual(
    shares.map(({ value }) => value),
    [1, 1, 0, 0],
  )
  assert.equal(
    shares.reduce((sum, { value }) => sum + value, 0),
    score - base,
  )
})

test('the error says how far the sample is off, and falls with more orders', () => {
  const score = (window: Float32Array): number => (window[0]! > 0 && window[1]! > 0 && window[2]! > 0 ? 1 : 0)
  const exact = 1 / 3
  const few = shapley(score, { orders: 24 }).shares[0]!
  const many = shapley(score, { orders: 512 }).shares[0]!
  assert.ok(few.error > 0 && many.error < few.error / 2)
  assert.ok(Math.abs(many.value - exact) < 4 * many.error)
  assert.deepEqual(shapley(score), shapley(score), 'the same seed, the same shares')
})

test("a model's explanation names the metric that is wrong, and what would have been normal", async () => {
  const { backend, model } = await trainedModel()
  const scorer = new Scorer(backend, model)
  let right = 0
  for (const metric of PUMP_METRICS.keys()) {
    const window = newWindow(model.manifest)
    const fault = { kind: 'shift' as const, metric, fromRow: 900, toRow: 910 }
    for (const reading of pumpReadings({ device: 'x', seed: 1, rows: 210, from: 700, fault })) takeReading(window, model.manifest, reading)
    const score = scorer.scores(window.figures, 1)[0]!
    const judged = { scorer, window: window.figures, score, seed: 's', rowsSeen: 210, alertThreshold: 0.65 }
    const explanation = modelExplanation(judged)
    if (explanation.contributions[0]?.part === PUMP_METRICS[metric]) right++
    assert.ok(explanation.contributions.every(({ weight, error }) => weight > 0 && error !== undefined && error >= 0))
    assert.ok(explanation.observed! > explanation.high!, 'it was shifted up, beyond the band')
    assert.deepEqual(modelExplanation(judged), explanation)
    // What is written down tells the score again.
    const written = Float32Array.from(String(explanation.parameters.window).split(','), Number)
    assert.equal(scorer.scores(written, 1)[0], score)
  }
  assert.ok(right >= 7, `${right} of ${PUMP_METRICS.length} explanations named the right metric first`)
  scorer.dispose()
})
