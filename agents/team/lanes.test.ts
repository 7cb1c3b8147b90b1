import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { TimeoutError } from '../../kernel/errors.ts'
import { seededRandom } from '../../kernel/random.ts'
import { nextTurn } from '../../kernel/time.ts'
import { Lanes } from './lanes.ts'

describe('lanes', () => {
  it('let so many work at a time and no more, in the order in which they came, whoever fails or gives up', async () => {
    for (const seed of [1, 2, 3]) {
      const random = seededRandom(seed)
      const lanes = new Lanes(3)
      const begun: number[] = []
      let [working, most] = [0, 0]
      const outcomes = await Promise.allSettled(
        Array.from({ length: 60 }, async (_, n) => {
          const given = new AbortController()
          const done = lanes.run(async () => {
            begun.push(n)
            most = Math.max(most, ++working)
            for (let turns = Math.floor(random.next() * 5); turns > 0; turns--) await nextTurn()
            working--
            if (n % 7 === 0) throw new TypeError('on purpose')
            return n
          }, given.signal)
          if (n % 5 === 0) setImmediate(() => given.abort())
          return done
        }),
      )
      assert.equal(most, 3)
      assert.deepEqual(
        begun,
        begun.toSorted((a, b) => a - b),
        `seed ${seed}`,
      )
      for (const [n, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled') assert.equal(outcome.value, n)
        else assert.ok(begun.includes(n) ? outcome.reason instanceof TypeError : outcome.reason instanceof TimeoutError)
      }
      assert.ok(begun.length < 60 && begun.length >= 48, 'some gave up')
      assert.equal(await lanes.run(async () => 'free', new AbortController().signal), 'free')
    }
  })
})
