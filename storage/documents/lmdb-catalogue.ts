import type { Transaction } from 'lmdb'
import { ConflictError } from '../../kernel/errors.ts'
import type { CollectionSpec, IndexSpec, Stored } from './documents.ts'
import { decodeDocument } from './document-codec.ts'
import { afterPrefix } from './index-key.ts'
import { idBytes, indexEntries } from './index-entries.ts'
import { corrupt } from './lmdb-errors.ts'
import type { LmdbStore } from './lmdb-store.ts'

/** A collection as the store itself knows it. Read anew for each operation, so that all threads agree on what is indexed. */
export interface CollectionRecord {
  /** First part of its documents' keys. */
  number: number
  indexes: IndexRecord[]
}

export interface IndexRecord extends IndexSpec {
  /** First part of its entries' keys. */
  number: number
  /** False since it took a value that it cannot order; then it serves equality only. */
  plain: boolean
}

const NEXT_NUMBER_KEY = 'next-number'
const NUMBER_MAX = 0xffff

const recordKey = (name: string): string => `collection:${name}`

/** Throws StoreError STORE_CORRUPT when the collection's record is not there or not one. */
export function readCollection(store: LmdbStore, name: string, transaction?: Transaction): CollectionRecord {
  const record = store.meta.get(recordKey(name), transaction === undefined ? {} : { transaction })
  if (!isRecord(record)) throw corrupt(`the documents store in ${store.directory} has no readable record of collection ${name}`)
  return record
}

export function namesOfCollections(store: LmdbStore): string[] {
  const prefix = recordKey('')
  return [...store.meta.getKeys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length))
}

export function writeCollection(store: LmdbStore, name: string, record: CollectionRecord): void {
  store.meta.putSync(recordKey(name), record)
}

function isRecord(value: unknown): value is CollectionRecord {
  return typeof value === 'object' && value !== null && 'number' in value && 'indexes' in value && Array.isArray(value.indexes)
}

/** Key of a document or index entry: the number of its collection or index, and the rest. */
export function numbered(number: number, rest: Buffer): Buffer {
  const key = Buffer.allocUnsafe(2 + rest.length)
  key.writeUInt16BE(number)
  rest.copy(key, 2)
  return key
}

/**
 * Makes the collection known and builds the indexes that are new or have changed; within a write. Indexes declared by others stay.
 * Throws ConflictError when documents that are already there break a new unique index.
 */
export function declareCollection(store: LmdbStore, spec: CollectionSpec, entriesMax: number): void {
  const known = store.meta.get(recordKey(spec.name))
  const record = isRecord(known) ? known : { number: takeNumber(store), indexes: [] }
  let changed = known === undefined
  for (const wanted of spec.indexes) {
    const at = record.indexes.findIndex((index) => index.name === wanted.name)
    const existing = record.indexes[at]
    if (existing !== undefined && sameIndex(existing, wanted)) continue
    if (existing !== undefined) {
      clearIndex(store, existing)
      record.indexes.splice(at, 1)
    }
    record.indexes.push(buildIndex(store, spec.name, record.number, wanted, entriesMax))
    changed = true
  }
  if (changed) writeCollection(store, spec.name, record)
}

function sameIndex(a: IndexSpec, b: IndexSpec): boolean {
  return (a.unique ?? false) === (b.unique ?? false) && a.paths.length === b.paths.length && a.paths.every((path, i) => path === b.paths[i])
}

function takeNumber(store: LmdbStore): number {
  const next = store.meta.get(NEXT_NUMBER_KEY) ?? 1
  if (typeof next !== 'number' || !Number.isInteger(next) || next < 1 || next > NUMBER_MAX) {
    throw corrupt(`the documents store in ${store.directory} has lost count of its collections and indexes`)
  }
  store.meta.putSync(NEXT_NUMBER_KEY, next + 1)
  return next
}

function clearIndex(store: LmdbStore, index: IndexRecord): void {
  const prefix = numbered(index.number, Buffer.alloc(0))
  const keys = [...store.indexes.getKeys({ start: prefix, end: afterPrefix(prefix) }).map((key) => Buffer.from(key))]
  for (const key of keys) store.indexes.removeSync(key)
}

function buildIndex(store: LmdbStore, collection: string, collectionNumber: number, spec: IndexSpec, entriesMax: number): IndexRecord {
  const index: IndexRecord = {
    name: spec.name,
    paths: [...spec.paths],
    unique: spec.unique ?? false,
    number: takeNumber(store),
    plain: true,
  }
  const prefix = numbered(collectionNumber, Buffer.alloc(0))
  for (const { value } of store.documents.getRange({ start: prefix, end: afterPrefix(prefix) })) {
    const document = decodeDocument<Stored>(value)
    if (document === undefined) throw corrupt(`a document of collection ${collection} in ${store.directory} is damaged`)
    const { keys, plain } = indexEntries(index, document, entriesMax)
    index.plain &&= plain
    const taken = index.unique === true ? ownerOfAny(store, index, keys, document._id) : undefined
    if (taken !== undefined) {
      throw new ConflictError(
        `documents ${taken} and ${document._id} of ${collection} have the same ${index.paths.join(', ')}, which must be unique`,
        {
          remedy: 'Change or delete one of the two, then start again.',
        },
      )
    }
    for (const key of keys) store.indexes.putSync(entryKey(index, key, document._id), document._id)
  }
  return index
}

export function entryKey(index: IndexRecord, key: Buffer, id: string): Buffer {
  return numbered(index.number, Buffer.concat([key, idBytes(id)]))
}

/** The id of another document that has one of these keys in the index. */
export function ownerOfAny(store: LmdbStore, index: IndexRecord, keys: readonly Buffer[], id: string): string | undefined {
  for (const key of keys) {
    const start = numbered(index.number, key)
    for (const { value } of store.indexes.getRange({ start, end: afterPrefix(start), limit: 2 })) if (value !== id) return value
  }
  return undefined
}
