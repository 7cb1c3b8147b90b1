import type { RangeOptions, Transaction } from 'lmdb'
import { decodeDocument } from './document-codec.ts'
import type { Stored } from './documents.ts'
import { afterPrefix } from './index-key.ts'
import { idBytes } from './index-entries.ts'
import { numbered, type CollectionRecord, type IndexRecord } from './lmdb-catalogue.ts'
import { corrupt } from './lmdb-errors.ts'
import type { LmdbStore } from './lmdb-store.ts'
import { readDocument } from './lmdb-writer.ts'
import type { KeyRange, Plan } from './planner.ts'

/** Where to look, with whole keys. */
export interface Scan {
  store: LmdbStore
  collection: string
  record: CollectionRecord
  plan: Plan<IndexRecord>
  /** Without it: the state of the open write transaction. */
  transaction?: Transaction
}

export interface Scanned {
  key: Buffer
  document: Stored
}

/** The plan's ranges as keys of its database, in the order in which they are read; empty ones left out. */
export function keyRanges({ plan, record }: Scan): Required<KeyRange>[] {
  const number = plan.index?.number ?? record.number
  const end = afterPrefix(numbered(number, Buffer.alloc(0)))
  const ranges = plan.ranges.map(({ from, to }) => ({ from: numbered(number, from), to: to === undefined ? end : numbered(number, to) }))
  const some = ranges.filter(({ from, to }) => Buffer.compare(from, to) < 0)
  return plan.reverse ? some.reverse() : some
}

/** Up to `limit` documents of one range, read while it is iterated; not to be held over an await. */
export function* scanRange(scan: Scan, range: KeyRange, limit: number): Generator<Scanned> {
  const { store, collection, record, plan } = scan
  const options = rangeOptions(scan, range, limit)
  if (plan.index === undefined) {
    for (const { key, value } of store.documents.getRange(options)) yield { key, document: atKey(scan, key, value) }
    return
  }
  const at = scan.transaction === undefined ? {} : { transaction: scan.transaction }
  for (const { key, value: id } of store.indexes.getRange(options)) {
    const bytes = store.documents.get(numbered(record.number, idBytes(id)), at)
    if (bytes === undefined)
      throw corrupt(`index ${plan.index.name} of collection ${collection} in ${store.directory} leads to a missing document`)
    yield { key, document: readDocument(store, collection, id, bytes) }
  }
}

/** What is left of a range after this key. */
export function beyond(plan: Plan<IndexRecord>, range: KeyRange, key: Buffer): KeyRange {
  return plan.reverse ? { from: range.from, to: Buffer.from(key) } : { from: Buffer.concat([key, Buffer.from([0])]), to: range.to }
}

function rangeOptions({ plan, transaction }: Scan, { from, to }: KeyRange, limit: number): RangeOptions {
  const bounds: RangeOptions = plan.reverse
    ? { reverse: true, start: to as Buffer, exclusiveStart: true, end: from, inclusiveEnd: true }
    : { start: from, end: to as Buffer }
  return { ...bounds, limit, ...(transaction === undefined ? {} : { transaction }) }
}

function atKey({ store, collection, record }: Scan, key: Buffer, bytes: Buffer): Stored {
  const document = decodeDocument<Stored>(bytes)
  if (document === undefined || typeof document._id !== 'string' || !numbered(record.number, idBytes(document._id)).equals(key)) {
    throw corrupt(`a document of collection ${collection} in ${store.directory} is damaged`)
  }
  return document
}
