import assert from 'node:assert/strict'
import { mkdir, open as openFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { open } from 'lmdb'
import { documentsIn, temporaryFolder } from './testing/lmdb-fixture.ts'

/** Where LMDB's meta page says how large pages are (struct MDB_meta in mdb.c). */
const PAGE_BYTES_AT = 48

test('a new store has large pages, and one with smaller pages keeps them and works on', async (t) => {
  const folder = await temporaryFolder(t)
  const fresh = join(folder, 'fresh')
  await writeAndRead(fresh)
  assert.equal(await pageBytes(fresh), 16_384)

  const older = join(folder, 'older')
  await mkdir(older)
  const root = open({ path: older, noSubdir: false, maxDbs: 4, pageSize: 4_096 })
  await root.openDB('meta', { encoding: 'json' }).put('format', { version: 2 })
  await root.close()
  await writeAndRead(older)
  assert.equal(await pageBytes(older), 4_096)
})

async function writeAndRead(directory: string): Promise<void> {
  const documents = documentsIn(directory)
  await documents.start()
  const things = await documents.collection<{ data: Uint8Array }>({ name: 'things', indexes: [] })
  for (const sizeBytes of [100, 9_000, 17_000, 40_000]) {
    const { data } = await things.put('a', { data: new Uint8Array(sizeBytes).fill(7) })
    assert.equal(data.length, sizeBytes)
  }
  await documents.stop()
  await documents.start()
  assert.equal((await things.get('a'))?.data.length, 40_000)
  await documents.stop()
}

async function pageBytes(directory: string): Promise<number> {
  const file = await openFile(join(directory, 'data.mdb'))
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, PAGE_BYTES_AT)
    return buffer.readUInt32LE()
  } finally {
    await file.close()
  }
}
