import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { StoreChild, type Answer } from './testing/child.ts'
import { openStore } from './testing/store.ts'

/** A limit on file size makes the same writes fail as a full disk does, needs no other file system, and can be lifted for a running process. */
const hasPrlimit = spawnSync('prlimit', ['--version']).status === 0
const skip = hasPrlimit ? false : 'prlimit (util-linux) is not installed: a full disk cannot be staged'
const WRITE_ROWS = 5_000
const WRITES_MAX = 200

describe('a full disk', { skip }, () => {
  test('in the write-ahead log: STORE_FULL, nothing half written, and the next write works once there is room', (t) =>
    fillAndFree(t, 1024, 0))
  test('in a checkpoint, which ends DuckDB: STORE_FULL, and the file is opened anew by itself', (t) => fillAndFree(t, 1, 1))
})

async function fillAndFree(t: TestContext, checkpointThresholdMb: number, reopensMin: number): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-series-'))
  t.after(() => rm(directory, { recursive: true }))
  const child = new StoreChild({ directory, config: { checkpointThresholdMb } }, ['prlimit', '--fsize=3000000:unlimited'])
  t.after(() => child.kill())
  const full = await writeUntilRefused(child)
  assert.deepEqual([full.code, full.retryable], ['STORE_FULL', true], full.message)
  const before = child.stored
  assert.ok(before > 0, 'nothing was stored before the disk was full')
  assert.deepEqual(await child.ask({ order: 'count' }), { stored: before })
  execFileSync('prlimit', ['--pid', String(child.process.pid), '--fsize=unlimited:unlimited'])
  assert.deepEqual(await child.ask({ order: 'write', rows: WRITE_ROWS }), { stored: before + WRITE_ROWS })
  assert.deepEqual(await child.ask({ order: 'count' }), { stored: before + WRITE_ROWS })
  const reopens = await child.ask({ order: 'reopens' })
  assert.ok('reopens' in reopens && (reopensMin === 0 ? reopens.reopens === 0 : reopens.reopens >= reopensMin), JSON.stringify(reopens))
  await child.kill()
  const store = await openStore(directory)
  assert.equal(await store.count('default'), before + WRITE_ROWS)
  await store.stop()
}

async function writeUntilRefused(child: StoreChild): Promise<Extract<Answer, { code: string }>> {
  for (let i = 0; i < WRITES_MAX; i++) {
    const answer = await child.ask({ order: 'write', rows: WRITE_ROWS })
    if ('code' in answer) return answer
  }
  throw new Error('the limit on file size was never reached')
}
