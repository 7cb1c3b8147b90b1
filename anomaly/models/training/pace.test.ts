import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '../../../kernel/time.ts'
import { Pace } from './pace.ts'

test('it rests in proportion to the work before, not after little, and ends when it is told to', async () => {
  const clock = new VirtualClock()
  const stop = new AbortController()
  const pace = new Pace({ clock, share: 0.25, workMs: 20, signal: stop.signal })
  await clock.advance(19)
  await pace.rest()
  await clock.advance(21)
  let hasRested = false
  const rest = pace.rest().then(() => (hasRested = true))
  await clock.advance(119)
  assert.equal(hasRested, false, 'three times the 40 ms that it worked')
  await clock.advance(1)
  await rest
  await clock.advance(40)
  const cut = pace.rest()
  stop.abort()
  await cut
  await assert.rejects(pace.rest(), { name: 'AbortError' })
})
