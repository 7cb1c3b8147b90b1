import { crc32c } from '@platformatic/kafka'
import { StoreError } from '../../kernel/errors.ts'
import type { LogRecord } from './event-log.ts'
import { KafkaBytesReader } from './kafka-bytes.ts'
import { decompress } from './kafka-compression.ts'
import {
  BATCH_AT,
  BATCH_LENGTH_FROM,
  BATCH_MAGIC,
  COMPRESSION_MASK,
  CONTROL_BIT,
  LOG_APPEND_TIME_BIT,
  TRANSACTIONAL_BIT,
} from './kafka-record-batch.ts'
import { RecordHeadersReader } from './kafka-record-headers.ts'

/** A transaction that was given up: its records from this offset on are nobody's, up to its marker. */
export interface AbortedTransaction {
  producerId: number
  firstOffset: number
}

/** Version and type, two bytes each: the key of a control record. */
const ABORT_MARKER = 0

/** The records that one fetch brought of one partition, decoded as they are asked for. What was given up by its transaction is left out. */
export class RecordReader {
  /** Next offset to be handed out; also behind markers and what was left out. */
  position: number
  /** The offset behind the last batch that came whole: there the next fetch begins. */
  readonly end: number
  readonly #place: { topic: string; partition: number }
  readonly #batches: KafkaBytesReader
  readonly #aborted: AbortedTransaction[]
  readonly #abortedNow = new Set<number>()
  readonly #headers: RecordHeadersReader
  #records: KafkaBytesReader | null = null
  #recordsLeft = 0
  #baseOffset = 0
  #baseTimestampMs = 0
  #appendTimeMs: number | null = null
  #batchEnd = 0

  constructor(
    place: { topic: string; partition: number },
    bytes: Buffer,
    position: number,
    aborted: readonly AbortedTransaction[],
    headers = new RecordHeadersReader(),
  ) {
    this.#place = place
    this.#batches = new KafkaBytesReader(bytes)
    this.position = position
    this.end = endOf(bytes, position)
    this.#aborted = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset)
    this.#headers = headers
  }

  /** Bytes not handed out yet, about. */
  get bytesLeft(): number {
    return this.#batches.remaining
  }

  /** Adds records to `into` until it has `recordsMax` or nothing is left; answers whether something may be left. */
  read(into: LogRecord[], recordsMax: number): boolean {
    while (into.length < recordsMax) {
      if (this.#recordsLeft > 0) {
        this.#readRecord(into)
        if (this.#recordsLeft === 0) this.position = Math.max(this.position, this.#batchEnd)
      } else if (!this.#openBatch()) return false
    }
    return this.#recordsLeft > 0 || this.#batches.remaining > 0
  }

  /** Moves to the next batch that has records for us. A batch that was cut off at the end of the answer is left for the next one. */
  #openBatch(): boolean {
    this.#records = null
    const { bytes } = this.#batches
    for (;;) {
      const start = this.#batches.at
      if (bytes.length - start < BATCH_LENGTH_FROM) return this.#end()
      const end = start + BATCH_LENGTH_FROM + bytes.readInt32BE(start + BATCH_AT.length)
      if (end > bytes.length) return this.#end()
      const batch = bytes.subarray(start, end)
      const baseOffset = new KafkaBytesReader(batch, BATCH_AT.baseOffset).int64()
      const nextOffset = baseOffset + batch.readInt32BE(BATCH_AT.lastOffsetDelta) + 1
      // A damaged batch is met again each time: nobody goes past it unknowingly.
      if (nextOffset > this.position) this.#check(batch, baseOffset)
      this.#batches.at = end
      if (nextOffset <= this.position) continue
      if (this.#isForUs(batch, nextOffset)) {
        this.#enter(batch, baseOffset, nextOffset)
        return true
      }
      this.position = nextOffset
    }
  }

  #end(): boolean {
    this.#batches.at = this.#batches.bytes.length
    return false
  }

