import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import type { TestContext } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { SealedDocuments } from '../../storage/documents/sealed-documents.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'

/** The same documents sealed, and as they lie in the engine. */
export async function sealedEngines(
  t: TestContext,
): Promise<{ documents: Documents; lying: (name: string) => Promise<Collection<Record<string, unknown>>> }> {
  const engine = await lmdbDocuments(t)
  const keys = (): Promise<ReturnType<typeof createSecretKey>[]> => Promise.resolve([createSecretKey(Buffer.alloc(32, 1))])
  const documents = new SealedDocuments({ documents: engine, keys, record: 'seal-keys', log: silentLogger })
  await documents.start()
  return { documents, lying: (name) => engine.collection({ name, indexes: [] }) }
}

/** Alters what lies sealed, so that it does not open. */
export async function damage(collection: Collection<Record<string, unknown>>, id: string, field: string): Promise<void> {
  const stored = await collection.get(id)
  assert.ok(stored !== null && stored[field] instanceof Uint8Array, `${field} of ${id} lies sealed`)
  const { _id, version, ...rest } = stored
  const bytes = Uint8Array.from(rest[field] as Uint8Array)
  bytes[30] = (bytes[30] ?? 0) ^ 1
  assert.equal((await collection.replace(_id, version, { ...rest, [field]: bytes })).status, 'written')
}
