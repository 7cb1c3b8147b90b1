import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { deal } from './consumer-group.ts'

test('partitions are dealt out once each, evenly, and stay where they may', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.array(fc.constantFrom('join', 'leave', 'grow'), { maxLength: 20 }),
      (start, changes) => {
        let partitions = start
        let owned: number[][] = deal([[]], partitions)
        for (const change of changes) {
          const before = owned
          if (change === 'join') before.push([])
          if (change === 'leave') before.splice(Math.floor(before.length / 2), 1)
          if (change === 'grow') partitions += 3
          owned = deal(before, partitions)
          if (owned.length === 0) continue
          const sizes = owned.map((list) => list.length)
          assert.deepEqual(
            owned.flat().sort((a, b) => a - b),
            Array.from({ length: partitions }, (_, i) => i),
          )
          assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1)
          owned.forEach((list, i) => {
            const kept = list.filter((partition) => before[i]!.includes(partition)).length
            assert.ok(kept === Math.min(before[i]!.length, list.length), 'a partition moved that need not')
          })
        }
      },
    ),
  )
})

test('nobody gets anything where nobody is', () => {
  assert.deepEqual(deal([], 8), [])
})
