import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { it } from 'node:test'
import fc from 'fast-check'
import { describeError, StoreError } from '../../kernel/errors.ts'
import { anyText } from '../../kernel/testing/any-text.ts'
import { Sealer, type SealedPlace } from './sealer.ts'

const seed = Number(process.env.TEST_SEED ?? 20_251_122)
const runs = { seed, numRuns: 300 }
const key = (byte: number): ReturnType<typeof createSecretKey> => createSecretKey(Buffer.alloc(32, byte))
const sealer = new Sealer([key(1)])
const PLACE: SealedPlace = { collection: 'things', id: 'a', field: 'words' }
const place = fc.record({ collection: anyText({ maxLength: 8 }), id: anyText({ maxLength: 8 }), field: anyText({ maxLength: 8 }) })

function refusal(sealed: Uint8Array, at: SealedPlace, by = sealer): StoreError {
  try {
    by.open(sealed, at)
  } catch (error) {
    assert.ok(error instanceof StoreError && error.code === 'STORE_SEALED', inspect(error))
    assert.ok((error.remedy ?? '').length > 20, 'it says what to do')
    return error
  }
  return assert.fail('it opened')
}

it('gives back whatever JSON can say, and hides it', () => {
  fc.assert(
    fc.property(fc.oneof(anyText(), fc.jsonValue()), place, (value, at) => {
      assert.deepEqual(sealer.open(sealer.seal(value, at), at), JSON.parse(JSON.stringify(value)))
    }),
    runs,
  )
  assert.equal(sealer.open(sealer.seal('\ud800 half', PLACE), PLACE), '\ud800 half')
  assert.ok(!Buffer.from(sealer.seal('canary', PLACE)).includes('canary'))
  assert.notDeepEqual(sealer.seal('same', PLACE), sealer.seal('same', PLACE), 'that two values are the same does not show')
})

it('refuses a value of which any bit was flipped, or that was cut', () => {
  fc.assert(
    fc.property(anyText({ maxLength: 40 }), fc.nat(), fc.nat({ max: 7 }), (text, at, bit) => {
      const sealed = Buffer.from(sealer.seal(text, PLACE))
      const index = at % sealed.length
      sealed.writeUInt8(sealed.readUInt8(index) ^ (1 << bit), index)
      refusal(sealed, PLACE)
    }),
    runs,
  )
  const sealed = sealer.seal('some words', PLACE)
  for (let bytes = 0; bytes < sealed.length; bytes++) refusal(sealed.subarray(0, bytes), PLACE)
})

it('refuses a value at the place of another', () => {
  fc.assert(
    fc.property(place, place, anyText(), (from, to, text) => {
      fc.pre(from.collection !== to.collection || from.id !== to.id || from.field !== to.field)
      assert.match(refusal(sealer.seal(text, from), to).message, /was altered, or sealed for another place/)
    }),
    runs,
  )
  // Names that run together are not the same place.
  refusal(sealer.seal('x', { collection: 'a', id: 'bc', field: 'd' }), { collection: 'ab', id: 'c', field: 'd' })
})

it('seals with the first key and opens with all', () => {
  const [old, both, young] = [new Sealer([key(1)]), new Sealer([key(2), key(1)]), new Sealer([key(2)])]
  const [before, after] = [old.seal('before', PLACE), both.seal('after', PLACE)]
  assert.deepEqual([both.open(before, PLACE), both.open(after, PLACE), young.open(after, PLACE)], ['before', 'after', 'after'])
  assert.match(refusal(before, PLACE, young).message, new RegExp(`with key ${old.keyId}, which this process does not have`))
  assert.deepEqual([both.keyId, both.opens(old.keyId), young.opens(old.keyId)], [young.keyId, true, false])
})

it('shows neither key nor words, whatever prints it', () => {
  const bytes = randomBytes(32)
  const own = new Sealer([createSecretKey(bytes)])
  const sealed = Buffer.from(own.seal('canary', PLACE))
  sealed.writeUInt8(sealed.readUInt8(30) ^ 1, 30)
  const error = refusal(sealed, PLACE, own)
  const shown = [
    inspect(own, { depth: 9, showHidden: true }),
    JSON.stringify(own),
    own.keyId,
    describeError(error),
    inspect(error),
    JSON.stringify(error),
  ]
  for (const secret of ['canary', bytes.toString('hex'), bytes.toString('base64'), inspect(bytes)]) {
    for (const text of shown) assert.ok(!text.includes(secret))
  }
})
