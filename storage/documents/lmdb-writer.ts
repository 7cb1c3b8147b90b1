import type { DocumentsConfig } from './config.ts'
import { decodeDocument, encodeDocument, type EncodedDocument } from './document-codec.ts'
import type { IndexSpec, Stored } from './documents.ts'
import { idBytes, indexEntries } from './index-entries.ts'
import { entryKey, numbered, ownerOfAny, readCollection, writeCollection, type CollectionRecord } from './lmdb-catalogue.ts'
import { corrupt } from './lmdb-errors.ts'
import type { LmdbStore } from './lmdb-store.ts'

/** Memory for one document at a time; grows with the largest. */
const SCRATCH_BYTES = 16_384

/** Removals and additions of one document in one index. */
interface IndexChange {
  remove: Buffer[]
  add: Buffer[]
}

/**
 * Single documents and their index entries, within a write transaction: all that is checked is read in it, so that it holds against every
 * thread. Nothing is written before everything was checked.
 */
export class LmdbWriter {
  readonly #store: LmdbStore
  readonly #config: DocumentsConfig
  #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)

  constructor(store: LmdbStore, config: DocumentsConfig) {
    this.#store = store
    this.#config = config
  }

  read<T extends object>(collection: string, record: CollectionRecord, id: string): (T & Stored) | undefined {
    const bytes = this.#store.documents.get(numbered(record.number, idBytes(id)))
    if (bytes === undefined) return undefined
    return readDocument<T>(this.#store, collection, id, bytes)
  }

  /** As `read`, without copying the document's bytes: they hold until the next read. */
  glance<T extends object>(collection: string, record: CollectionRecord, id: string): (T & Stored) | undefined {
    const bytes = this.#store.documents.getBinaryFast(numbered(record.number, idBytes(id)))
    if (bytes === undefined) return undefined
    // It is the start of a larger buffer whose length was written over: only a view has the right one.
    return readDocument<T>(this.#store, collection, id, bytes.subarray(0, bytes.length))
  }

  readonly #room = (sizeBytes: number): Buffer => {
    if (sizeBytes > this.#scratch.length) this.#scratch = Buffer.allocUnsafeSlow(sizeBytes * 2)
    return this.#scratch.subarray(0, sizeBytes)
  }

  record(collection: string): CollectionRecord {
    return readCollection(this.#store, collection)
  }

  /** Stores `next` in the place of `previous`; undefined when a unique key belongs to another document. Answers what was stored. */
  write(collection: string, record: CollectionRecord, previous: Stored | undefined, next: Stored): EncodedDocument | undefined {
    const id = next._id
    // Within a transaction LMDB copies what it is given before it returns.
    const encoded = encodeDocument(next, this.#config.documentBytesMax, this.#room)
    const notPlain: string[] = []
    const changes: IndexChange[] = []
    for (const index of record.indexes) {
      if (previous !== undefined && sameScalars(index, previous, next)) continue
      const entries = indexEntries(index, next, this.#config.indexEntriesMax)
      const before = previous === undefined ? [] : indexEntries(index, previous, this.#config.indexEntriesMax).keys
      const add = without(entries.keys, before)
      if (index.unique === true && ownerOfAny(this.#store, index, add, id) !== undefined) return undefined
      if (index.plain && !entries.plain) notPlain.push(index.name)
      changes.push({
        add: add.map((key) => entryKey(index, key, id)),
        remove: without(before, entries.keys).map((key) => entryKey(index, key, id)),
      })
    }
    for (const change of changes) this.#apply(change, id)
    this.#store.documents.putSync(numbered(record.number, idBytes(id)), encoded.bytes)
    if (notPlain.length > 0) this.#markNotPlain(collection, record, notPlain)
    return encoded
  }

  remove(record: CollectionRecord, document: Stored): void {
    for (const index of record.indexes) {
      const { keys } = indexEntries(index, document, this.#config.indexEntriesMax)
      this.#apply({ add: [], remove: keys.map((key) => entryKey(index, key, document._id)) }, document._id)
    }
    this.#store.documents.removeSync(numbered(record.number, idBytes(document._id)))
  }

  #apply(change: IndexChange, id: string): void {
    for (const key of change.remove) this.#store.indexes.removeSync(key)
    for (const key of change.add) this.#store.indexes.putSync(key, id)
  }

  #markNotPlain(collection: string, record: CollectionRecord, names: readonly string[]): void {
    for (const index of record.indexes) if (names.includes(index.name)) index.plain = false
    writeCollection(this.#store, collection, record)
  }
}

/** Throws StoreError STORE_CORRUPT when the bytes are not the document of this id. */
export function readDocument<T extends object>(store: LmdbStore, collection: string, id: string, bytes: Buffer): T & Stored {
  const document = decodeDocument<T & Stored>(bytes)
  if (document === undefined || document._id !== id)
    throw corrupt(`document ${id} of collection ${collection} in ${store.directory} is damaged`)
  return document
}

/** Do both documents have the same single values at the index's paths, seen without a walk? Then its entries stay. */
function sameScalars(index: IndexSpec, previous: Stored, next: Stored): boolean {
  return index.paths.every((path) => {
    const before = (previous as unknown as Record<string, unknown>)[path]
    return typeof before !== 'object' && before !== undefined && before === (next as unknown as Record<string, unknown>)[path]
  })
}

function without(keys: readonly Buffer[], others: readonly Buffer[]): Buffer[] {
  if (others.length === 0) return [...keys]
  const known = new Set(others.map((key) => key.toString('latin1')))
  return keys.filter((key) => !known.has(key.toString('latin1')))
}
