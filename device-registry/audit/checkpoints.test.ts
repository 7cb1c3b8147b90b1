import assert from 'node:assert/strict'
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import { CHECKPOINT_FILE, Checkpoints } from './checkpoints.ts'
import { openAuditCollections } from './documents.ts'
import { STATEMENT_KEY_FILE } from '../../contracts/key-sealer.ts'
import { STATEMENT_PUBLIC_FILE, StatementKey } from './statement-key.ts'
import { act, openWorld, TENANT, verified } from './testing/audit-world.ts'

const DAY_MS = 86_400_000

test('old entries are cut behind a signed cut, what is left verifies, and the disk stays bounded', async (t) => {
  const world = await openWorld(t, { retentionMs: 30 * DAY_MS, checkpointIntervalMs: 1_800_000, retentionCheckMs: DAY_MS })
  for (let day = 0; day < 100; day++) {
    for (let index = 0; index < 3; index++) await world.trail.record(act(`d-${day}-${index}`))
    await world.checkpoints.seal()
    await world.checkpoints.cut()
    await world.virtual.advance(DAY_MS)
  }
  // What the timers began is finished.
  await world.checkpoints.cut()
  const records = await world.records()
  const report = await verified(world, records)
  assert.deepEqual(report.faults, [])
  assert.ok(report.entries < 200 && report.firstSeq > 200, `${report.entries} entries from ${report.firstSeq}`)
  const { checkpoints } = await openAuditCollections(world.documents)
  assert.ok((await checkpoints.count({})) < 40, 'checkpoints go with what they signed')
  assert.equal(await checkpoints.count({ kind: 'cut' }), 1)
  const { items } = await world.trail.list({ tenant: TENANT, action: 'audit.cut', limit: 1 })
  assert.equal(items[0]?.actor, 'system')

  // Removing more than was signed away is found.
  const more = records.filter((record) => record.kind !== 'entry' || record.entry.seq > report.firstSeq + 5)
  assert.deepEqual(
    (await verified(world, more)).faults.map(({ fault }) => fault),
    ['beginning'],
  )
})

test('one block is always left, so that the end of the chain is known', async (t) => {
  const world = await openWorld(t, { retentionMs: DAY_MS })
  for (let index = 0; index < 5; index++) await world.trail.record(act(`d-${index}`))
  await world.virtual.advance(10 * DAY_MS)
  await world.checkpoints.seal()
  await world.checkpoints.cut()
  await world.trail.record(act('next'))
  const report = await verified(world, await world.records())
  assert.deepEqual(report.faults, [])
  assert.ok(report.firstSeq > 1 && report.lastSeq > 5, `${report.firstSeq} to ${report.lastSeq}`)
})

test('a cut that was cut short still verifies, and is finished later', async (t) => {
  const world = await openWorld(t, { retentionMs: 5.5 * DAY_MS, retentionCheckMs: DAY_MS })
  for (let index = 0; index < 10; index++) await world.trail.record(act(`d-${index}`))
  await world.virtual.advance(4.5 * DAY_MS)
  await world.trail.record(act('recent'))
  await world.virtual.advance(0.6 * DAY_MS)
  await world.checkpoints.seal()
  await world.virtual.advance(0.6 * DAY_MS)
  const { blocks } = await openAuditCollections(world.documents)
  const kept = await blocks.find({}, { sort: { firstSeq: 1 } })
  await world.checkpoints.cut()
  // As if the process had ended after two of the removals.
  for (const block of kept.slice(2, 10)) {
    const { _id, version: _version, ...rest } = block
    await blocks.put(_id, rest)
  }
  const report = await verified(world, await world.records())
  assert.deepEqual([report.faults, report.firstSeq], [[], 3])
  await world.checkpoints.cut()
  assert.equal((await verified(world, await world.records())).faultsTotal, 0)
  assert.equal(await blocks.count({ lastSeq: { $lt: 10 } }), 0)
})

test('a trail that lost its end is noticed at the next start', async (t) => {
  const world = await openWorld(t)
  for (let index = 0; index < 6; index++) await world.trail.record(act(`d-${index}`))
  await world.checkpoints.stop()
  const { blocks } = await openAuditCollections(world.documents)
  await blocks.deleteMany({ firstSeq: { $gt: 3 } })
  const options = {
    documents: world.documents,
    signer: world.key,
    trail: world.trail,
    dataDirectory: world.folder,
    clock: world.clock,
    log: silentLogger,
  }
  const again = new Checkpoints(options)
  await again.start()
  await again.stop()
  const { items } = await world.trail.list({ tenant: TENANT, limit: 1 })
  assert.deepEqual(
    [items[0]?.action, items[0]?.outcome, items[0]?.why],
    ['audit.loss', 'failed', 'entries 4 to 6 were signed and are no longer there'],
  )
  await writeFile(join(world.folder, CHECKPOINT_FILE), 'broken')
  await again.start()
  await again.stop()
})

test('the key is made once, is for nobody else to read, and damage is said and overwritten by nothing', async (t) => {
  const world = await openWorld(t)
  const path = join(world.folder, STATEMENT_KEY_FILE)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.match(await readFile(join(world.folder, STATEMENT_PUBLIC_FILE), 'utf8'), /BEGIN PUBLIC KEY/)
  const again = new StatementKey({ dataDirectory: world.folder, documents: world.documents, clock: world.clock })
  await again.start()
  assert.deepEqual(await again.publicKeys(), await world.key.publicKeys())
  await writeFile(path, 'damaged')
  const damaged = new StatementKey({ dataDirectory: world.folder, documents: world.documents, clock: world.clock })
  await assert.rejects(damaged.start(), { code: 'STORE_CORRUPT' })
  assert.equal(await readFile(path, 'utf8'), 'damaged')
})

test('the key is sealed where there is a sealer, one of before is sealed at the next start, and what does not open is said', async (t) => {
  const world = await openWorld(t)
  const path = join(world.folder, STATEMENT_KEY_FILE)
  const passphrase = 'for tests'
  const keySealer = {
    seal: (key: KeyObject) =>
      Promise.resolve(key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: keySealer.passphrase }) as string),
    isSealed: (pem: string) => pem.includes('ENCRYPTED'),
    open: (pem: string) => Promise.resolve(createPrivateKey({ key: pem, passphrase: keySealer.passphrase })),
    passphrase,
  }
  const start = async (): Promise<StatementKey> => {
    const key = new StatementKey({ dataDirectory: world.folder, documents: world.documents, clock: world.clock, keySealer })
    await key.start()
    return key
  }
  assert.match(await readFile(path, 'utf8'), /BEGIN PRIVATE KEY/)
  const [before] = await world.key.publicKeys()
  assert.deepEqual((await (await start()).publicKeys())[0], before)
  assert.match(await readFile(path, 'utf8'), /BEGIN ENCRYPTED PRIVATE KEY/)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.deepEqual((await (await start()).publicKeys())[0], before)
  const sealed = await readFile(path, 'utf8')
  keySealer.passphrase = 'another'
  await assert.rejects(start())
  assert.equal(await readFile(path, 'utf8'), sealed)
})
