import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { assertIndexesAgree } from './testing/index-agreement.ts'
import { temporaryFolder } from './testing/lmdb-fixture.ts'

const FILE_KIB_MAX = 2_000

it(
  'says STORE_FULL when it cannot grow, loses nothing, and writes again once there is room',
  { skip: process.platform !== 'linux' && 'needs ulimit -f' },
  async (t) => {
    const directory = join(await temporaryFolder(t), 'store')
    const program = fileURLToPath(new URL('./testing/full-child.js', import.meta.url))
    const script = `ulimit -f ${FILE_KIB_MAX} && exec "$0" "$@"`
    const child = spawnSync('bash', ['-c', script, process.execPath, program, directory], { encoding: 'utf8', timeout: 300_000 })
    assert.equal(child.status, 0, child.stderr)
    const seen = JSON.parse(child.stdout) as Record<string, unknown>
    t.diagnostic(child.stdout)
    assert.equal(seen.code, 'STORE_FULL')
    assert.equal(seen.retryable, true)
    assert.equal(seen.readable, seen.written, 'what was acknowledged is there, what failed is not')
    assert.equal(seen.deleted, 5)
    assert.equal(seen.again, 'written')
    assert.equal(await assertIndexesAgree(directory, 'things'), Number(seen.written) - 5 + 1)
  },
)
