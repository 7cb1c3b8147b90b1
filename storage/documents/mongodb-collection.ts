import type { Collection as ServerCollection } from 'mongodb'
import { ConflictError } from '../../kernel/errors.ts'
import type { Collection, Filter, FindOptions, Save, Stored, Update, WriteResult } from './documents.ts'
import { idBytes } from './index-entries.ts'
import { escapeText, restoreDocument, type ServerDocument } from './mongodb-codec.ts'
import type { MongodbConnection } from './mongodb-connection.ts'
import { serverFilter, serverSort } from './mongodb-filter.ts'
import type { DeleteResult } from './mongodb-pending-delete.ts'
import type { SaveRule } from './mongodb-pending-save.ts'
import type { MongodbWriter } from './mongodb-writer.ts'
import { applyUpdate } from './update.ts'

/** What a collection works with while its store is open. */
export interface OpenedCollection {
  collection: ServerCollection<ServerDocument>
  connection: MongodbConnection
  writer: MongodbWriter
}

const CONFLICT = { status: 'conflict' } as const
const MISSING = { status: 'missing' } as const

/** A collection in MongoDB: searches are the server's, decisions about one document are made here and stored by compare-and-set. */
export class MongodbCollection<T extends object> implements Collection<T> {
  readonly #name: string
  readonly #deleteSliceDocuments: number
  readonly #opened: () => OpenedCollection

  constructor(name: string, deleteSliceDocuments: number, opened: () => OpenedCollection) {
    this.#name = name
    this.#deleteSliceDocuments = deleteSliceDocuments
    this.#opened = opened
  }

  async insert(id: string, document: T): Promise<{ status: 'written'; document: T & Stored } | { status: 'conflict' }> {
    return this.#save<{ status: 'written'; document: T & Stored } | { status: 'conflict' }>(id, {
      needs: 'nothing',
      decide: (current) => (current === undefined ? { store: { ...document, _id: id, version: 1 } } : { answer: CONFLICT }),
      written,
      taken: () => CONFLICT,
    })
  }

  async get(id: string): Promise<(T & Stored) | null> {
    idBytes(id)
    const { connection, collection } = this.#opened()
    const found = await connection.request('get', () => collection.findOne({ _id: escapeText(id) }))
    return found === null ? null : restoreDocument<T>(found)
  }

  async find(filter: Filter, options: FindOptions = {}): Promise<(T & Stored)[]> {
    const asked = serverFilter(filter)
    const { skip = 0, limit = Infinity, sort = {} } = options
    const order = serverSort(sort)
    if (limit <= 0) return []
    const { connection, collection } = this.#opened()
    const found = await connection.request('find', () => {
      const cursor = collection.find(asked, { allowDiskUse: true })
      if (order.length > 0) cursor.sort(order)
      if (skip > 0) cursor.skip(skip)
      if (Number.isFinite(limit)) cursor.limit(limit)
      return cursor.toArray()
    })
    return found.map((document) => restoreDocument<T>(document))
  }

  async count(filter: Filter): Promise<number> {
    const asked = serverFilter(filter)
    const { connection, collection } = this.#opened()
    return connection.request('count', () => collection.countDocuments(asked))
  }

  async replace(id: string, version: number, document: T): Promise<WriteResult<T>> {
    return this.#save<WriteResult<T>>(id, {
      needs: 'version',
      decide: (current) => {
        if (current === undefined) return { answer: MISSING }
        if (current.version !== version) return { answer: CONFLICT }
        return { store: { ...document, _id: id, version: version + 1 } }
      },
      written,
      taken: () => CONFLICT,
    })
  }

  async saveMany(saves: readonly Save<T>[]): Promise<('written' | 'conflict')[]> {
    // The writer gathers them into batches.
    const results = await Promise.all(
      saves.map(({ id, version, document }) => (version === 0 ? this.insert(id, document) : this.replace(id, version, document))),
    )
    return results.map(({ status }) => (status === 'written' ? 'written' : 'conflict'))
  }

  async update(id: string, update: Update, version?: number): Promise<WriteResult<T>> {
    return this.#save<WriteResult<T>>(id, {
      needs: 'document',
      decide: (current) => {
        if (current === undefined) return { answer: MISSING }
        if (version !== undefined && current.version !== version) return { answer: CONFLICT }
        applyUpdate(current, update)
        current.version++
        return { store: current }
      },
      written,
      taken: () => CONFLICT,
    })
  }

  async put(id: string, document: T): Promise<T & Stored> {
    return this.#save<T & Stored>(id, {
      needs: 'version',
      decide: (current) => ({ store: { ...document, _id: id, version: (current?.version ?? 0) + 1 } }),
      written: (stored) => stored as T & Stored,
      taken: () => {
        throw new ConflictError(`document ${id} cannot be put into ${this.#name}: another one has its unique key`)
      },
    })
  }

  async delete(id: string, version?: number): Promise<DeleteResult> {
    idBytes(id)
    return this.#opened().writer.delete(id, version)
  }

  async deleteMany(filter: Filter): Promise<number> {
    const asked = serverFilter(filter)
    const { connection, collection } = this.#opened()
    const limit = this.#deleteSliceDocuments
    let deleted = 0
    for (;;) {
      const slice = await connection.request('find', () => collection.find(asked, { projection: { _id: 1 }, limit }).toArray())
      const ids = slice.map((document) => document._id)
      if (ids.length > 0) {
        const among = { $and: [{ _id: { $in: ids } }, asked] }
        deleted += (await connection.request('delete', () => collection.deleteMany(among))).deletedCount
      }
      if (ids.length < limit) return deleted
    }
  }

  async #save<R>(id: string, rule: SaveRule<R>): Promise<R> {
    idBytes(id)
    return this.#opened().writer.save(id, rule)
  }
}

function written<T extends object>(stored: Stored): { status: 'written'; document: T & Stored } {
  return { status: 'written', document: stored as T & Stored }
}
