import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { BSON } from 'mongodb'
import { InvalidInputError } from '../../kernel/errors.ts'
import { escapePath, prepareDocument, restoreDocument, type ServerDocument } from './mongodb-codec.ts'
import { serverFilter, serverSort } from './mongodb-filter.ts'
import { shownAddress } from './mongodb-address.ts'

const BYTES_MAX = 4_194_304
const oddName = fc.constantFrom(
  '$set',
  '$',
  'a.b',
  '.',
  'x\u0000y',
  '_bsontype',
  '__proto__',
  'toBSON',
  '_write',
  '_escaped',
  '\u{10ffff}',
  '\u{10ffff}002e',
  '\ud800',
  '',
  '_id',
)
const oddText = fc.constantFrom('\ud800', 'a\udc00b', '\u{10ffff}', '\u{10ffff}d800', '🌀', '\u0000', 'ä€')
const { value: json } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    oddText,
    fc.string(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 3 }),
    tie('object'),
  ),
  object: fc
    .array(fc.tuple(fc.oneof(oddName, fc.string({ maxLength: 4 })), tie('value')), { maxLength: 4 })
    .map((entries) => Object.fromEntries(entries)),
}))

function throughBson(document: Record<string, unknown>): unknown {
  const { server } = prepareDocument({ ...document, _id: 'id', version: 3 }, 'token', BYTES_MAX)
  return restoreDocument(BSON.deserialize(BSON.serialize(server)) as ServerDocument)
}

it('gives back every JSON value that it was given, in the same order of names', (t) => {
  const seed = Number(process.env.TEST_SEED ?? 20_251_121)
  t.diagnostic(`seed ${seed} (TEST_SEED)`)
  fc.assert(
    fc.property(fc.dictionary(fc.oneof(oddName, fc.string()), json), (drawn) => {
      const given = JSON.parse(JSON.stringify({ ...drawn, _id: 'id', version: 3 })) as Record<string, unknown>
      assert.equal(JSON.stringify(throughBson(given)), JSON.stringify(given))
    }),
    { seed, numRuns: 500 },
  )
})

it('stores ordinary documents under their own names, with the write alone beside them', () => {
  const { server } = prepareDocument({ _id: 'a', version: 1, values: { 'T °C': 1 } } as never, 'w-1', BYTES_MAX)
  assert.deepEqual(server, { _id: 'a', version: 1, values: { 'T °C': 1 }, _write: 'w-1' })
})

it('asks for odd names and texts as they are stored', () => {
  const escaped = '\u{10ffff}005fwrite'
  assert.equal(escapePath('_write.a'), `${escaped}.a`)
  assert.equal(escapePath('a._write'), 'a._write')
  assert.deepEqual(serverFilter({ $or: [{ _write: 'x' }, { parts: { $elemMatch: { _write: { $gt: '\ud800' } } } }] }), {
    $or: [{ [escaped]: 'x' }, { parts: { $elemMatch: { _write: { $gt: '\u{10ffff}d800' } } } }],
  })
  assert.deepEqual(serverSort({ _write: -1, a: 1 }), [
    [escaped, -1],
    ['a', 1],
  ])
})

it('refuses what a server would answer otherwise than the embedded engine', () => {
  for (const filter of [
    { a: { b: 1, c: 2 } },
    { a: { $in: [{ b: 1, c: 2 }] } },
    { a: [{ b: { c: 1, d: 2 } }] },
    { a: { $type: 'double' } },
    { a: { $type: [16] } },
  ])
    assert.throws(() => serverFilter(filter), InvalidInputError, JSON.stringify(filter))
  assert.deepEqual(serverFilter({ a: { b: 1 } }), { a: { b: 1 } })
})

it('refuses a document that fits as JSON and not as BSON', () => {
  const numbers = Array.from({ length: 1_900_000 }, () => 1)
  assert.throws(() => prepareDocument({ _id: 'a', version: 1, numbers } as never, 'w', 16_777_216), InvalidInputError)
})

it('shows addresses without passwords and options', () => {
  const shown: [string, string][] = [
    ['mongodb://127.0.0.1:27017', 'mongodb://127.0.0.1:27017'],
    ['mongodb://me:se%40cret@a:1,b:2/db?authSource=admin&tlsCertificateKeyFilePassword=x', 'mongodb://me:[masked]@a:1,b:2/db'],
    ['mongodb+srv://me:s/e@c@host/', 'mongodb+srv://me:[masked]@host'],
    ['mongodb://me@host', 'mongodb://me@host'],
  ]
  for (const [url, expected] of shown) assert.equal(shownAddress(url), expected)
})
