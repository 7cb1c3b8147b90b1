import assert from 'node:assert/strict'
import { test } from 'node:test'
import { integerBetween, seededRandom } from '../kernel/random.ts'
import { DueTimes, type Due } from './due-times.ts'

test('whatever is entered, moved and removed: the same devices as in a map, the earliest first', (t) => {
  const seed = Number(process.env.TEST_SEED ?? 5)
  t.diagnostic(`seed ${seed} (TEST_SEED)`)
  const random = seededRandom(seed)
  for (let round = 0; round < 40; round++) {
    const max = integerBetween(random, 1, 3_000)
    const times = new DueTimes(max)
    const plain = new Map<string, Due>()
    const keys = integerBetween(random, 1, 4_000)
    for (let step = 0; step < 4_000; step++) {
      const key = `t/d${integerBetween(random, 0, keys)}`
      const act = integerBetween(random, 0, 99)
      if (act < 60) {
        const due = { key, partition: integerBetween(random, 0, 7), dueMs: integerBetween(random, 0, 1_000), sinceMs: step }
        const fits = plain.has(key) || plain.size < max
        assert.equal(times.set(due), fits)
        if (fits) plain.set(key, due)
      } else if (act < 98) {
        const first = times.first()
        const earliest = act < 80 ? first?.key : undefined
        if (first !== undefined && step % 16 === 0) assert.equal(first.dueMs, Math.min(...[...plain.values()].map(({ dueMs }) => dueMs)))
        times.delete(earliest ?? key)
        plain.delete(earliest ?? key)
      } else {
        const gone = integerBetween(random, 0, 7)
        times.dropPartition(gone)
        for (const [held, { partition }] of plain) if (partition === gone) plain.delete(held)
      }
      assert.equal(times.size, plain.size)
      assert.deepEqual(times.get(key), plain.get(key))
    }
    const order: number[] = []
    for (let first = times.first(); first !== undefined; first = times.first()) {
      assert.deepEqual(first, plain.get(first.key))
      plain.delete(first.key)
      order.push(first.dueMs)
      times.delete(first.key)
    }
    assert.equal(plain.size, 0)
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    )
  }
})
