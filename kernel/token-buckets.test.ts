import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from './time.ts'
import { TokenBuckets } from './token-buckets.ts'

test('a key has its burst, then its rate; another key has its own', async () => {
  const clock = new VirtualClock()
  const buckets = new TokenBuckets({ clock, ratePerS: 2, burstMax: 3, keysMax: 10 })
  assert.deepEqual(
    [1, 2, 3].map(() => buckets.take('a')),
    [0, 0, 0],
  )
  assert.equal(buckets.take('a'), 500)
  assert.equal(buckets.take('b'), 0)
  await clock.advance(500)
  assert.equal(buckets.take('a'), 0)
  assert.equal(buckets.take('a'), 500)
})

test('more keys than are remembered: those with a full bucket are forgotten first', async () => {
  const clock = new VirtualClock()
  const buckets = new TokenBuckets({ clock, ratePerS: 1, burstMax: 2, keysMax: 3 })
  for (const key of ['a', 'a', 'b', 'c']) buckets.take(key)
  await clock.advance(1_000)
  assert.equal(buckets.take('d'), 0)
  assert.deepEqual([buckets.take('a'), buckets.take('a')], [0, 1_000], 'a was in use and is still known')
})
