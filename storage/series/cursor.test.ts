import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvalidInputError } from '../../kernel/errors.ts'
import { anyText } from '../../kernel/testing/any-text.ts'
import { compareNewestFirst, decodeCursor, encodeCursor } from './cursor.ts'

const keys = fc.record({ ts: fc.maxSafeInteger(), receivedAt: fc.maxSafeInteger(), offset: fc.maxSafeNat(), partition: fc.nat() })

test('a cursor gives back its place and travels in a URL as it is', () => {
  fc.assert(
    fc.property(keys, (key) => {
      const text = encodeCursor(key)
      assert.equal(encodeURIComponent(text), text)
      assert.deepEqual(decodeCursor(text), { ...key })
    }),
  )
})

test('any other text is refused', () => {
  fc.assert(
    fc.property(anyText(), (text) => {
      assert.throws(() => decodeCursor(text), InvalidInputError)
    }),
  )
})

test('places are ordered newest first, and two that differ are never equal', () => {
  fc.assert(
    fc.property(keys, keys, (a, b) => {
      assert.equal(Math.sign(compareNewestFirst(a, b)), -Math.sign(compareNewestFirst(b, a)) + 0)
      assert.equal(compareNewestFirst(a, b) === 0, JSON.stringify(a) === JSON.stringify(b))
    }),
  )
})
