import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { slopeOf } from './slope.ts'

test('what grows under noise is found, and noise alone is not growth', () => {
  const random = seededRandom(5)
  const points = (slope: number) => Array.from({ length: 40 }, (_, x) => ({ x, y: 100 + slope * x + gaussian(random) }))
  const grows = slopeOf(points(0.5))
  assert.ok(Math.abs(grows.slope - 0.5) < 3 * grows.error && grows.slope - 2 * grows.error > 0.3)
  for (let i = 0; i < 50; i++) {
    const { slope, error } = slopeOf(points(0))
    assert.ok(Math.abs(slope) < 4 * error, `${slope} ± ${error}`)
  }
  const line = slopeOf([0, 1, 2].map((x) => ({ x, y: 3 * x + 1 })))
  assert.ok(Math.abs(line.slope - 3) < 1e-12 && line.error < 1e-12)
  assert.ok(Number.isNaN(slopeOf([{ x: 0, y: 1 }]).slope))
})
