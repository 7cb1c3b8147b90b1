import { EntryReader, readEntrySummary, type EntryPlace } from './entry-reader.ts'
import type { LogRecord } from './event-log.ts'
import type { LmdbEnvironment } from './lmdb-environment.ts'
import { entryKey, offsetOfEntryKey, type Slot } from './log-keys.ts'

/** Reads one partition forward from an offset; holds at most one entry. */
export class PartitionCursor {
  readonly #environment: LmdbEnvironment
  readonly #slot: Slot
  readonly #place: EntryPlace
  #position: number
  #reader: EntryReader | null = null

  constructor(environment: LmdbEnvironment, slot: Slot, place: EntryPlace, position: number) {
    this.#environment = environment
    this.#slot = slot
    this.#place = place
    this.#position = position
  }

  /** Offset of the next record. */
  get position(): number {
    return this.#position
  }

  seek(offset: number): void {
    this.#position = offset
  }

  /**
   * Appends up to `recordsMax` records below `end`, which is durable, to `into`. Offsets that retention removed are passed over and
   * counted in `lost`. The caller has refreshed the environment since it learned `end`.
   * Throws StoreError STORE_CORRUPT.
   */
  read(into: LogRecord[], recordsMax: number, end: number): { lost: number } {
    let lost = 0
    let room = recordsMax
    while (room > 0 && this.#position < end) {
      const reader = this.#readerAt(this.#position)
      if (reader === null) {
        lost += end - this.#position
        this.#position = end
        break
      }
      if (reader.baseOffset > this.#position) {
        lost += reader.baseOffset - this.#position
        this.#position = reader.baseOffset
      }
      if (reader.endOffset > end) break
      reader.seek(this.#position)
      const before = into.length
      try {
        reader.read(into, room)
      } finally {
        this.#position += into.length - before
        room -= into.length - before
      }
    }
    return { lost }
  }

  /** The entry that holds the offset, or the first one after it; null at the end. */
  #readerAt(offset: number): EntryReader | null {
    const current = this.#reader
    if (current !== null && current.baseOffset <= offset && offset < current.endOffset) return current
    this.#reader = this.#load(offset) ?? this.#find(offset)
    return this.#reader
  }

  #load(baseOffset: number): EntryReader | null {
    const bytes = this.#environment.entries.getBinary(entryKey(this.#slot, baseOffset))
    return bytes === undefined ? null : new EntryReader(plainBuffer(bytes), this.#place, baseOffset)
  }

  #find(offset: number): EntryReader | null {
    const before = lastEntryAtOrBefore(this.#environment, this.#slot, offset)
    if (before !== null && offset < before.baseOffset + readEntrySummary(before.entry, this.#place, before.baseOffset).count) {
      return new EntryReader(before.entry, this.#place, before.baseOffset)
    }
    const after = firstEntryAtOrAfter(this.#environment, this.#slot, offset)
    return after === null ? null : new EntryReader(after.entry, this.#place, after.baseOffset)
  }
}

export interface FoundEntry {
  baseOffset: number
  entry: Buffer
}

export function lastEntryAtOrBefore(environment: LmdbEnvironment, slot: Slot, offset: number): FoundEntry | null {
  const range = { start: entryKey(slot, offset), end: entryKey(slot, 0), inclusiveEnd: true, reverse: true, limit: 1 }
  return first(environment, range)
}

export function firstEntryAtOrAfter(environment: LmdbEnvironment, slot: Slot, offset: number): FoundEntry | null {
  return first(environment, { start: entryKey(slot, offset), end: entryKey(slot + 1, 0), limit: 1 })
}

/** As `firstEntryAtOrAfter`, for who looks at it only now: its bytes are overwritten by the next read. */
export function glanceAtOrAfter(environment: LmdbEnvironment, slot: Slot, offset: number): FoundEntry | null {
  const bytes = environment.entries.getBinaryFast(entryKey(slot, offset))
  return bytes === undefined ? firstEntryAtOrAfter(environment, slot, offset) : { baseOffset: offset, entry: plainBuffer(bytes) }
}

function first(environment: LmdbEnvironment, range: { start: Buffer; end: Buffer; limit: number }): FoundEntry | null {
  for (const { key, value } of environment.entries.getRange(range)) return { baseOffset: offsetOfEntryKey(key), entry: plainBuffer(value) }
  return null
}

/** The same bytes without the properties LMDB puts on its buffers, which make every access slow. */
export function plainBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
