import assert from 'node:assert/strict'
import { test } from 'node:test'
import { murmur2, partitionOf } from './partitioner.ts'

// Expected values are those of Apache Kafka's own UtilsTest.testMurmur2.
const KAFKA_VECTORS: readonly (readonly [string, number])[] = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
]

test('murmur2 gives the values of the Kafka client', () => {
  for (const [text, expected] of KAFKA_VECTORS) assert.equal(murmur2(Buffer.from(text)), expected, text)
})

test('a slice hashes like its copy, and the partition is never negative', () => {
  const bytes = Buffer.from('..foobar..')
  assert.equal(murmur2(bytes, 2, 8), murmur2(Buffer.from('foobar')))
  for (const partitions of [1, 2, 3, 7, 64]) {
    const partition = partitionOf(bytes, 2, 8, partitions)
    assert.equal(partition, (-790332482 & 0x7fffffff) % partitions)
  }
})
