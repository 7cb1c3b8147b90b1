import { InternalError, StoreError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Collection, Filter, FindOptions, Save, Stored, Update, WriteResult } from './documents.ts'
import { unsealable, type Sealer } from './sealer.ts'

/** Documents of which it is remembered that their trouble was told. */
const TOLD_MAX = 10_000
/** Documents that do not open which a search reads past. */
const PAST_MAX = 1_000

export interface SealedCollectionOptions<T extends object> {
  collection: Collection<T>
  name: string
  fields: readonly string[]
  /** Null: new values are not sealed, and sealed ones do not open. */
  sealer: () => Sealer | null
  log: Logger
}

/**
 * A collection some properties of which lie sealed: as bytes, which no JSON value is, so that nothing that people write can pass for sealed.
 * One that does not open harms its document alone: `get` throws StoreError STORE_SEALED, and `find` leaves the document out and tells it.
 */
export class SealedCollection<T extends object> implements Collection<T> {
  readonly #options: SealedCollectionOptions<T>
  readonly #told = new Set<string>()

  constructor(options: SealedCollectionOptions<T>) {
    this.#options = options
  }

  async insert(id: string, document: T): ReturnType<Collection<T>['insert']> {
    const result = await this.#inner.insert(id, this.#seal(id, document))
    return result.status === 'written' ? { status: 'written', document: this.#open(result.document) } : result
  }

  async get(id: string): Promise<(T & Stored) | null> {
    const stored = await this.#inner.get(id)
    return stored === null ? null : this.#open(stored)
  }

  async find(filter: Filter, options: FindOptions = {}): Promise<(T & Stored)[]> {
    this.#refuse(filter)
    this.#refuse(options.sort ?? {})
    const { limit } = options
    for (let past = 0; ;) {
      const found = await this.#inner.find(filter, limit === undefined ? options : { ...options, limit: limit + past })
      const opened = found.flatMap((stored) => this.#opened(stored))
      const closed = found.length - opened.length
      if (limit === undefined || closed <= past || past === PAST_MAX) return opened.slice(0, limit)
      past = Math.min(PAST_MAX, Math.max(closed, 2 * past))
    }
  }

  count(filter: Filter): Promise<number> {
    this.#refuse(filter)
    return this.#inner.count(filter)
  }

  async replace(id: string, version: number, document: T): Promise<WriteResult<T>> {
    return this.#result(await this.#inner.replace(id, version, this.#seal(id, document)))
  }

  saveMany(saves: readonly Save<T>[]): Promise<('written' | 'conflict')[]> {
    return this.#inner.saveMany(saves.map((save) => ({ ...save, document: this.#seal(save.id, save.document) })))
  }

  async update(id: string, update: Update, version?: number): Promise<WriteResult<T>> {
    for (const change of Object.values(update)) this.#refuse(change)
    return this.#result(await this.#inner.update(id, update, version))
  }

  async put(id: string, document: T): Promise<T & Stored> {
    return this.#open(await this.#inner.put(id, this.#seal(id, document)))
  }

  delete(id: string, version?: number): ReturnType<Collection<T>['delete']> {
    return this.#inner.delete(id, version)
  }

  deleteMany(filter: Filter): Promise<number> {
    this.#refuse(filter)
    return this.#inner.deleteMany(filter)
  }

  get #inner(): Collection<T> {
    return this.#options.collection
  }

  #seal(id: string, document: T): T {
    const { name: collection, fields, sealer } = this.#options
    const by = sealer()
    if (by === null) return document
    const sealed = { ...document } as Record<string, unknown>
    for (const field of fields) if (sealed[field] !== undefined) sealed[field] = by.seal(sealed[field], { collection, id, field })
    return sealed as T
  }

  #open(stored: T & Stored): T & Stored {
    const { name: collection, fields, sealer } = this.#options
    const opened = { ...stored } as Record<string, unknown>
    for (const field of fields) {
      const value = opened[field]
      if (!(value instanceof Uint8Array)) continue
      const place = { collection, id: stored._id, field }
      const by = sealer()
      if (by === null) throw unsealable(place)
      opened[field] = by.open(value, place)
    }
    return opened as T & Stored
  }

  #opened(stored: T & Stored): (T & Stored)[] {
    try {
      return [this.#open(stored)]
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      this.#tell(stored._id, error)
      return []
    }
  }

  #result(result: WriteResult<T>): WriteResult<T> {
    return result.status === 'written' ? { status: 'written', document: this.#open(result.document) } : result
  }

  /** Once a document: searches come again every second. */
  #tell(id: string, { code, message, remedy }: StoreError): void {
    if (this.#told.has(id) || this.#told.size >= TOLD_MAX) return
    this.#told.add(id)
    this.#options.log.error({ code, error: message, remedy }, 'a document that does not open is left out')
  }

  /** The engine sees only bytes there, and would quietly find nothing. */
  #refuse(part: unknown): void {
    if (Array.isArray(part)) return part.forEach((each) => this.#refuse(each))
    if (typeof part !== 'object' || part === null) return
    for (const [path, value] of Object.entries(part)) {
      if (path === '$or' || path === '$and' || path === '$nor') this.#refuse(value)
      const [field = ''] = path.split('.')
      if (this.#options.fields.includes(field))
        throw new InternalError(`${field} of ${this.#options.name} lies sealed: it can only be read and replaced`)
    }
  }
}
