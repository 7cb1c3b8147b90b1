import assert from 'node:assert/strict'
import { it } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { InvalidInputError } from '../../kernel/errors.ts'
import { decodeDocument, encodeDocument } from './document-codec.ts'
import type { Stored } from './documents.ts'

const seed = Number(process.env.TEST_SEED ?? 20_251_121)
const json = fc.record({ _id: fc.string({ minLength: 1 }), version: fc.nat(), value: fc.jsonValue() })
const document = fc.oneof(
  json,
  fc
    .tuple(json, fc.dictionary(fc.stringMatching(/^[a-zä🌀]{1,9}$/u), fc.uint8Array({ maxLength: 300 }), { noNullPrototype: true }))
    .map(([whole, bytes]): Stored => ({ ...bytes, ...whole })),
)
const plain = (value: object): unknown =>
  Object.fromEntries(
    Object.entries(value).map(([name, item]: [string, unknown]) => [
      name,
      item instanceof Uint8Array ? Buffer.from(item) : (JSON.parse(JSON.stringify(item)) as unknown),
    ]),
  )
const encode = (value: Stored): Buffer => encodeDocument(value, 1_000_000).bytes

it('gives back what was encoded', (t) => {
  t.diagnostic(`seed ${seed}`)
  fc.assert(
    fc.property(document, (value) => assert.deepEqual(plain(decodeDocument(encode(value)) ?? {}), plain(value))),
    { seed },
  )
})

it('takes no changed, cut, lengthened or made-up bytes for a document', (t) => {
  t.diagnostic(`seed ${seed}`)
  const damage = fc.oneof(
    fc.record({ kind: fc.constant('flip' as const), at: fc.nat(), bit: fc.integer({ min: 0, max: 7 }) }),
    fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
    fc.record({ kind: fc.constant('add' as const), bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }) }),
  )
  const property = fc.property(document, damage, (value, harm) => {
    const bytes = Buffer.from(encode(value))
    if (harm.kind === 'flip') bytes[harm.at % bytes.length] = (bytes[harm.at % bytes.length] as number) ^ (1 << harm.bit)
    const harmed =
      harm.kind === 'cut' ? bytes.subarray(0, harm.at % bytes.length) : harm.kind === 'add' ? Buffer.concat([bytes, harm.bytes]) : bytes
    assert.equal(decodeDocument(harmed), undefined)
  })
  fc.assert(property, { seed, numRuns: 2_000 })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => assert.equal(decodeDocument(Buffer.from(bytes)), undefined)),
    { seed },
  )
})

it('takes nothing for a document that has the right checksum and the wrong content', () => {
  for (const text of [
    '',
    '{',
    'null',
    '7',
    '[]',
    '{}',
    '{"_id":"a"}',
    '{"_id":1,"version":1}',
    '{"_id":"a","version":"1"}',
    '{"_id":"a","version":1.5}',
  ]) {
    const json = Buffer.from(text)
    const checksum = Buffer.alloc(4)
    checksum.writeUInt32BE(crc32(json))
    assert.equal(decodeDocument(Buffer.concat([checksum, json])), undefined, text)
  }
})

it('refuses documents over the bound and nested without end', () => {
  const large = { _id: 'a', version: 1, text: 'x'.repeat(1_000) }
  assert.throws(() => encodeDocument(large, 1_000), InvalidInputError)
  assert.equal(encodeDocument(large, 1_100).bytes.length > 1_000, true)
  const loop: Record<string, unknown> & Stored = { _id: 'a', version: 1 }
  loop.self = loop
  assert.throws(() => encodeDocument(loop, 1_000), InvalidInputError)
})
