import type { DocumentsConfig } from './config.ts'
import { decodeDocument, encodeDocument } from './document-codec.ts'
import type { Stored } from './documents.ts'
import { idBytes, indexEntries } from './index-entries.ts'
import { entryKey, numbered, ownerOfAny, readCollection, writeCollection, type CollectionRecord } from './lmdb-catalogue.ts'
import { corrupt } from './lmdb-errors.ts'
import type { LmdbStore } from './lmdb-store.ts'

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

  constructor(store: LmdbStore, config: DocumentsConfig) {
    this.#store = store
    this.#config = config
  }

  read<T extends object>(collection: string, record: CollectionRecord, id: string): (T & Stored) | undefined {
    const bytes = this.#store.documents.get(numbered(record.number, idBytes(id)))
    if (bytes === undefined) return undefined
    return readDocument<T>(this.#store, collection, id, bytes)
  }

  record(collection: string): CollectionRecord {
    return readCollection(this.#store, collection)
  }

  /** Stores `next` in the place of `previous`; undefined when a unique key belongs to another document. Answers what was stored. */
  write<T extends object>(
    collection: string,
    record: CollectionRecord,
    previous: Stored | undefined,
    next: T & Stored,
  ): (T & Stored) | undefined {
    const id = next._id
    const { bytes, text } = encodeDocument(next, this.#config.documentBytesMax)
    const stored = JSON.parse(text) as T & Stored
    const notPlain: string[] = []
    const changes: IndexChange[] = []
    for (const index of record.indexes) {
      const entries = indexEntries(index, stored, this.#config.indexEntriesMax)
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
    this.#store.documents.putSync(numbered(record.number, idBytes(id)), bytes)
    if (notPlain.length > 0) this.#markNotPlain(collection, record, notPlain)
    return stored
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

function without(keys: readonly Buffer[], others: readonly Buffer[]): Buffer[] {
  if (others.length === 0) return [...keys]
  const known = new Set(others.map((key) => key.toString('latin1')))
  return keys.filter((key) => !known.has(key.toString('latin1')))
}
