import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonicalJson } from './canonical-json.ts'

test('the examples of RFC 8785', () => {
  const literals =
    '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}'
  assert.equal(
    canonicalJson(JSON.parse(literals)),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  )
  // §3.2.3: sorted by UTF-16 code units
  const sorted = {
    '\u20ac': 'Euro Sign',
    '\r': 'Carriage Return',
    '\ufb33': 'Hebrew',
    '1': 'One',
    '\ud83d\ude00': 'Emoji',
    '\u0080': 'Control',
    '\u00f6': 'Latin',
  }
  assert.deepEqual(
    [...canonicalJson(sorted).matchAll(/:"(.+?)"/g)].map(([, value]) => value),
    ['Carriage Return', 'One', 'Control', 'Latin', 'Euro Sign', 'Emoji', 'Hebrew'],
  )
})

test('the same value has one form, and different values never share it', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      const text = canonicalJson(a)
      assert.equal(canonicalJson(JSON.parse(text)), text)
      assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(a)))
      assert.equal(canonicalJson(b) === text, canonicalJson(JSON.parse(JSON.stringify(b))) === canonicalJson(JSON.parse(JSON.stringify(a))))
    }),
  )
})

test('what JSON cannot say has no form', () => {
  for (const value of [Number.NaN, Infinity, undefined, () => 1, 1n, '\ud800', { '\udc00': 1 }]) assert.throws(() => canonicalJson(value))
  assert.equal(canonicalJson({ a: undefined, b: -0 }), '{"b":0}')
})
