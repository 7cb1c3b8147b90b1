import type { LogMessage } from './event-log.ts'
import { KEY_CHARACTERS_MAX, UTF8_BYTES_PER_UNIT } from './entry-layout.ts'
import { RecordHeadersWriter } from './kafka-record-headers.ts'
import type { RecordBatch } from './kafka-record-batch.ts'
import { partitionOf } from './partitioner.ts'

/** Varints, attributes and lengths of a record. */
const RECORD_OVERHEAD_BYTES = 32

/** Puts messages into the batches of their partitions. `place` is asked first; the others then speak of the same message. */
export class MessageEncoder {
  readonly #key = Buffer.allocUnsafe(KEY_CHARACTERS_MAX * UTF8_BYTES_PER_UNIT)
  readonly #headers = new RecordHeadersWriter()
  #keyBytes = 0
  #block: Buffer = Buffer.alloc(0)

  /** The partition of the message's key. */
  place(message: LogMessage, partitions: number): number {
    this.#keyBytes = this.#key.write(message.key, 0, 'utf8')
    this.#block = this.#headers.block(message.schema, message.headers)
    return partitionOf(this.#key, 0, this.#keyBytes, partitions)
  }

  /** Most bytes it takes in a batch. */
  bytes({ value }: LogMessage): number {
    return RECORD_OVERHEAD_BYTES + this.#keyBytes + value.byteLength + this.#block.length
  }

  /** Answers the bytes it took. */
  add(batch: RecordBatch, { value }: LogMessage): number {
    return batch.add(this.#key, this.#keyBytes, value, this.#block)
  }
}
