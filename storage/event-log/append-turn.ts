import type { Appended, LogMessage } from './event-log.ts'
import { EntryBuilder, KeyScratch } from './entry-builder.ts'
import { KEY_CHARACTERS_MAX } from './entry-layout.ts'
import { slotOf, type Slot } from './log-keys.ts'
import { partitionOf } from './partitioner.ts'
import type { Topic } from './topic-catalog.ts'

/**
 * Free entry buffers kept for the next turns: what a busy log has under way at a time, some 20 000 messages. With fewer, each turn asks for memory
 * outside of the heap, and every 64 MB of that has the collector go through the whole heap.
 */
const FREE_BYTES_MAX = 8 * 1_048_576

/** Entry buffers used again and again, so that a busy log makes no garbage of its size. */
export class EntryBuffers {
  readonly entryBytesMax: number
  readonly #free: Buffer[] = []
  readonly #freeMax: number

  constructor(entryBytesMax: number) {
    this.entryBytesMax = entryBytesMax
    this.#freeMax = Math.ceil(FREE_BYTES_MAX / entryBytesMax)
  }
  take(bytesMin: number): Buffer {
    if (bytesMin > this.entryBytesMax) return Buffer.allocUnsafeSlow(bytesMin)
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.entryBytesMax)
  }
  /** Only when LMDB no longer reads from it. */
  giveBack(buffer: Buffer): void {
    if (buffer.length === this.entryBytesMax && this.#free.length < this.#freeMax) this.#free.push(buffer)
  }
}

/** What one partition gets in a turn. */
export interface PartitionAppend {
  readonly topic: Topic
  readonly slot: Slot
  readonly builders: EntryBuilder[]
  /** Version of the head that the last try to commit wrote. */
  headVersion: number
}

/** A group's next offset for a partition. */
export interface OffsetCommit {
  readonly key: Buffer
  readonly offset: number
}

/** Where messages of one call lie: from `index` in `builder`, and on in the builders after it. */
interface Placement {
  readonly partition: number
  readonly builder: EntryBuilder
  readonly index: number
  count: number
}

/** Everything that goes into one commit: appends and offsets of one turn of the event loop, or of several while commits are busy. */
export class AppendTurn {
  readonly appends = new Map<Slot, PartitionAppend>()
  readonly offsets = new Map<string, OffsetCommit>()
  /** Settles when the turn is durable or known to have failed. */
  readonly durable: Promise<void>
  /** Bytes that count towards the bound on waiting appends. */
  pendingBytes = 0
  readonly #buffers: EntryBuffers
  readonly #key: KeyScratch
  #settle!: { resolve: () => void; reject: (error: unknown) => void }

  constructor(buffers: EntryBuffers, key: KeyScratch) {
    this.#buffers = buffers
    this.#key = key
    this.durable = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    // Every caller waits on a promise of its own; an offset commit that nobody waits for must not end the process.
    this.durable.catch(() => {})
  }

  static keyScratch(): KeyScratch {
    return new KeyScratch(KEY_CHARACTERS_MAX)
  }

  /** Packs checked messages; `sizes` are their checkedMessageBytes. The answer may be read when the turn is durable. */
  add(topic: Topic, messages: readonly LogMessage[], sizes: readonly number[]): () => Appended[] {
    const placements: Placement[] = []
    for (let i = 0; i < messages.length; i++) {
      const message = messages[i]!
      const size = sizes[i]!
      this.#key.set(message.key)
      const partition = topic.partitions === 1 ? 0 : partitionOf(this.#key.bytes, 0, this.#key.length, topic.partitions)
      const builder = this.#builderFor(topic, partition, size, message.schema)
      place(placements, builder)
      builder.add(this.#key, message)
      this.pendingBytes += size
    }
    return () => placements.map(({ partition, builder, index, count }) => ({ partition, baseOffset: builder.baseOffset + index, count }))
  }

  resolve(): void {
    for (const { builders } of this.appends.values()) for (const { buffer } of builders) this.#buffers.giveBack(buffer)
    this.#settle.resolve()
  }
  reject(error: unknown): void {
    this.#settle.reject(error)
  }

  #builderFor(topic: Topic, partition: number, size: number, schema: string): EntryBuilder {
    const slot = slotOf(topic.id, partition)
    let append = this.appends.get(slot)
    if (append === undefined) this.appends.set(slot, (append = { topic, slot, builders: [], headVersion: 0 }))
    const last = append.builders[append.builders.length - 1]
    if (last?.fits(size, schema) === true) return last
    const builder = new EntryBuilder(partition, this.#buffers.take(EntryBuilder.bytesFor(size, schema)))
    append.builders.push(builder)
    return builder
  }
}

/** Counts the message that `builder` is about to take. A call's messages of one partition lie one after the other, for nothing comes between. */
function place(placements: Placement[], builder: EntryBuilder): void {
  for (const placement of placements) {
    if (placement.partition !== builder.partition) continue
    placement.count++
    return
  }
  placements.push({ partition: builder.partition, builder, index: builder.count, count: 1 })
}
