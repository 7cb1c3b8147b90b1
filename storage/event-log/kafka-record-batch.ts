import { crc32c } from '@platformatic/kafka'
import { varintBytes, writeVarint } from './kafka-bytes.ts'
import { type Compression } from './kafka-compression-kinds.ts'
import { compress, compressionBits } from './kafka-compression.ts'

/** Where the fields of a record batch (magic 2) are; the records follow at 61. */
export const BATCH_AT = {
  baseOffset: 0,
  length: 8,
  leaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  count: 57,
  records: 61,
} as const
export const BATCH_MAGIC = 2
export const BATCH_LENGTH_FROM = 12
export const COMPRESSION_MASK = 0b111
export const LOG_APPEND_TIME_BIT = 1 << 3
export const TRANSACTIONAL_BIT = 1 << 4
export const CONTROL_BIT = 1 << 5

/** Attributes, timestamp delta and the two varints of key and value lengths: never more than this, besides the offset delta. */
const RECORD_OVERHEAD_BYTES = 24
const FIRST_BUFFER_BYTES = 4_096

/** Who sends a batch: Kafka drops a batch whose sequence it has, and refuses one of an older epoch. */
export interface BatchStamp {
  producerId: bigint
  producerEpoch: number
  baseSequence: number
}

/** Records of one partition on their way to Kafka, encoded as they come. */
export class RecordBatch {
  readonly #baseTimestampMs: number
  #bytes = Buffer.allocUnsafe(FIRST_BUFFER_BYTES)
  #at: number = BATCH_AT.records
  #count = 0
  #sealed: Buffer | null = null

  constructor(baseTimestampMs: number) {
    this.#baseTimestampMs = baseTimestampMs
  }

  get count(): number {
    return this.#count
  }
  /** Bytes held: before `seal` uncompressed. */
  get bytes(): number {
    return this.#sealed?.length ?? this.#at
  }
  get isSealed(): boolean {
    return this.#sealed !== null
  }

  /** Adds a record whose key is `key[0..keyBytes)`. Answers how many bytes it took. */
  add(key: Buffer, keyBytes: number, value: Uint8Array, headers: Buffer): number {
    const start = this.#at
    const body =
      2 + varintBytes(this.#count) + varintBytes(keyBytes) + keyBytes + varintBytes(value.byteLength) + value.byteLength + headers.length
    this.#reserve(body + RECORD_OVERHEAD_BYTES)
    const bytes = this.#bytes
    let at = writeVarint(bytes, start, body)
    bytes[at++] = 0 // attributes
    bytes[at++] = 0 // timestamp delta: the topic's time is the one at which Kafka took it
    at = writeVarint(bytes, at, this.#count)
    at = writeVarint(bytes, at, keyBytes)
    key.copy(bytes, at, 0, keyBytes)
    at = writeVarint(bytes, at + keyBytes, value.byteLength)
    bytes.set(value, at)
    at += value.byteLength
    bytes.set(headers, at)
    this.#at = at + headers.length
    this.#count++
    return this.#at - start
  }

  /** Nothing more is added. */
  seal(compression: Compression, isTransactional: boolean): void {
    const records = this.#bytes.subarray(BATCH_AT.records, this.#at)
    const packed = compress(compression, records)
    // What does not shrink is sent as it is.
    const isSmaller = packed.length < records.length
    const bytes = isSmaller ? Buffer.allocUnsafe(BATCH_AT.records + packed.length) : this.#bytes.subarray(0, this.#at)
    if (isSmaller) packed.copy(bytes, BATCH_AT.records)
    bytes.writeBigInt64BE(0n, BATCH_AT.baseOffset)
    bytes.writeInt32BE(bytes.length - BATCH_LENGTH_FROM, BATCH_AT.length)
    bytes.writeInt32BE(-1, BATCH_AT.leaderEpoch)
    bytes.writeInt8(BATCH_MAGIC, BATCH_AT.magic)
    bytes.writeInt16BE((isSmaller ? compressionBits(compression) : 0) | (isTransactional ? TRANSACTIONAL_BIT : 0), BATCH_AT.attributes)
    bytes.writeInt32BE(this.#count - 1, BATCH_AT.lastOffsetDelta)
    bytes.writeBigInt64BE(BigInt(this.#baseTimestampMs), BATCH_AT.baseTimestamp)
    bytes.writeBigInt64BE(BigInt(this.#baseTimestampMs), BATCH_AT.maxTimestamp)
    bytes.writeInt32BE(this.#count, BATCH_AT.count)
    this.#sealed = bytes
    this.#bytes = bytes
  }

  /** The sealed batch as it goes out. A batch that is sent again keeps its stamp, so that Kafka knows it. */
  stamp({ producerId, producerEpoch, baseSequence }: BatchStamp): Buffer {
    const bytes = this.#bytes
    bytes.writeBigInt64BE(producerId, BATCH_AT.producerId)
    bytes.writeInt16BE(producerEpoch, BATCH_AT.producerEpoch)
    bytes.writeInt32BE(baseSequence, BATCH_AT.baseSequence)
    bytes.writeUInt32BE(crc32c(bytes.subarray(BATCH_AT.attributes)), BATCH_AT.crc)
    return bytes
  }

  #reserve(more: number): void {
    const needed = this.#at + more
    if (needed <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}
