import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from './temporary-log.ts'

const CHILD = fileURLToPath(new URL('./disk-full-child.js', import.meta.url))
const FILE_BYTES_MAX = 8 * 1_048_576
const CHILD_TIMEOUT_MS = 60_000

const hasLimits = spawnSync('prlimit', ['--version']).status === 0

test(
  'a full disk: appends are refused, nothing is lost, and all goes on when there is space',
  { skip: hasLimits ? false : 'prlimit is not installed: a full disk was NOT tested' },
  async (t) => {
    const directory = await temporaryFolder()
    t.after(() => rm(directory, { recursive: true, force: true }))
    const child = spawnSync('prlimit', [`--fsize=${FILE_BYTES_MAX}:unlimited`, process.execPath, CHILD, directory], {
      encoding: 'utf8',
      timeout: CHILD_TIMEOUT_MS,
    })
    assert.equal(child.status, 0, child.stderr.slice(-3_000))
    assert.equal(child.stdout, 'all was right\n')
  },
)
