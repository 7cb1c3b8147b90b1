import { MongoServerError, type Collection, type IndexDescriptionInfo } from 'mongodb'
import { ConflictError } from '../../kernel/errors.ts'
import type { CollectionSpec, IndexSpec } from './documents.ts'
import { escapePath } from './mongodb-codec.ts'
import { CODES } from './mongodb-errors.ts'

/** Makes the indexes that are not there, and anew those that were declared otherwise. Indexes declared by others stay. */
export async function declareIndexes(collection: Collection, spec: CollectionSpec, timeoutMs: number): Promise<void> {
  if (spec.indexes.length === 0) return
  const existing = await existingIndexes(collection)
  for (const wanted of spec.indexes) {
    const named = existing.filter((index) => index.name === wanted.name)
    if (named.length === 1 && named.every((index) => isSame(index, wanted))) continue
    if (named.length > 0) await dropIndex(collection, wanted.name)
    await createIndex(collection, wanted, timeoutMs)
  }
}

async function existingIndexes(collection: Collection): Promise<IndexDescriptionInfo[]> {
  try {
    return await collection.indexes()
  } catch (error) {
    if (error instanceof MongoServerError && error.code === CODES.namespaceNotFound) return []
    throw error
  }
}

async function dropIndex(collection: Collection, name: string): Promise<void> {
  try {
    await collection.dropIndex(name)
  } catch (error) {
    // Another process was here first.
    if (!(error instanceof MongoServerError) || error.code !== CODES.indexNotFound) throw error
  }
}

async function createIndex(collection: Collection, wanted: IndexSpec, timeoutMs: number): Promise<void> {
  try {
    await collection.createIndex(keyOf(wanted), {
      name: wanted.name,
      ...(wanted.unique === true ? { unique: true } : {}),
      timeoutMS: timeoutMs,
    })
  } catch (error) {
    if (!(error instanceof MongoServerError)) throw error
    if (error.code === CODES.duplicateKey) {
      const what = `documents of ${collection.collectionName} in database ${collection.dbName} of MongoDB have the same ${wanted.paths.join(', ')}`
      throw new ConflictError(`${what}, which must be unique`, {
        remedy: 'Change or delete all but one of them, then start again.',
        cause: error,
      })
    }
    const sameKey = error.code === CODES.indexOptionsConflict && (await existingIndexes(collection)).some((index) => isSame(index, wanted))
    // MongoDB keeps one index per key: one of another name serves as well.
    if (!sameKey) throw error
  }
}

function keyOf(spec: IndexSpec): Record<string, 1> {
  return Object.fromEntries(spec.paths.map((path) => [escapePath(path), 1]))
}

function isSame(index: IndexDescriptionInfo, wanted: IndexSpec): boolean {
  return (index.unique ?? false) === (wanted.unique ?? false) && JSON.stringify(index.key) === JSON.stringify(keyOf(wanted))
}
