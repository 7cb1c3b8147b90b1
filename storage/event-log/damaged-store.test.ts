import assert from 'node:assert/strict'
import { chmod, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { StoreError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { integerBetween, seededRandom } from '../../kernel/random.ts'
import { systemClock } from '../../kernel/time.ts'
import { LmdbEnvironment, LOG_FORMAT_VERSION } from './lmdb-environment.ts'
import { LmdbEventLog } from './lmdb-event-log.ts'
import { eventLogConfig, message, openTemporaryLog, temporaryFolder, topicSpec } from './temporary-log.ts'

/** A stopped store with a few hundred entries, and its one data file. */
async function filledStore(): Promise<{ directory: string; file: string; content: Buffer }> {
  const { log, directory, close } = await openTemporaryLog()
  await log.ensureTopics([topicSpec('t')])
  for (let i = 0; i < 60; i++) await log.append('t', [message('k', `needle-${i}-${'x'.repeat(9_000)}`)])
  await close()
  const file = join(directory, 'data.mdb')
  return { directory, file, content: await readFile(file) }
}

async function startRefused(directory: string, code: string): Promise<StoreError> {
  const options = {
    directory,
    config: eventLogConfig(),
    clock: systemClock,
    log: silentLogger,
    metrics: new Metrics(),
    topicPrefix: 'test.',
  }
  let refused: unknown
  await assert.rejects(new LmdbEventLog(options).start(), (error) => {
    refused = error
    return true
  })
  assert.ok(refused instanceof StoreError, String(refused))
  assert.equal(refused.code, code)
  assert.ok(refused.remedy !== undefined && refused.message.includes(directory))
  return refused
}

test('a file that is not or no longer a store is refused and left as it is', async (t) => {
  const { directory, file, content } = await filledStore()
  t.after(() => rm(directory, { recursive: true, force: true }))
  const random = seededRandom('damaged-store')
  const noise = Buffer.from(Array.from({ length: 100_000 }, () => integerBetween(random, 0, 255)))
  const secondMeta = Buffer.from(content)
  secondMeta.fill(0xff, 4_096, 4_200)
  const variants = {
    text: Buffer.from('this is not a store\n'.repeat(1_000)),
    'a few bytes': Buffer.from('hello'),
    noise,
    'its second page overwritten': secondMeta,
    'its first half': content.subarray(0, content.length >> 1),
    'its first pages': content.subarray(0, 8_192),
  }
  for (const [name, bytes] of Object.entries(variants)) {
    await writeFile(file, bytes)
    await startRefused(directory, 'STORE_CORRUPT')
    assert.deepEqual(await readFile(file), Buffer.from(bytes), `${name} was changed`)
  }
  await writeFile(file, content)
  const { log, close } = await openTemporaryLog({ directory })
  assert.equal((await log.bounds('t')).get(0)!.next, 60)
  await close()
})

test('a new, empty data file is a new store', async (t) => {
  const { directory, file } = await filledStore()
  await truncate(file, 0)
  const { log, dispose } = await openTemporaryLog({ directory })
  t.after(dispose)
  await log.ensureTopics([topicSpec('t')])
  assert.equal((await log.bounds('t')).get(0)!.next, 0)
})

test('a damaged message is refused when it is read; the others stay readable', async (t) => {
  const { directory, file, content } = await filledStore()
  t.after(() => rm(directory, { recursive: true, force: true }))
  const at = content.indexOf('needle-30-')
  assert.ok(at > 0)
  for (let copy = at; copy >= 0; copy = content.indexOf('needle-30-', copy + 1)) content[copy + 20] = 0x21
  await writeFile(file, content)
  const { log, close } = await openTemporaryLog({ directory })
  const isCorrupt = (error: unknown): boolean =>
    error instanceof StoreError && error.code === 'STORE_CORRUPT' && error.message.includes('offset 30')
  const consumer = await log.consume({ group: 'g', topic: 't' })
  let polled = 0
  await assert.rejects(async () => {
    for (;;) polled += (await consumer.poll(7, 0)).length
  }, isCorrupt)
  assert.equal(polled, 30, 'what lies before the damage is handed out')
  await assert.rejects(log.read('t', 0, 30, 1), isCorrupt)
  assert.equal((await log.read('t', 0, 31, 100)).length, 29)
  await close()
})

test('a store of a newer version is refused', async (t) => {
  const { directory, file, content } = await filledStore()
  t.after(() => rm(directory, { recursive: true, force: true }))
  const environment = await LmdbEnvironment.open(directory, 1_048_576)
  await environment.meta.put(Buffer.from('format'), Buffer.from(JSON.stringify({ version: LOG_FORMAT_VERSION + 1 })))
  await environment.close()
  const newer = await readFile(file)
  await startRefused(directory, 'STORE_NEWER')
  assert.deepEqual(await readFile(file), newer)
  for (const meta of [0, 4_096]) content.writeUInt32LE(3, meta + 28)
  await writeFile(file, content)
  await startRefused(directory, 'STORE_NEWER')
})

test('a folder that cannot be used is named', async (t) => {
  const parent = await temporaryFolder()
  t.after(() => rm(parent, { recursive: true, force: true }))
  await writeFile(join(parent, 'file'), '')
  await startRefused(join(parent, 'file'), 'STORE_UNUSABLE')
  await startRefused(join(parent, 'file', 'below'), 'STORE_UNUSABLE')
  if (process.getuid?.() === 0) return t.diagnostic('permissions are not checked: root may write everywhere')
  await chmod(parent, 0o500)
  await startRefused(join(parent, 'new'), 'STORE_UNUSABLE')
  await chmod(parent, 0o700)
})
