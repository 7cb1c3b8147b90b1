import assert from 'node:assert/strict'
import { test } from 'node:test'
import { integerBetween, seededRandom } from '../../kernel/random.ts'
import { Panes } from './panes.ts'
import { WindowAccumulator } from './window-accumulator.ts'

const PANE_MS = 60_000

test('p95 is the value at its rank in sorted order, however many values there are, with ties and in several panes', () => {
  const random = seededRandom(41)
  const accumulator = new WindowAccumulator()
  for (const count of [1, 2, 3, 19, 20, 21, 39, 40, 59, 60, 61, 300, 319, 320, 321, 339, 340, 341, 700]) {
    const panes = new Panes()
    const values: number[] = []
    for (let i = 0; i < count; i++) {
      // Every third value is one of eleven.
      const value = i % 3 === 0 ? integerBetween(random, -5, 5) : random.next() * 20 - 10
      const paneTs = (i % 5) * PANE_MS
      panes.add(panes.at(paneTs), paneTs + i, value, 1_000)
      values.push(value)
    }
    accumulator.take(panes, 0, 5 * PANE_MS)
    const sorted = values.toSorted((a, b) => a - b)
    assert.equal(accumulator.summary(panes).p95, sorted[Math.ceil(0.95 * count) - 1], `${count} values`)
  }
})
