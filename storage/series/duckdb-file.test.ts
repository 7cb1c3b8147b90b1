import assert from 'node:assert/strict'
import { DuckDBInstance } from '@duckdb/node-api'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { EnvironmentError, StoreError } from '../../kernel/errors.ts'
import { StoreChild } from './testing/child.ts'
import { offsetsAfter, ReadingSource } from './testing/contract-engine.ts'
import { makeStore, openStore } from './testing/store.ts'

async function folder(t: TestContext): Promise<{ directory: string; path: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-series-'))
  t.after(() => rm(directory, { recursive: true }))
  return { directory, path: join(directory, 'series.duckdb') }
}

/** A file with a few hundred thousand bytes of readings in it. */
async function filledFolder(t: TestContext): Promise<{ directory: string; path: string }> {
  const place = await folder(t)
  const store = await openStore(place.directory)
  const readings = new ReadingSource().many(30_000, (index) => ({ values: { noise: Math.sin(index) * 1e9 } }))
  await store.write(readings, offsetsAfter(readings))
  await store.stop()
  return place
}

/** Opening is refused with this code and a remedy, and the file stays as it is. */
async function assertRefused(place: { directory: string; path: string }, code: string): Promise<void> {
  const before = await readFile(place.path)
  await assert.rejects(openStore(place.directory), (error: unknown) => {
    assert.ok(error instanceof StoreError || error instanceof EnvironmentError, String(error))
    assert.equal(error.code, code, `${error.message} (${String(error.cause)})`)
    assert.ok(error.remedy !== undefined && error.message.includes(place.directory))
    return true
  })
  assert.ok(before.equals(await readFile(place.path)), 'the file was changed')
}

describe('the file', () => {
  test('is made in a folder of its own with mode 0700; start and stop may be called twice', async (t) => {
    const { directory } = await folder(t)
    const nested = join(directory, 'a', 'b')
    const store = makeStore(nested)
    await store.start()
    await store.start()
    assert.equal((await stat(nested)).mode & 0o777, 0o700)
    await store.stop()
    await store.stop()
    await assert.rejects(store.count('default'), { code: 'STORE_STOPPED' })
    await assert.rejects(store.write([], new Map([[0, 1]])), { code: 'STORE_STOPPED' })
    await store.start()
    assert.equal(await store.count('default'), 0)
    await store.stop()
  })

  test('is made anew over the remains of a start that was killed', async (t) => {
    const { directory, path } = await folder(t)
    await writeFile(`${path}.new`, 'half a file')
    await writeFile(`${path}.new.wal`, 'half a log')
    const store = await openStore(directory)
    assert.equal(await store.count('default'), 0)
    await store.stop()
  })

  test('of a newer format is refused', async (t) => {
    const place = await folder(t)
    await (await openStore(place.directory)).stop()
    const instance = await DuckDBInstance.create(place.path)
    const connection = await instance.connect()
    await connection.run('UPDATE series_format SET version = 99')
    connection.closeSync()
    instance.closeSync()
    await assertRefused(place, 'STORE_NEWER')
  })

  test('of someone else is refused', async (t) => {
    const place = await folder(t)
    const instance = await DuckDBInstance.create(place.path)
    const connection = await instance.connect()
    await connection.run('CREATE TABLE ducks (name VARCHAR)')
    connection.closeSync()
    instance.closeSync()
    await assertRefused(place, 'STORE_UNUSABLE')
  })

  test('that is no database is refused', async (t) => {
    for (const content of ['', 'not a database', 'x'.repeat(100_000)]) {
      const place = await folder(t)
      await writeFile(place.path, content)
      await assertRefused(place, 'STORE_CORRUPT')
    }
  })

  test('that is cut short is refused', async (t) => {
    const whole = await filledFolder(t)
    const content = await readFile(whole.path)
    for (const bytes of [1, 5_000, 20_000, content.length >> 1]) {
      const place = await folder(t)
      await writeFile(place.path, content.subarray(0, bytes))
      await assertRefused(place, 'STORE_CORRUPT')
    }
  })

  test('with flipped bits is refused, or read until they are met', async (t) => {
    const place = await filledFolder(t)
    const content = await readFile(place.path)
    for (let at = 12_288 + 300; at < content.length; at += 997) content[at] = (content[at] as number) ^ 0xff
    await writeFile(place.path, content)
    await assertRefused(place, 'STORE_CORRUPT')
  })

  test('in use by this process is refused to another store, and free after a stop', async (t) => {
    const { directory } = await folder(t)
    const store = await openStore(directory)
    await assert.rejects(openStore(directory), { code: 'STORE_LOCKED', message: /process \d+/ })
    assert.equal(await store.count('default'), 0)
    await store.stop()
    await (await openStore(directory)).stop()
  })

  test('in use by another process is refused by a plain sentence', async (t) => {
    const { directory } = await folder(t)
    const child = new StoreChild({ directory, config: {} })
    t.after(() => child.kill())
    assert.deepEqual(await child.ask({ order: 'open' }), { stored: 0 })
    await assert.rejects(openStore(directory), { code: 'STORE_LOCKED', message: new RegExp(`in use by process ${child.process.pid}`) })
    await child.ask({ order: 'stop' })
    await (await openStore(directory)).stop()
  })

  test('in a place that is no folder is refused', async (t) => {
    const { path } = await folder(t)
    await writeFile(path, 'a file, not a folder')
    await assert.rejects(openStore(join(path, 'below')), { code: 'STORE_UNWRITABLE' })
  })
})
