import assert from 'node:assert/strict'
import type { Stored } from '../documents.ts'
import { decodeDocument } from '../document-codec.ts'
import { afterPrefix } from '../index-key.ts'
import { indexEntries } from '../index-entries.ts'
import { entryKey, numbered, readCollection } from '../lmdb-catalogue.ts'
import { LmdbStore } from '../lmdb-store.ts'

/** Opens the store and fails unless every index of the collection holds exactly what its documents call for; answers how many there are. */
export async function assertIndexesAgree(directory: string, collection: string): Promise<number> {
  const store = await LmdbStore.open(directory)
  try {
    return await store.read((transaction) => {
      const record = readCollection(store, collection, transaction)
      const start = numbered(record.number, Buffer.alloc(0))
      const documents = [...store.documents.getRange({ start, end: afterPrefix(start), transaction })].map(({ value }) =>
        decodeDocument<Stored>(value),
      )
      for (const index of record.indexes) {
        const expected = documents.flatMap((document) => {
          assert.ok(document !== undefined)
          return indexEntries(index, document, Infinity).keys.map(
            (key) => `${entryKey(index, key, document._id).toString('hex')} ${document._id}`,
          )
        })
        const from = numbered(index.number, Buffer.alloc(0))
        const entries = [...store.indexes.getRange({ start: from, end: afterPrefix(from), transaction })]
        assert.deepEqual(
          entries.map(({ key, value }) => `${Buffer.from(key).toString('hex')} ${value}`),
          expected.sort(),
          `index ${index.name}`,
        )
      }
      return documents.length
    })
  } finally {
    await store.close()
  }
}
