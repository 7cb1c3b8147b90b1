import { ConflictError } from '../../kernel/errors.ts'
import type { DocumentsConfig } from './config.ts'
import type { Collection, Filter, FindOptions, Save, Stored, Update, WriteResult } from './documents.ts'
import { storedOf } from './document-codec.ts'
import { compileFilter } from './filter.ts'
import { idBytes } from './index-entries.ts'
import { numbered, readCollection, type CollectionRecord } from './lmdb-catalogue.ts'
import type { LmdbFinder } from './lmdb-finder.ts'
import type { LmdbStore } from './lmdb-store.ts'
import { readDocument, type LmdbWriter } from './lmdb-writer.ts'
import { applyUpdate } from './update.ts'

/** What a collection works with while its store is open. */
export interface OpenedStore {
  store: LmdbStore
  writer: LmdbWriter
  finder: LmdbFinder
}

/** A collection in LMDB. Every write checks and acts within one write transaction. */
export class LmdbCollection<T extends object> implements Collection<T> {
  readonly #name: string
  readonly #config: DocumentsConfig
  readonly #opened: () => OpenedStore

  constructor(name: string, config: DocumentsConfig, opened: () => OpenedStore) {
    this.#name = name
    this.#config = config
    this.#opened = opened
  }

  async insert(id: string, document: T): Promise<{ status: 'written'; document: T & Stored } | { status: 'conflict' }> {
    return this.#write(id, (writer, record, current) => {
      if (current !== undefined) return { status: 'conflict' }
      return this.#stored(writer, record, undefined, { ...document, _id: id, version: 1 })
    })
  }

  async get(id: string): Promise<(T & Stored) | null> {
    const key = idBytes(id)
    const { store } = this.#opened()
    return store.read((transaction) => {
      const { number } = readCollection(store, this.#name, transaction)
      const bytes = store.documents.get(numbered(number, key), { transaction })
      return bytes === undefined ? null : readDocument<T>(store, this.#name, id, bytes)
    })
  }

  async find(filter: Filter, options: FindOptions = {}): Promise<(T & Stored)[]> {
    return this.#opened().finder.find<T>(this.#name, filter, options)
  }

  async count(filter: Filter): Promise<number> {
    return this.#opened().finder.count(this.#name, filter)
  }

  async replace(id: string, version: number, document: T): Promise<WriteResult<T>> {
    return this.#write(id, (writer, record, current) => {
      if (current === undefined) return { status: 'missing' }
      if (current.version !== version) return { status: 'conflict' }
      return this.#stored(writer, record, current, { ...document, _id: id, version: version + 1 })
    })
  }

  async saveMany(saves: readonly Save<T>[]): Promise<('written' | 'conflict')[]> {
    for (const { id } of saves) idBytes(id)
    const { store, writer } = this.#opened()
    return store.write(() => {
      const record = writer.record(this.#name)
      return saves.map(({ id, version, document }) => {
        const current = writer.glance<T>(this.#name, record, id)
        if ((current?.version ?? 0) !== version) return 'conflict'
        const next = { ...document, _id: id, version: version + 1 }
        return writer.write(this.#name, record, current, next) === undefined ? 'conflict' : 'written'
      })
    })
  }

  async update(id: string, update: Update, version?: number): Promise<WriteResult<T>> {
    return this.#write(id, (writer, record, current) => {
      if (current === undefined) return { status: 'missing' }
      if (version !== undefined && current.version !== version) return { status: 'conflict' }
      const next = structuredClone(current)
      applyUpdate(next, update)
      next.version = current.version + 1
      return this.#stored(writer, record, current, next)
    })
  }

  async put(id: string, document: T): Promise<T & Stored> {
    const result = await this.#write(id, (writer, record, current) =>
      this.#stored(writer, record, current, { ...document, _id: id, version: (current?.version ?? 0) + 1 }),
    )
    if (result.status === 'written') return result.document
    throw new ConflictError(`document ${id} cannot be put into ${this.#name}: another one has its unique key`)
  }

  async delete(id: string, version?: number): Promise<{ status: 'deleted' } | { status: 'conflict' } | { status: 'missing' }> {
    return this.#write(
      id,
      (writer, record, current) => {
        if (current === undefined) return { status: 'missing' }
        if (version !== undefined && current.version !== version) return { status: 'conflict' }
        writer.remove(record, current)
        return { status: 'deleted' }
      },
      true,
    )
  }

  async deleteMany(filter: Filter): Promise<number> {
    compileFilter(filter)
    const { store, writer, finder } = this.#opened()
    const sliceMax = this.#config.deleteSliceDocuments
    let deleted = 0
    for (;;) {
      const slice = await store.write(() => {
        const record = writer.record(this.#name)
        const documents = finder.matchingNow(this.#name, filter, sliceMax)
        for (const document of documents) writer.remove(record, document)
        return documents.length
      }, true)
      deleted += slice
      if (slice < sliceMax) return deleted
    }
  }

  #write<R>(
    id: string,
    step: (writer: LmdbWriter, record: CollectionRecord, current: (T & Stored) | undefined) => R,
    frees = false,
  ): Promise<R> {
    idBytes(id)
    const { store, writer } = this.#opened()
    return store.write(() => {
      const record = writer.record(this.#name)
      return step(writer, record, writer.read<T>(this.#name, record, id))
    }, frees)
  }

  #stored(
    writer: LmdbWriter,
    record: CollectionRecord,
    current: Stored | undefined,
    next: T & Stored,
  ): { status: 'written'; document: T & Stored } | { status: 'conflict' } {
    const encoded = writer.write(this.#name, record, current, next)
    return encoded === undefined ? { status: 'conflict' } : { status: 'written', document: storedOf<T>(encoded) }
  }
}
