import { setImmediate } from 'node:timers/promises'
import type { Transaction } from 'lmdb'
import type { Counter } from 'prom-client'
import type { DocumentsConfig } from './config.ts'
import type { Filter, FindOptions, Stored } from './documents.ts'
import { compileFilter } from './filter.ts'
import { afterPrefix } from './index-key.ts'
import { numbered, readCollection } from './lmdb-catalogue.ts'
import { beyond, keyRanges, scanRange, type Scan } from './lmdb-scan.ts'
import type { LmdbStore } from './lmdb-store.ts'
import { planFind, type KeyRange } from './planner.ts'
import { comparatorOf, FirstDocuments } from './sort.ts'

export interface FinderOptions {
  store: LmdbStore
  config: DocumentsConfig
  /** Documents read while searching, by collection. */
  examined: Counter<'collection'>
}

/** Searches: one unchanging state of the store per search, in slices that let other work of the thread go between them. */
export class LmdbFinder {
  readonly #store: LmdbStore
  readonly #config: DocumentsConfig
  readonly #examined: Counter<'collection'>

  constructor(options: FinderOptions) {
    this.#store = options.store
    this.#config = options.config
    this.#examined = options.examined
  }

  async find<T extends object>(collection: string, filter: Filter, options: FindOptions): Promise<(T & Stored)[]> {
    const matches = compileFilter(filter)
    const { skip = 0, limit = Infinity } = options
    const wanted = skip + limit
    const sort = Object.keys(options.sort ?? {}).length > 0 ? options.sort : undefined
    const compare = comparatorOf(sort ?? {})
    if (limit <= 0) return []
    return this.#store.read(async (transaction) => {
      const scan = this.#scan(collection, filter, options, transaction)
      const found: (T & Stored)[] = []
      if (sort === undefined || scan.plan.sorted) {
        await this.#visit(scan, (document) => {
          if (matches(document)) found.push(document as T & Stored)
          return found.length < wanted
        })
        return found.slice(skip)
      }
      const first = new FirstDocuments<T & Stored>(wanted, compare)
      await this.#visit(scan, (document) => {
        if (matches(document)) first.add(document as T & Stored)
        return true
      })
      return first.sorted().slice(skip)
    })
  }

  async count(collection: string, filter: Filter): Promise<number> {
    const matches = compileFilter(filter)
    return this.#store.read(async (transaction) => {
      const scan = this.#scan(collection, filter, {}, transaction)
      if (Object.keys(filter).length === 0) return this.#countAll(scan.record.number, transaction)
      let count = 0
      await this.#visit(scan, (document) => {
        if (matches(document)) count++
        return true
      })
      return count
    })
  }

  /** Up to `limit` matching documents, within the write transaction that is open now. */
  matchingNow(collection: string, filter: Filter, limit: number): Stored[] {
    const matches = compileFilter(filter)
    const record = readCollection(this.#store, collection)
    const scan: Scan = { store: this.#store, collection, record, plan: planFind(filter, {}, record.indexes) }
    const found = new Map<string, Stored>()
    for (const range of keyRanges(scan)) {
      for (const { document } of scanRange(scan, range, Infinity)) {
        if (matches(document)) found.set(document._id, document)
        if (found.size >= limit) return [...found.values()]
      }
    }
    return [...found.values()]
  }

  #scan(collection: string, filter: Filter, options: FindOptions, transaction: Transaction): Scan {
    const record = readCollection(this.#store, collection, transaction)
    return { store: this.#store, collection, record, plan: planFind(filter, options, record.indexes), transaction }
  }

  #countAll(collectionNumber: number, transaction: Transaction): number {
    const start = numbered(collectionNumber, Buffer.alloc(0))
    return this.#store.documents.getKeysCount({ start, end: afterPrefix(start), transaction })
  }

  /** Shows each document that the plan leads to once, until `visit` answers false. */
  async #visit(scan: Scan, visit: (document: Stored) => boolean): Promise<void> {
    const sliceMax = this.#config.scanSliceDocuments
    // Only an index of arrays leads to a document more than once.
    const seen = scan.plan.index?.plain === false ? new Set<string>() : undefined
    let examined = 0
    let sinceBreak = 0
    const show = (document: Stored): boolean => {
      if (seen?.has(document._id) === true) return true
      seen?.add(document._id)
      return visit(document)
    }
    try {
      for (const range of keyRanges(scan)) {
        let rest: KeyRange | undefined = range
        while (rest !== undefined) {
          let last: Buffer | undefined
          let taken = 0
          for (const { key, document } of scanRange(scan, rest, sliceMax - sinceBreak)) {
            last = key
            taken++
            examined++
            if (!show(document)) return
          }
          sinceBreak += taken
          rest = last === undefined || sinceBreak < sliceMax ? undefined : beyond(scan.plan, rest, last)
          if (sinceBreak < sliceMax) continue
          sinceBreak = 0
          await setImmediate()
        }
      }
    } finally {
      this.#examined.inc({ collection: scan.collection }, examined)
    }
  }
}
