import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NumberSet, sizeOf } from './number-set.ts'

test('it holds what was added, and tells what of a range is there and what is not', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 120 }),
      fc.integer({ min: 0, max: 60 }),
      fc.integer({ min: 0, max: 20 }),
      (numbers, from, width) => {
        const set = new NumberSet()
        const reference = new Set<number>()
        for (const number of numbers) {
          assert.equal(set.add(number), !reference.has(number))
          reference.add(number)
        }
        const range = { from, to: from + width }
        const numbersIn = (ranges: { from: number; to: number }[]): number[] =>
          ranges.flatMap(({ from: first, to }) => Array.from({ length: to - first + 1 }, (_, i) => first + i))
        const all = numbersIn([range])
        assert.deepEqual(
          numbersIn(set.within(range)),
          all.filter((number) => reference.has(number)),
        )
        assert.deepEqual(
          numbersIn(set.absentIn(range)),
          all.filter((number) => !reference.has(number)),
        )
        assert.equal(sizeOf(set.within(range)) + sizeOf(set.absentIn(range)), width + 1)
      },
    ),
    { numRuns: 500 },
  )
})

test('numbers in falling order are one range', () => {
  const set = new NumberSet()
  for (let number = 10_000; number > 0; number--) set.add(number)
  assert.deepEqual(set.within({ from: 0, to: 20_000 }), [{ from: 1, to: 10_000 }])
})
