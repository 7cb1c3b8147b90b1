import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createRecordsBatch, readRecordsBatch, Reader } from '@platformatic/kafka'
import fc from 'fast-check'
import { StoreError } from '../../kernel/errors.ts'
import type { LogMessage, LogRecord } from './event-log.ts'
import { COMPRESSIONS, isAvailable, type Compression } from './kafka-compression-kinds.ts'
import { MessageEncoder } from './kafka-message-encoder.ts'
import { BATCH_AT, CONTROL_BIT, LOG_APPEND_TIME_BIT, RecordBatch, TRANSACTIONAL_BIT } from './kafka-record-batch.ts'
import { RecordReader } from './kafka-record-reader.ts'

const NOW_MS = 1_763_680_000_123
const PLACE = { topic: 't', partition: 3 }
const available = COMPRESSIONS.filter(isAvailable)

const messages = fc.array(
  fc.record({
    key: fc.string({ unit: 'grapheme', maxLength: 30 }),
    schema: fc.constantFrom('reading/1', 'reading/2', 'window/1'),
    value: fc.uint8Array({ maxLength: 300 }),
    headers: fc.dictionary(fc.string({ minLength: 1, maxLength: 9 }), fc.string({ unit: 'grapheme', maxLength: 20 }), {
      maxKeys: 3,
      noNullPrototype: true,
    }),
  }),
  { minLength: 1, maxLength: 60 },
)

describe('record batches', () => {
  test('the library reads what we write', () => {
    fc.assert(
      fc.property(messages, fc.constantFrom(...available), fc.boolean(), (list, compression, isTransactional) => {
        const bytes = encode(list, { compression, isTransactional })
        const batch = readRecordsBatch(Reader.from(bytes))
        assert.equal(batch.firstTimestamp, BigInt(NOW_MS))
        assert.equal(batch.producerId, 77n)
        assert.equal(batch.producerEpoch, 5)
        assert.equal(batch.firstSequence, 1_000)
        assert.equal((batch.attributes & TRANSACTIONAL_BIT) !== 0, isTransactional)
        assert.equal(batch.records.length, list.length)
        batch.records.forEach((record, i) => {
          const { key, value, schema, headers } = list[i]!
          assert.equal(record.offsetDelta, i)
          assert.deepEqual(Buffer.from(record.key ?? []), Buffer.from(key))
          assert.deepEqual(Buffer.from(record.value ?? []), Buffer.from(value))
          const [first, ...rest] = Array.from(record.headers as Iterable<[Buffer, Buffer]>, ([name, text]) => [String(name), String(text)])
          assert.deepEqual(first, ['schema', schema])
          assert.deepEqual(rest, Object.entries(headers))
        })
      }),
    )
  })

  test('we read what we write, from any offset on, in slices of any size', () => {
    fc.assert(
      fc.property(messages, fc.constantFrom(...available), fc.nat(), fc.integer({ min: 1, max: 70 }), (list, compression, skip, slice) => {
        const position = 500 + (skip % list.length)
        const bytes = at(encode(list, { compression }), 500)
        const records = readAll(new RecordReader(PLACE, bytes, position, []), slice)
        assert.deepEqual(
          records.map(({ offset }) => offset),
          list.slice(position - 500).map((_, i) => position + i),
        )
        list.slice(position - 500).forEach((message, i) => {
          const record = records[i]!
          assert.equal(record.key, message.key)
          assert.equal(record.schema, message.schema)
          assert.equal(record.appendedAt, NOW_MS)
          assert.deepEqual(Buffer.from(record.value), Buffer.from(message.value))
          assert.deepEqual({ ...record.headers }, { ...message.headers })
        })
      }),
    )
  })

  test('headers named as a property of every object are headers', () => {
    const headers = Object.fromEntries(['__proto__', 'constructor', 'toString', 'schema'].map((name) => [name, `${name}!`]))
    const [record] = readAll(new RecordReader(PLACE, at(encode([{ ...text('a'), headers }]), 0), 0, []), 1)
    assert.deepEqual(Object.entries(record!.headers), Object.entries(headers))
  })

  test('we read what the library writes', () => {
    const made = Array.from({ length: 20 }, (_, i) => ({
      topic: 't',
      partition: 0,
      key: Buffer.from(`k${i}`),
      value: Buffer.from(`v${i}`),
      timestamp: BigInt(NOW_MS + i * 70_000_000),
      headers: new Map([[Buffer.from('other'), Buffer.from('x')]]),
    }))
    const bytes = createRecordsBatch(made, { compression: 'snappy' }).buffer
    const records = readAll(new RecordReader(PLACE, bytes, 0, []), 7)
    assert.deepEqual(
      records.map(({ key }) => key),
      made.map(({ key }) => String(key)),
    )
    assert.deepEqual(
      records.map(({ appendedAt }) => appendedAt),
      made.map(({ timestamp }) => Number(timestamp)),
    )
    assert.deepEqual(records[0]!.headers, { other: 'x' })
    assert.equal(records[0]!.schema, '')
  })

  test('the time is that of the broker where the topic says so', () => {
    const bytes = at(encode([text('a')]), 0)
    bytes.writeInt16BE(bytes.readInt16BE(BATCH_AT.attributes) | LOG_APPEND_TIME_BIT, BATCH_AT.attributes)
    bytes.writeBigInt64BE(BigInt(NOW_MS + 9), BATCH_AT.maxTimestamp)
    assert.equal(readAll(new RecordReader(PLACE, signed(bytes), 0, []), 10)[0]!.appendedAt, NOW_MS + 9)
  })

  test('a batch cut off at the end is left for the next fetch', () => {
    const whole = at(encode([text('a'), text('b')]), 10)
    const cut = at(encode([text('c')]), 12).subarray(0, 50)
    const reader = new RecordReader(PLACE, Buffer.concat([whole, cut]), 10, [])
    assert.equal(reader.end, 12)
    assert.deepEqual(texts(readAll(reader, 10)), ['a', 'b'])
    assert.equal(reader.position, 12)
  })

  test('records of transactions that were given up are left out, those around them are not', () => {
    const inTransaction = (name: string, offset: number, producerId: bigint): Buffer =>
      at(encode([text(name)], { isTransactional: true, producerId }), offset)
    const bytes = Buffer.concat([
      inTransaction('kept before', 0, 7n),
      marker(1, 7n, true),
      inTransaction('given up', 2, 7n),
      inTransaction('another producer', 3, 8n),
      at(encode([text('outside')], { producerId: 7n }), 4),
      marker(5, 7n, false),
      inTransaction('kept after', 6, 7n),
      marker(7, 8n, true),
      marker(8, 7n, true),
    ])
    const reader = new RecordReader(PLACE, bytes, 0, [{ producerId: 7, firstOffset: 2 }])
    assert.deepEqual(texts(readAll(reader, 10)), ['kept before', 'another producer', 'outside', 'kept after'])
    assert.equal(reader.position, 9)
    assert.equal(reader.end, 9)
  })

  test('damage is reported, each time anew, after what was before it', () => {
    const damaged = at(encode([text('b')]), 1)
    damaged[damaged.length - 3]! ^= 1
    const reader = new RecordReader(PLACE, Buffer.concat([at(encode([text('a')]), 0), damaged]), 0, [])
    const records: LogRecord[] = []
    const isCorrupt = (error: unknown): boolean =>
      error instanceof StoreError && error.code === 'STORE_CORRUPT' && error.message.includes('offset 1 of t/3')
    assert.throws(() => reader.read(records, 10), isCorrupt)
    assert.deepEqual(texts(records), ['a'])
    assert.throws(() => reader.read(records, 10), isCorrupt)
  })

  test('a batch that is sent again is the same, byte for byte, whatever was sent between', () => {
    const batch = new RecordBatch(NOW_MS)
    const encoder = new MessageEncoder()
    encoder.place(text('a'), 1)
    encoder.add(batch, text('a'))
    batch.seal('lz4', false)
    const stamp = { producerId: 1n, producerEpoch: 0, baseSequence: 4 }
    const first = Buffer.from(batch.stamp(stamp))
    assert.notDeepEqual(Buffer.from(batch.stamp({ ...stamp, baseSequence: 9 })), first)
    assert.deepEqual(Buffer.from(batch.stamp(stamp)), first)
  })
})

