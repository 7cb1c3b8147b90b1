import assert from 'node:assert/strict'
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import { StoreError } from '../../kernel/errors.ts'
import { idBytes } from './index-entries.ts'
import { numbered, readCollection } from './lmdb-catalogue.ts'
import { LmdbStore } from './lmdb-store.ts'
import { documentsIn, lmdbDocuments, temporaryFolder } from './testing/lmdb-fixture.ts'

/** A stopped store of a few hundred documents. */
async function filledStore(t: TestContext): Promise<string> {
  const directory = join(await temporaryFolder(t), 'store')
  const documents = documentsIn(directory)
  await documents.start()
  const things = await documents.collection<{ n: number; text: string }>({ name: 'things', indexes: [{ name: 'n', paths: ['n'] }] })
  await Promise.all(Array.from({ length: 300 }, (_, n) => things.insert(`id-${n}`, { n, text: 't'.repeat(200) })))
  await documents.stop()
  return directory
}

async function assertRefuses(directory: string, code: string): Promise<void> {
  const before = await readFile(join(directory, 'data.mdb')).catch(() => undefined)
  await assert.rejects(documentsIn(directory).start(), (error: unknown) => {
    assert.ok(error instanceof StoreError)
    assert.equal(error.code, code)
    assert.ok(error.remedy !== undefined && error.message.includes(directory))
    return true
  })
  const after = await readFile(join(directory, 'data.mdb')).catch(() => undefined)
  assert.deepEqual(after, before, 'nothing was overwritten')
}

it('refuses files that are not LMDB’s, or cut off, and changes nothing', async (t) => {
  const directory = await filledStore(t)
  const whole = await readFile(join(directory, 'data.mdb'))
  const damaged = async (bytes: Buffer | string): Promise<string> => {
    const folder = join(await temporaryFolder(t), 'store')
    await mkdir(folder)
    await writeFile(join(folder, 'data.mdb'), bytes)
    return folder
  }
  await assertRefuses(await damaged('hello'), 'STORE_CORRUPT')
  await assertRefuses(await damaged(Buffer.alloc(100_000, 'x')), 'STORE_CORRUPT')
  await assertRefuses(await damaged(whole.subarray(0, 5_000)), 'STORE_CORRUPT')
  await assertRefuses(await damaged(whole.subarray(0, whole.length >> 1)), 'STORE_CORRUPT')
  await assertRefuses(await damaged(Buffer.concat([whole.subarray(0, 8_192), Buffer.alloc(whole.length - 8_192, 0xaa)])), 'STORE_CORRUPT')
  const otherVersion = Buffer.from(whole)
  for (const page of [0, whole.readUInt32LE(48)]) otherVersion.writeUInt32LE(9, page + 28)
  await assertRefuses(await damaged(otherVersion), 'STORE_NEWER')
})

it('takes an empty file for a new store, and a file shorter than its last page after a large value came and went', async (t) => {
  const folder = join(await temporaryFolder(t), 'store')
  await mkdir(folder)
  await writeFile(join(folder, 'data.mdb'), '')
  const documents = documentsIn(folder)
  await documents.start()
  const things = await documents.collection<{ text: string }>({ name: 'things', indexes: [] })
  await things.insert('small', { text: 't' })
  await Promise.all([things.insert('large', { text: 't'.repeat(900_000) }), things.delete('large')])
  await documents.stop()
  await documents.start()
  assert.equal((await things.get('small'))?.text, 't')
  await documents.stop()
})

it('refuses a store of a newer format', async (t) => {
  const directory = await filledStore(t)
  const store = await LmdbStore.open(directory)
  await store.write(() => store.meta.putSync('format', { version: 99 }))
  await store.close()
  await assertRefuses(directory, 'STORE_NEWER')
})

it('says of a damaged document which one it is, and leaves the others readable', async (t) => {
  const directory = await filledStore(t)
  const store = await LmdbStore.open(directory)
  await store.write(() => {
    const key = numbered(readCollection(store, 'things').number, idBytes('id-7'))
    const bytes = store.documents.get(key) as Buffer
    bytes[40] = (bytes[40] as number) ^ 1
    store.documents.putSync(key, bytes)
  })
  await store.close()
  const documents = documentsIn(directory)
  await documents.start()
  t.after(() => documents.stop())
  const things = await documents.collection<{ n: number }>({ name: 'things', indexes: [] })
  const corrupt = (error: unknown): boolean =>
    error instanceof StoreError && error.code === 'STORE_CORRUPT' && error.message.includes('id-7')
  await assert.rejects(things.get('id-7'), corrupt)
  await assert.rejects(things.find({ n: 7 }), corrupt)
  await assert.rejects(things.update('id-7', { $inc: { n: 1 } }), corrupt)
  await assert.rejects(things.find({}), (error: unknown) => error instanceof StoreError && error.code === 'STORE_CORRUPT')
  assert.equal((await things.get('id-8'))?.n, 8)
})

it('says that a folder cannot be used', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'file'), 'x')
  await assertRefuses(join(folder, 'file'), 'STORE_UNUSABLE')
  await assertRefuses(join(folder, 'file', 'below'), 'STORE_UNUSABLE')
  await mkdir(join(folder, 'taken', 'data.mdb'), { recursive: true })
  await assertRefuses(join(folder, 'taken'), 'STORE_UNUSABLE')
})

it('starts and stops more than once, finishes what is under way, and refuses to be used when it is stopped', async (t) => {
  const documents = await lmdbDocuments(t)
  await documents.start()
  const things = await documents.collection<{ n: number }>({ name: 'things', indexes: [] })
  const underWay = things.insert('a', { n: 1 })
  await documents.stop()
  await documents.stop()
  assert.equal((await underWay).status, 'written')
  await assert.rejects(things.get('a'), (error: unknown) => error instanceof StoreError && error.code === 'STORE_UNUSABLE')
  await assert.rejects(documents.collection({ name: 'things', indexes: [] }), StoreError)
  await documents.start()
  assert.equal((await things.get('a'))?.n, 1)
})

it('is a plain copy of its files away from a backup', async (t) => {
  const directory = await filledStore(t)
  const copy = join(await temporaryFolder(t), 'copy')
  await mkdir(copy)
  await copyFile(join(directory, 'data.mdb'), join(copy, 'data.mdb'))
  const documents = documentsIn(copy)
  await documents.start()
  assert.equal(await (await documents.collection({ name: 'things', indexes: [] })).count({}), 300)
  await documents.stop()
})
