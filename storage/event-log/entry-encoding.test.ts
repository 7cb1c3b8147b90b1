import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvalidInputError, StoreError } from '../../kernel/errors.ts'
import { anyText } from '../../kernel/testing/any-text.ts'
import { EntryBuilder, entryCrc, KeyScratch } from './entry-builder.ts'
import { ENTRY_AT, KEY_CHARACTERS_MAX, SCHEMAS_PER_ENTRY_MAX } from './entry-layout.ts'
import { EntryReader } from './entry-reader.ts'
import type { LogMessage, LogRecord } from './event-log.ts'
import { checkedMessageBytes } from './message-bounds.ts'

const PLACE = { topic: 'readings', partition: 3 }
const MESSAGE_BYTES_MAX = 1_000_000

const messages = fc.array(
  fc.record(
    {
      key: anyText({ maxLength: 40 }),
      schema: fc.constantFrom('reading/1', 'reading/2', 'schéma/1'),
      value: fc.uint8Array({ maxLength: 300 }),
      headers: fc.dictionary(fc.string({ unit: 'grapheme', maxLength: 12 }), fc.string({ unit: 'grapheme', maxLength: 30 }), {
        maxKeys: 4,
        noNullPrototype: true,
      }),
    },
    { requiredKeys: ['key', 'schema', 'value'] },
  ),
  { minLength: 1, maxLength: 40 },
)

test('every message comes out as it went in, whatever slices it is read in', () => {
  fc.assert(
    fc.property(messages, fc.integer({ min: 1, max: 9 }), fc.nat({ max: 2 ** 40 }), (list, slice, baseOffset) => {
      const reader = new EntryReader(Buffer.from(pack(list, baseOffset)), PLACE, baseOffset)
      assert.equal(reader.endOffset, baseOffset + list.length)
      const records: LogRecord[] = []
      while (records.length < list.length) assert.ok(reader.read(records, slice) > 0)
      assert.equal(reader.read(records, slice), 0)
      records.forEach((record, i) => assertSame(record, list[i]!, baseOffset + i))
    }),
  )
})

test('seek finds any message, back and forth', () => {
  fc.assert(
    fc.property(messages, fc.array(fc.nat(), { minLength: 1, maxLength: 10 }), (list, seeks) => {
      const reader = new EntryReader(Buffer.from(pack(list, 100)), PLACE, 100)
      for (const seek of seeks) {
        const index = seek % list.length
        const records: LogRecord[] = []
        reader.seek(100 + index)
        reader.read(records, 1)
        assertSame(records[0]!, list[index]!, 100 + index)
      }
    }),
  )
})

test('random bytes are refused as damaged, and nothing worse', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      assert.throws(() => readAll(Buffer.from(bytes)), isCorrupt)
    }),
    { numRuns: 2_000 },
  )
})

test('one changed bit is always noticed', () => {
  fc.assert(
    fc.property(messages, fc.nat(), (list, position) => {
      const entry = Buffer.from(pack(list, 0))
      const bit = position % (entry.length * 8)
      entry[bit >>> 3]! ^= 1 << (bit & 7)
      assert.throws(() => readAll(entry), isCorrupt)
    }),
    { numRuns: 2_000 },
  )
})

test('an entry whose checksum fits but whose content does not is read in bounds or refused', () => {
  fc.assert(
    fc.property(messages, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 8 }), (list, changes) => {
      const entry = Buffer.from(pack(list, 0))
      for (const [position, byte] of changes) entry[1 + (position % (entry.length - 1))] = byte
      entry.writeUInt32LE(entryCrc(entry), ENTRY_AT.crc)
      try {
        readAll(entry)
      } catch (error) {
        assert.ok(isCorrupt(error), String(error))
      }
    }),
    { numRuns: 3_000 },
  )
})

test('an entry is full when another schema would not fit its table', () => {
  const builder = new EntryBuilder(0, Buffer.alloc(65_408))
  const key = new KeyScratch(KEY_CHARACTERS_MAX)
  key.set('k')
  for (let i = 0; i < SCHEMAS_PER_ENTRY_MAX; i++) {
    const message = { key: 'k', schema: `s/${i}`, value: Buffer.alloc(1) }
    assert.ok(builder.fits(16, message.schema))
    builder.add(key, message)
  }
  assert.ok(builder.fits(16, 's/0'))
  assert.ok(!builder.fits(16, 'one-more/1'))
})

test('messages that no entry may hold are refused with the bound', () => {
  const fine: LogMessage = { key: 'k', schema: 's/1', value: Buffer.alloc(10) }
  assert.ok(checkedMessageBytes(fine, 1_000) >= 12)
  const refused: LogMessage[] = [
    { ...fine, key: 'k'.repeat(KEY_CHARACTERS_MAX + 1) },
    { ...fine, schema: 's'.repeat(81) },
    { ...fine, value: Buffer.alloc(1_001) },
    { ...fine, headers: { ['h'.repeat(257)]: '' } },
    { ...fine, headers: { h: 'v'.repeat(16_385) } },
    { ...fine, headers: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`h${i}`, ''])) },
  ]
  for (const message of refused)
    assert.throws(() => checkedMessageBytes(message, message.headers === undefined ? 1_000 : MESSAGE_BYTES_MAX), InvalidInputError)
})

function pack(list: readonly LogMessage[], baseOffset: number): Buffer {
  const sizes = list.map((message) => checkedMessageBytes(message, MESSAGE_BYTES_MAX))
  const builder = new EntryBuilder(3, Buffer.alloc(ENTRY_AT.body + sizes.reduce((a, b) => a + b) + 1_000))
  const key = new KeyScratch(KEY_CHARACTERS_MAX)
  list.forEach((message, i) => {
    assert.ok(builder.fits(sizes[i]!, message.schema))
    key.set(message.key)
    builder.add(key, message)
  })
  return builder.seal(baseOffset, 1_700_000_000_000, 42)
}

function readAll(entry: Buffer): void {
  const reader = new EntryReader(entry, PLACE, 0)
  const records: LogRecord[] = []
  reader.read(records, 100_000)
  for (const { headers } of records) assert.ok(typeof headers === 'object')
}

function assertSame(record: LogRecord, message: LogMessage, offset: number): void {
  assert.equal(record.offset, offset)
  // A lone surrogate has no UTF-8; it is replaced as everywhere in Node.
  assert.equal(record.key, Buffer.from(message.key).toString())
  assert.equal(record.schema, message.schema)
  assert.equal(record.appendedAt, 1_700_000_000_000)
  assert.deepEqual(Buffer.from(record.value), Buffer.from(message.value))
  assert.deepEqual(record.headers, message.headers ?? {})
}

function isCorrupt(error: unknown): boolean {
  return error instanceof StoreError && error.code === 'STORE_CORRUPT'
}
