import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isLike, matches } from './label-matcher.ts'

test('all conditions must hold; an absent label is empty', () => {
  const labels = { site: 'north-3', type: 'pump' }
  assert.ok(matches([], labels))
  assert.ok(
    matches(
      [
        { label: 'site', like: 'north-*' },
        { label: 'type', is: 'pump' },
      ],
      labels,
    ),
  )
  assert.ok(
    !matches(
      [
        { label: 'site', like: 'north-*' },
        { label: 'type', is: 'fan' },
      ],
      labels,
    ),
  )
  assert.ok(
    matches(
      [
        { label: 'absent', is: '' },
        { label: 'absent', isNot: 'x' },
        { label: 'site', notLike: 'south*' },
      ],
      labels,
    ),
  )
})

test('patterns match as the regular expression does that they stand for', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 12 })
  fc.assert(
    fc.property(text, text, (value, pattern) => {
      const expression = new RegExp(`^${pattern.replaceAll('*', '[^]*')}$`)
      assert.equal(isLike(value, pattern), expression.test(value))
    }),
    { numRuns: 2_000 },
  )
})
