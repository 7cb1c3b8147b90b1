import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { anyText } from '../../kernel/testing/any-text.ts'
import { afterPrefix, COMPONENT_BYTES_MAX, encodeComponent, textBytes } from './index-key.ts'
import { ID_BYTES_MAX, INDEX_PATHS_MAX } from './documents.ts'

const seed = Number(process.env.TEST_SEED ?? 20_251_121)
const RANK = ['null', 'number', 'string', 'boolean']
const rank = (value: unknown): number => RANK.indexOf(value === null ? 'null' : typeof value)
type Plain = null | number | string | boolean
const plain: fc.Arbitrary<Plain> = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.double({ noNaN: true }),
  fc.integer(),
  anyText({ maxLength: 8 }),
  fc.constantFrom('', '\u0000', 'a', 'a\u0000', 'a\u0000b', 'ab', '\ud800', '\udc00', '\uffff', '\ud83c\udf00', '\ue000'),
)

function compare(a: Plain, b: Plain): number {
  if (rank(a) !== rank(b)) return Math.sign(rank(a) - rank(b))
  if (a === null || b === null) return 0
  return a < b ? -1 : a > b ? 1 : 0
}

it('orders bytes as the values are ordered, alone and followed by others', (t) => {
  t.diagnostic(`seed ${seed}`)
  const property = fc.property(plain, plain, plain, plain, (a, b, c, d) => {
    const key = (...values: Plain[]): Buffer => Buffer.concat(values.map((value) => encodeComponent(value).bytes))
    assert.equal(Buffer.compare(key(a), key(b)), compare(a, b))
    assert.equal(Buffer.compare(key(a, c), key(b, d)), compare(a, b) || compare(c, d))
    if (compare(a, b) !== 0) assert.equal(key(a, c).subarray(0, key(b).length).equals(key(b)), false, 'no key begins another')
  })
  fc.assert(property, { seed, numRuns: 2_000 })
})

it('tells long texts and objects apart without ordering them, objects whatever the order of their keys', () => {
  const long = 'x'.repeat(500)
  const first = encodeComponent(long)
  assert.equal(first.ordered, false)
  assert.equal(first.bytes.length, COMPONENT_BYTES_MAX)
  assert.equal(first.bytes.equals(encodeComponent(`${long}y`).bytes), false)
  assert.deepEqual(encodeComponent({ a: 1, b: { c: 2, d: 3 } }), encodeComponent({ b: { d: 3, c: 2 }, a: 1 }))
  assert.equal(encodeComponent({ a: 1 }).bytes.equals(encodeComponent({ a: 2 }).bytes), false)
})

it('finds the end of a prefix', () => {
  assert.deepEqual(afterPrefix(Buffer.from([1, 2])), Buffer.from([1, 3]))
  assert.deepEqual(afterPrefix(Buffer.from([1, 0xff, 0xff])), Buffer.from([2]))
  assert.throws(() => afterPrefix(Buffer.from([0xff])), RangeError)
})

it('keeps ids as short as UTF-8 and every index entry within LMDB’s largest key', () => {
  assert.equal(textBytes('ä').length, 2)
  const LMDB_KEY_BYTES_MAX = 1_978
  assert.ok(2 + INDEX_PATHS_MAX * COMPONENT_BYTES_MAX + ID_BYTES_MAX <= LMDB_KEY_BYTES_MAX)
})
