import type { Service } from '../../kernel/service.ts'

/**
 * Bytes of UTF-8 in a document's id, at least 1. A port-wide bound, because LMDB bounds its keys; who has longer names (topics, file
 * names) takes a hash of them as the id.
 */
export const ID_BYTES_MAX = 512

/** Paths in one index; with ID_BYTES_MAX it keeps an index entry within LMDB's largest key. */
export const INDEX_PATHS_MAX = 5

/** Every stored document: its id, and a version that grows by one with each change. */
export interface Stored {
  _id: string
  version: number
}

/**
 * MongoDB's own query language; evaluated by mingo on LMDB, by the server on MongoDB: comparison, logical, `$exists`, `$type`, `$regex`,
 * `$mod`, `$all`, `$elemMatch`, `$size`. Nothing that runs code or expressions (`$where`, `$expr`, `$function`), and no `undefined`,
 * which one engine would take for "any" and another for null: both are refused with InvalidInputError.
 */
export type Filter = Readonly<Record<string, unknown>>
/**
 * MongoDB update operators: `$set` `$unset` `$inc` `$mul` `$min` `$max` `$rename` `$push` `$addToSet` `$pull` `$pullAll` `$pop`. No pipeline
 * updates. `_id` and `version` are the engine's. An update that does not fit the document (a number added to text) throws InvalidInputError
 * and changes nothing.
 */
export type Update = Readonly<Record<string, unknown>>

export interface CollectionSpec {
  name: string
  /** Secondary indexes. Declaring adds or rebuilds; an index that is no longer declared stays. */
  indexes: readonly IndexSpec[]
  /** Properties of the document itself that lie sealed where the store has keys (SealedDocuments): none may be searched, sorted by or updated. */
  sealed?: readonly string[]
}

/** A secondary index. No partial indexes; like MongoDB's, a unique one counts a missing value as null. */
export interface IndexSpec {
  name: string
  /** Dotted paths in order, at most INDEX_PATHS_MAX, none with a numeric part; at most one of them may lead through or to arrays. */
  paths: readonly string[]
  unique?: boolean
}

export interface FindOptions {
  /** As MongoDB orders values; missing counts as null. Equal ones come in an order of the engine's own: end with `_id` for a total one. */
  sort?: Readonly<Record<string, 1 | -1>>
  limit?: number
  skip?: number
}

export type WriteResult<T> = { status: 'written'; document: T & Stored } | { status: 'conflict' } | { status: 'missing' }

/** One of many saved at once: `version` is the one it takes the place of, 0 where there must be none. */
export interface Save<T> {
  id: string
  version: number
  document: T
}

/**
 * A typed collection. Documents are JSON (dates are epoch ms), so that every engine gives back exactly what it was given; a property that is
 * `undefined` is left out, anything else that JSON cannot say is refused with InvalidInputError. One exception: a property of the document
 * itself may be a Uint8Array, which is stored as it is and can be neither searched nor sorted by.
 * Expected outcomes are answers; only bad arguments and the engine's own trouble (StoreError) throw.
 */
export interface Collection<T extends object> {
  /** `conflict` when the id or a unique key exists. The new document has version 1. */
  insert(id: string, document: T): Promise<{ status: 'written'; document: T & Stored } | { status: 'conflict' }>
  get(id: string): Promise<(T & Stored) | null>
  find(filter: Filter, options?: FindOptions): Promise<(T & Stored)[]>
  count(filter: Filter): Promise<number>
  /** Replaces when the stored version equals `version` (compare-and-set). */
  replace(id: string, version: number, document: T): Promise<WriteResult<T>>
  /**
   * Replaces or inserts many, each by compare-and-set and each by itself: one that conflicts stops no other. Answers in their order. They share
   * a commit and are not read back, which makes a document far cheaper than `replace` does; the caller bounds how many.
   */
  saveMany(saves: readonly Save<T>[]): Promise<('written' | 'conflict')[]>
  /** Applies update operators; with `version`, only when the stored one equals it. */
  update(id: string, update: Update, version?: number): Promise<WriteResult<T>>
  /** Inserts or replaces, whatever the version. Throws ConflictError when a unique key belongs to another document. */
  put(id: string, document: T): Promise<T & Stored>
  delete(id: string, version?: number): Promise<{ status: 'deleted' } | { status: 'conflict' } | { status: 'missing' }>
  /** Deletes what matches; not one step: others may see some of it done. */
  deleteMany(filter: Filter): Promise<number>
}

/** Typed documents with unique indexes and compare-and-set. Engines: LMDB with mingo (one machine), MongoDB. Writes resolve when durable. */
export interface Documents extends Service {
  /** Declares a collection (creating its indexes) and opens it. Idempotent. */
  collection<T extends object>(spec: CollectionSpec): Promise<Collection<T>>
}