  #check(batch: Buffer, baseOffset: number): void {
    if (batch[BATCH_AT.magic] !== BATCH_MAGIC) throw this.#corrupt(baseOffset, `has the unknown format ${batch[BATCH_AT.magic]}`)
    if (batch.readUInt32BE(BATCH_AT.crc) !== crc32c(batch.subarray(BATCH_AT.attributes))) throw this.#corrupt(baseOffset, 'is damaged')
  }

  #isForUs(batch: Buffer, nextOffset: number): boolean {
    const attributes = batch.readInt16BE(BATCH_AT.attributes)
    const producerId = new KafkaBytesReader(batch, BATCH_AT.producerId).int64()
    while (this.#aborted.length > 0 && this.#aborted[0]!.firstOffset < nextOffset) this.#abortedNow.add(this.#aborted.shift()!.producerId)
    if ((attributes & CONTROL_BIT) !== 0) {
      if (markerType(batch) === ABORT_MARKER) this.#abortedNow.delete(producerId)
      return false
    }
    return (attributes & TRANSACTIONAL_BIT) === 0 || !this.#abortedNow.has(producerId)
  }

  #enter(batch: Buffer, baseOffset: number, nextOffset: number): void {
    const header = new KafkaBytesReader(batch, BATCH_AT.attributes)
    const attributes = header.int16()
    header.at = BATCH_AT.baseTimestamp
    this.#baseTimestampMs = header.int64()
    const maxTimestampMs = header.int64()
    this.#appendTimeMs = (attributes & LOG_APPEND_TIME_BIT) === 0 ? null : maxTimestampMs
    this.#baseOffset = baseOffset
    this.#batchEnd = nextOffset
    this.#recordsLeft = batch.readInt32BE(BATCH_AT.count)
    this.#records = new KafkaBytesReader(decompress(attributes & COMPRESSION_MASK, batch.subarray(BATCH_AT.records)))
  }

  #readRecord(into: LogRecord[]): void {
    const reader = this.#records!
    this.#recordsLeft--
    const length = reader.varint()
    const end = reader.at + length
    reader.at++
    const timestampDelta = reader.varint()
    const offset = this.#baseOffset + reader.varint()
    if (offset < this.position) {
      reader.at = end
      return
    }
    const keyBytes = Math.max(0, reader.varint())
    const key = reader.bytes.toString('utf8', reader.at, reader.at + keyBytes)
    reader.at += keyBytes
    const valueBytes = Math.max(0, reader.varint())
    const value = reader.bytes.subarray(reader.at, reader.at + valueBytes)
    const { schema, headers } = this.#headers.read(reader.bytes, reader.at + valueBytes, end)
    reader.at = end
    this.position = offset + 1
    const appendedAt = this.#appendTimeMs ?? this.#baseTimestampMs + timestampDelta
    const { topic, partition } = this.#place
    into.push({ topic, partition, offset, appendedAt, key, schema, value, headers })
  }

  #corrupt(offset: number, what: string): StoreError {
    const { topic, partition } = this.#place
    return new StoreError('STORE_CORRUPT', `the batch at offset ${offset} of ${topic}/${partition} in Kafka ${what}`, {
      remedy: 'Look at the disks of the brokers; consumers go on behind it when they are set to an offset after it.',
    })
  }
}

/** The offset after the last whole batch, at least `position`. */
function endOf(bytes: Buffer, position: number): number {
  let end = position
  for (let at = 0; at + BATCH_AT.records <= bytes.length;) {
    const next = at + BATCH_LENGTH_FROM + bytes.readInt32BE(at + BATCH_AT.length)
    if (next > bytes.length) break
    end = Math.max(end, new KafkaBytesReader(bytes, at).int64() + bytes.readInt32BE(at + BATCH_AT.lastOffsetDelta) + 1)
    at = next
  }
  return end
}

function markerType(batch: Buffer): number {
  const reader = new KafkaBytesReader(batch, BATCH_AT.records)
  reader.varint()
  reader.at++
  reader.varint()
  reader.varint()
  reader.varint()
  reader.int16()
  return reader.int16()
}
