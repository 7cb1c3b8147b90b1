import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InFlightWindow } from './in-flight-window.ts'

test('in whatever order messages become durable, acknowledgements leave in the order of receipt, and never too early', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(30), { minLength: 1, maxLength: 40 }), (order) => {
      const window = new InFlightWindow(8)
      const acknowledged: number[] = []
      const isDurable: boolean[] = []
      const durables = order.map((_, i) =>
        window.add(() => {
          assert.ok(isDurable[i], 'acknowledged before it was durable')
          acknowledged.push(i)
        }),
      )
      const byChance = order.map((weight, i) => ({ weight, i })).sort((a, b) => a.weight - b.weight)
      for (const { i } of byChance) {
        isDurable[i] = true
        durables[i]?.()
      }
      assert.deepEqual(
        acknowledged,
        order.map((_, i) => i),
      )
      assert.equal(window.size, 0)
    }),
  )
})

test('when it is full nothing more is read until there is room', async () => {
  const window = new InFlightWindow(2)
  const durables = [0, 1].map(() => window.add(() => undefined))
  let read = 0
  window.onRoom(() => read++)
  assert.equal(read, 0)
  durables[1]?.()
  assert.equal(read, 0, 'the first one still holds the place of both')
  durables[0]?.()
  assert.equal(read, 1)
  await window.emptied()
  window.onRoom(() => read++)
  assert.equal(read, 2)
})
