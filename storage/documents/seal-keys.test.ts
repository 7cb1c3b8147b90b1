import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import { inspect } from 'node:util'
import { findSealKeys } from './seal-keys.ts'
import { sealKeyId } from './sealer.ts'
import { temporaryFolder } from './testing/lmdb-fixture.ts'

const NOTHING = { sealKeys: '', sealKeysFile: '' }
const [one, two, three] = [1, 2, 3].map((byte) => Buffer.alloc(32, byte)) as [Buffer, Buffer, Buffer]

async function ids(config: typeof NOTHING, ownFile: string | null): Promise<string[]> {
  return (await findSealKeys({ config, ownFile })).map((key) => key.export().toString('hex'))
}

async function fileIn(t: TestContext, content?: string): Promise<string> {
  const path = join(await temporaryFolder(t), 'data', 'seal-keys')
  if (content === undefined) return path
  const file = join(await temporaryFolder(t), 'keys')
  await writeFile(file, content)
  return file
}

it('makes a key on the first start, for its owner alone, and finds it again', async (t) => {
  const path = await fileIn(t)
  const found = await Promise.all(Array.from({ length: 8 }, () => ids(NOTHING, path)))
  assert.equal(new Set(found.flat()).size, 1, 'threads that start at once have the same')
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.deepEqual(await ids(NOTHING, path), found[0])
  assert.equal(Buffer.from(await readFile(path, 'utf8'), 'base64').toString('hex'), found[0]?.[0])
})

it('takes what is configured before the file, and the own file behind, for what was sealed before', async (t) => {
  const [file, own] = [await fileIn(t, `${two.toString('hex')}\n`), await fileIn(t, three.toString('base64'))]
  const config = { sealKeys: one.toString('base64'), sealKeysFile: file }
  assert.deepEqual(
    await ids(config, own),
    [one, two, three].map((bytes) => bytes.toString('hex')),
  )
  assert.deepEqual(
    await ids(config, null),
    [one, two].map((bytes) => bytes.toString('hex')),
  )
  assert.deepEqual(await ids(NOTHING, null), [], 'an engine that others share has no key that others lack')
  const missing = await fileIn(t)
  assert.deepEqual(await ids({ ...NOTHING, sealKeys: `${one.toString('base64url')}, ${two.toString('hex')}` }, missing), [
    one.toString('hex'),
    two.toString('hex'),
  ])
  await assert.rejects(stat(missing), { code: 'ENOENT' })
})

it('refuses what is no key without showing it', async (t) => {
  const wrong = one.subarray(1).toString('base64')
  const [damaged, empty] = [await fileIn(t, `${two.toString('base64')}\n${wrong}\n`), await fileIn(t, '\n')]
  const refused = async (config: typeof NOTHING, own: string | null, code: string, told: RegExp): Promise<void> => {
    await assert.rejects(findSealKeys({ config, ownFile: own }), (error: Error & { code: string }) => {
      assert.equal(error.code, code)
      assert.match(error.message, told)
      assert.ok(!inspect(error).includes(wrong) && !inspect(error).includes(two.toString('base64')))
      return true
    })
  }
  await refused(
    { ...NOTHING, sealKeys: `${two.toString('base64')} ${wrong}` },
    null,
    'CONFIG_INVALID',
    /documents\.sealKeys: key 2 is none/,
  )
  await refused(NOTHING, damaged, 'STORE_UNUSABLE', /key 2 is none/)
  await refused(NOTHING, empty, 'STORE_UNUSABLE', /is empty/)
  await refused({ ...NOTHING, sealKeysFile: join(damaged, 'none') }, null, 'STORE_UNUSABLE', /cannot be read/)
})

it('tells keys apart by ids that say nothing of them', async (t) => {
  const [key] = await findSealKeys({ config: NOTHING, ownFile: await fileIn(t) })
  assert.ok(key !== undefined)
  assert.match(sealKeyId(key), /^[0-9a-f]{16}$/)
  assert.ok(!key.export().toString('hex').includes(sealKeyId(key)))
})
