import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { AuditEntry } from '../contracts/audit.ts'
import { link, EMPTY_CHAIN, hashOf } from '../device-registry/audit/chain.ts'
import { openAuditCollections, type AuditBlock } from '../device-registry/audit/documents.ts'
import { documentsIn } from '../storage/documents/testing/lmdb-fixture.ts'
import { PlatformProcess, until } from '../test/testing/platform-process.ts'
import type { AuditAnswer } from './verify-audit.ts'

/* The trail of a running platform, taken away, changed behind its back, and verified with the command that people use. */

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'verify-audit-'))
const platform = new PlatformProcess({ FLEETPULSE_AUDIT_CHECKPOINT_INTERVAL_MS: '200' })
const exported = join(folder, 'audit.jsonl')
const key = join(platform.data, 'statement-key.pub.pem')

before(() => platform.start(), { timeout: 300_000 })
after(async () => {
  await platform.remove()
  rmSync(folder, { recursive: true, force: true })
})

interface Outcome {
  code: number
  stdout: string
  stderr: string
}

function verify(...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, 'verify', 'audit', ...args], { cwd: folder, timeout: 300_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    )
  })
}

async function faultsOf(...args: string[]): Promise<[number, string[]]> {
  const { code, stdout, stderr } = await verify('--json', ...args)
  assert.ok(stdout.startsWith('{'), stderr)
  const answer = JSON.parse(stdout) as AuditAnswer & { intact: boolean }
  assert.equal(answer.intact, answer.faultsTotal === 0)
  return [code, [...new Set(answer.faults.map(({ fault }) => fault))]]
}

const lines = (): string[] => readFileSync(exported, 'utf8').trimEnd().split('\n')
function written(name: string, changed: readonly string[]): string {
  const path = join(folder, name)
  writeFileSync(path, `${changed.join('\n')}\n`)
  return path
}

test('a running platform and its export verify; the answer says with whose keys', { timeout: 300_000 }, async () => {
  for (let index = 0; index < 8; index++) await platform.post('/devices', { id: `d-${index}`, type: 'generic' })
  await platform.post('/devices/d-3/state', { state: 'suspended' })
  await until('a checkpoint of it', async () => ((await platform.get<{ seq: number } | null>('/audit/checkpoint'))?.seq ?? 0) >= 10)
  const running = await verify('--data', platform.data, '--export', exported)
  assert.deepEqual([running.code, running.stderr], [0, ''], running.stdout)
  assert.match(running.stdout, /Keys from data folder[^]*Nothing was altered/)
  assert.deepEqual(await faultsOf('--file', exported, '--key', key), [0, []])
  const alone = await verify('--file', exported)
  assert.equal(alone.code, 0)
  assert.match(alone.stdout, /Keys from the trail itself.*compare/)
  assert.ok(
    lines().some((line) => line.includes('"action":"platform.start"')),
    'the start of the process is in it',
  )
})

test('offline: altered, removed, inserted, reordered, cut off, forged; exit code 1 each', { timeout: 300_000 }, async () => {
  const all = lines()
  const at = (id: string): number => all.findIndex((line) => line.includes(`"id":"${id}"`))
  const checked = (name: string, changed: readonly string[], ...more: string[]) =>
    faultsOf('--file', written(name, changed), '--key', key, ...more)
  assert.deepEqual(await checked('altered', all.with(at('d-3'), (all[at('d-3')] ?? '').replace('user:admin', 'user:nobody'))), [
    1,
    ['altered'],
  ])
  assert.deepEqual(await checked('removed', all.toSpliced(at('d-3'), 1)), [1, ['missing']])
  assert.deepEqual(await checked('inserted', all.toSpliced(at('d-3'), 0, all[at('d-5')] ?? '')).then(([code]) => code), 1)
  const swapped = all.with(at('d-3'), all[at('d-4')] ?? '').with(at('d-4'), all[at('d-3')] ?? '')
  assert.deepEqual(await checked('swapped', swapped).then(([code]) => code), 1)
  assert.deepEqual(await checked('broken', [...all, '{"kind":"entry"']), [1, ['unreadable']])
  const other = new PlatformProcess()
  try {
    await other.start()
    assert.deepEqual(await faultsOf('--file', exported, '--key', join(other.data, 'statement-key.pub.pem')), [1, ['checkpoint-forged']])
  } finally {
    await other.remove()
  }
  const usage = await verify('--file', join(folder, 'nowhere'))
  assert.deepEqual([usage.code, usage.stderr.split('\n')[0]?.includes('cannot be read')], [2, true])
})

test('a database that was changed while nobody looked is found out on the running platform', { timeout: 300_000 }, async () => {
  const { jws } = await platform.get<{ jws: string }>('/audit/checkpoint')
  const kept = written('kept.jws', [jws])
  await platform.stop()
  const documents = documentsIn(join(platform.data, 'documents'))
  await documents.start()
  const { blocks } = await openAuditCollections(documents)
  const stored = (await blocks.find({}, { sort: { firstSeq: 1 } })).map(({ _id, version: _version, ...block }) => ({ id: _id, block }))
  const change = async (to: (block: AuditBlock) => AuditBlock): Promise<void> => {
    for (const { id, block } of stored) await blocks.put(id, to(structuredClone(block)))
  }
  // One entry, with a hash that fits it.
  await change((block) => {
    const entries = block.entries.map((entry: AuditEntry) => {
      if (entry.subject.id !== 'd-3') return entry
      const changed = { ...entry, actor: 'user:nobody' }
      return { ...changed, hash: hashOf(changed) }
    })
    return { ...block, entries }
  })
  await documents.stop()
  await platform.start()
  assert.deepEqual(await faultsOf('--data', platform.data).then(([code, faults]) => [code, faults.includes('unlinked')]), [1, true])

  // The whole chain made to fit again: what was signed does not.
  await platform.stop()
  await documents.start()
  let head = EMPTY_CHAIN
  const again = await openAuditCollections(documents)
  for (const { _id, version: _version, ...block } of await again.blocks.find({}, { sort: { firstSeq: 1 } })) {
    const entries = link(
      head,
      block.entries.map(({ seq: _seq, previousHash: _previous, hash: _hash, ...loose }) => loose),
    )
    head = { seq: entries.at(-1)?.seq ?? 0, hash: entries.at(-1)?.hash ?? '' }
    await again.blocks.put(_id, { ...block, entries, lastHash: head.hash })
  }
  await again.checkpoints.deleteMany({})
  await documents.stop()
  await platform.start()
  const [code, faults] = await faultsOf('--data', platform.data, '--checkpoint', kept)
  assert.deepEqual([code, faults], [1, ['checkpoint-disagrees']])
})
