import type { Service } from '../../kernel/service.ts'

/** Every stored document: its id, and a version that grows by one with each change. */
export interface Stored {
  _id: string
  version: number
}

/** MongoDB's own query language; evaluated by mingo on LMDB, by the server on MongoDB. */
export type Filter = Readonly<Record<string, unknown>>
/** MongoDB update operators (`$set`, `$inc`, `$push` …). No pipeline updates. */
export type Update = Readonly<Record<string, unknown>>

export interface CollectionSpec {
  name: string
  /** Secondary indexes; each is a list of dotted paths in order. No partial indexes. */
  indexes: readonly { name: string; paths: readonly string[]; unique?: boolean }[]
}

export interface FindOptions {
  sort?: Readonly<Record<string, 1 | -1>>
  limit?: number
  skip?: number
}

export type WriteResult<T> = { status: 'written'; document: T & Stored } | { status: 'conflict' } | { status: 'missing' }

/** A typed collection. Expected outcomes are answers; only the engine's own trouble throws. */
export interface Collection<T extends object> {
  /** `conflict` when the id or a unique key exists. The new document has version 1. */
  insert(id: string, document: T): Promise<{ status: 'written'; document: T & Stored } | { status: 'conflict' }>
  get(id: string): Promise<(T & Stored) | null>
  find(filter: Filter, options?: FindOptions): Promise<(T & Stored)[]>
  count(filter: Filter): Promise<number>
  /** Replaces when the stored version equals `version` (compare-and-set). */
  replace(id: string, version: number, document: T): Promise<WriteResult<T>>
  /** Applies update operators; with `version`, only when the stored one equals it. */
  update(id: string, update: Update, version?: number): Promise<WriteResult<T>>
  /** Inserts or replaces, whatever the version. */
  put(id: string, document: T): Promise<T & Stored>
  delete(id: string, version?: number): Promise<{ status: 'deleted' } | { status: 'conflict' } | { status: 'missing' }>
  deleteMany(filter: Filter): Promise<number>
}

/** Typed documents with unique indexes and compare-and-set. Engines: LMDB with mingo (one machine), MongoDB. Writes resolve when durable. */
export interface Documents extends Service {
  /** Declares a collection (creating its indexes) and opens it. Idempotent. */
  collection<T extends object>(spec: CollectionSpec): Promise<Collection<T>>
}