interface EncodeOptions {
  compression?: Compression
  isTransactional?: boolean
  producerId?: bigint
}

function encode(
  list: readonly LogMessage[],
  { compression = 'none', isTransactional = false, producerId = 77n }: EncodeOptions = {},
): Buffer {
  const batch = new RecordBatch(NOW_MS)
  const encoder = new MessageEncoder()
  for (const message of list) {
    encoder.place(message, 5)
    const most = encoder.bytes(message)
    assert.ok(encoder.add(batch, message) <= most)
  }
  batch.seal(compression, isTransactional)
  return Buffer.from(batch.stamp({ producerId, producerEpoch: 5, baseSequence: 1_000 }))
}

/** As the broker stores it: with its offset, which the checksum leaves out. */
function at(bytes: Buffer, offset: number): Buffer {
  bytes.writeBigInt64BE(BigInt(offset), BATCH_AT.baseOffset)
  return bytes
}

/** Control record: key is version and type (0 = abort, 1 = commit). */
function marker(offset: number, producerId: bigint, isCommit: boolean): Buffer {
  const key = Buffer.from([0, 0, 0, isCommit ? 1 : 0])
  const bytes = createRecordsBatch([{ topic: 't', partition: 0, key, value: Buffer.alloc(6), timestamp: BigInt(NOW_MS) }], {
    transactionalId: 'x',
    producerId,
  }).buffer
  bytes.writeInt16BE(bytes.readInt16BE(BATCH_AT.attributes) | CONTROL_BIT, BATCH_AT.attributes)
  return signed(at(bytes, offset))
}

function signed(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(crc32c(bytes.subarray(BATCH_AT.attributes)), BATCH_AT.crc)
  return bytes
}

/** Castagnoli's polynomial, bit by bit: another implementation than the one under test. */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
  }
  return (crc ^ 0xffffffff) >>> 0
}

function readAll(reader: RecordReader, slice: number): LogRecord[] {
  const records: LogRecord[] = []
  for (let isMore = true; isMore;) {
    const some: LogRecord[] = []
    isMore = reader.read(some, slice)
    assert.ok(some.length <= slice)
    records.push(...some)
  }
  return records
}

function text(value: string): LogMessage {
  return { key: 'k', schema: 'text/1', value: Buffer.from(value) }
}

function texts(records: readonly LogRecord[]): string[] {
  return records.map(({ value }) => Buffer.from(value).toString())
}
