import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SequenceRanges } from './sequence-ranges.ts'

test('in any order, with repeats: the same numbers as a set, and the gaps between them', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 400 }), (numbers) => {
      const ranges = new SequenceRanges(1_000)
      const seen = new Set<number>()
      for (const number of numbers) {
        assert.equal(ranges.add(number), !seen.has(number))
        seen.add(number)
      }
      for (let number = 0; number <= 300; number++) assert.equal(ranges.has(number), seen.has(number))
      const first = Math.min(...seen)
      const last = Math.max(...seen)
      assert.equal(ranges.missing(), seen.size === 0 ? 0 : last - first + 1 - seen.size)
      for (const { from, to } of ranges.gaps()) for (let number = from; number <= to; number++) assert.equal(seen.has(number), false)
      const restored = new SequenceRanges(1_000, [...ranges.bounds()])
      assert.deepEqual(restored.gaps(), ranges.gaps())
    }),
  )
})

test('the number of ranges is bounded, and what that hides is counted', () => {
  const ranges = new SequenceRanges(4)
  for (let number = 0; number < 20; number += 2) ranges.add(number)
  assert.equal(ranges.bounds().length, 8)
  assert.equal(ranges.joinedGaps, 6)
  assert.equal(ranges.last, 18)
})
