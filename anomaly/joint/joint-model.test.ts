import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { JointModel } from './joint-model.ts'

const TRAIN_ROWS = 400

function scoresOf(rows: readonly (readonly number[])[], trainRows = TRAIN_ROWS): number[] {
  const model = new JointModel({ metrics: rows[0]?.length ?? 0, trainRows })
  return rows.map((row) => model.next(row))
}

function noise(options: { rows: number; metrics: number; seed: number }): number[][] {
  const random = seededRandom(options.seed)
  return Array.from({ length: options.rows }, () => Array.from({ length: options.metrics }, () => gaussian(random)))
}

/** Four metrics of noise; the first one rises in a jump within the training rows, so that its level may be anywhere later. */
function wandering(change: (row: number) => number, seed = 5): number[][] {
  return noise({ rows: 1_000, metrics: 4, seed }).map(([first = 0, ...rest], row) => [first + (row < 50 ? -12 : 0) + change(row), ...rest])
}

function rowsAtLeastHalf(scores: readonly number[]): number[] {
  return scores.flatMap((score, row) => (score >= 0.5 ? [row] : []))
}

test('a metric that changes faster than ever since it settled is found, though its level may be anywhere', () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const found = rowsAtLeastHalf(scoresOf(wandering((row) => (row < 700 ? 0 : -5), seed)))
    const first = found[0] ?? Number.NaN
    assert.ok(first >= 700 && first <= 720, `seed ${seed}: first found at row ${first}`)
    assert.ok((found.at(-1) ?? 0) <= 725, `seed ${seed}: found until row ${found.at(-1)}`)
  }
})

test('the same change, spread over two hundred rows, is none', () => {
  const slowly = (row: number): number => -5 * Math.max(0, Math.min(1, (row - 600) / 200))
  for (const seed of [1, 2, 3, 4, 5]) assert.deepEqual(rowsAtLeastHalf(scoresOf(wandering(slowly, seed))), [])
})

test('in noise like that of the training rows next to nothing is found', () => {
  let found = 0
  for (let seed = 1; seed <= 20; seed++) found += rowsAtLeastHalf(scoresOf(noise({ rows: 1_500, metrics: 8, seed }))).length
  assert.ok(found <= 3, `${found} of 22 000 rows`)
})

test('too few training rows do not tell how fast a metric usually changes: then only levels are judged', () => {
  const rows = wandering((row) => (row < 700 ? 0 : -8))
  const foundAfter = (trainRows: number): number[] => rowsAtLeastHalf(scoresOf(rows, trainRows))
  assert.deepEqual(foundAfter(160), [])
  assert.ok(foundAfter(240).length > 0)
})

test('scores lie within 0 and 1, and those of the first rows are the same whatever comes after them', () => {
  const value = fc.oneof(
    { weight: 6, arbitrary: fc.double({ min: -10, max: 10, noNaN: true }) },
    { weight: 1, arbitrary: fc.double() },
    {
      weight: 1,
      arbitrary: fc.constantFrom(0, Number.NaN, Number.POSITIVE_INFINITY, Number.MAX_VALUE, -Number.MAX_VALUE, Number.MIN_VALUE),
    },
  )
  const rows = fc.array(fc.tuple(value, value, value), { minLength: 180, maxLength: 260 })
  fc.assert(
    fc.property(rows, fc.integer({ min: 16, max: 200 }), fc.double({ min: 0, max: 1, noNaN: true }), (all, trainRows, part) => {
      const scores = scoresOf(all, trainRows)
      assert.ok(scores.every((score) => score >= 0 && score <= 1))
      const shown = all.slice(0, Math.ceil(part * all.length))
      if (shown.length > 0) assert.deepEqual(scoresOf(shown, trainRows), scores.slice(0, shown.length))
    }),
    { seed: 11, numRuns: 200 },
  )
})

test('values that are not there leave everything as it was, and a metric that never has one says nothing', () => {
  const rows = noise({ rows: 900, metrics: 2, seed: 8 })
  const gap = (row: number): boolean => row % 3 === 1
  const gapped = rows.map((row, k) => (gap(k) ? [Number.NaN, Number.NaN] : row))
  const scores = scoresOf(gapped)
  // Before the first of them lies a training row, which scores 0.
  for (const [row, score] of scores.entries())
    if (gap(row) && row > TRAIN_ROWS + 2) assert.ok(Math.abs(score - (scores[row - 1] ?? 0)) < 0.01)
  const withSilent = scoresOf(rows.map((row) => [...row, Number.NaN]))
  assert.deepEqual(withSilent, scoresOf(rows))
})
