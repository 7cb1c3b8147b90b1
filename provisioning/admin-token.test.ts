import assert from 'node:assert/strict'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { StoreError } from '../kernel/errors.ts'
import { openAdminToken } from './admin-token.ts'
import { temporaryFolder } from './testing/station.ts'

let folder: string
before(async () => (folder = await temporaryFolder()))
after(() => rm(folder, { recursive: true, force: true }))

test('made once, 256 bits, readable by its owner, masked in print', async () => {
  const first = await openAdminToken(join(folder, 'data'))
  assert.match(first.reveal(), /^[A-Za-z0-9_-]{43}$/)
  assert.equal((await stat(join(folder, 'data/admin-token'))).mode & 0o777, 0o600)
  assert.equal((await openAdminToken(join(folder, 'data'))).reveal(), first.reveal())
  assert.equal(`${first}`, '[masked]')
})

test('a file without a token is named and kept', async () => {
  const path = join(folder, 'admin-token')
  for (const content of ['', 'short\n', 'two lines of visible characters\nand more of them here\n']) {
    await writeFile(path, content)
    await assert.rejects(openAdminToken(folder), (error: unknown) => error instanceof StoreError && error.code === 'STORE_CORRUPT')
    assert.equal(await readFile(path, 'utf8'), content)
  }
})

test('a token of one’s own is taken as it is', async () => {
  await writeFile(join(folder, 'admin-token'), 'correct-horse-battery-staple\r\n')
  assert.equal((await openAdminToken(folder)).reveal(), 'correct-horse-battery-staple')
})

test('a folder that cannot be written is said so', async () => {
  await writeFile(join(folder, 'file'), '')
  await assert.rejects(
    openAdminToken(join(folder, 'file')),
    (error: unknown) => error instanceof StoreError && error.code === 'STORE_UNUSABLE',
  )
})
