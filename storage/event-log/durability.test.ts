import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from './temporary-log.ts'

const CHILD = fileURLToPath(new URL('./durability-child.js', import.meta.url))
const CHILD_TIMEOUT_MS = 60_000

const canTrace = spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0

test(
  'an append is answered only after the system said that the data is on the disk',
  { skip: canTrace ? false : 'strace cannot run here: the order of system calls was NOT tested' },
  async (t) => {
    const directory = await temporaryFolder()
    t.after(() => rm(directory, { recursive: true, force: true }))
    const child = spawnSync('strace', ['-f', '-e', 'trace=fdatasync,fsync,write,pwrite64,pwritev', process.execPath, CHILD, directory], {
      encoding: 'utf8',
      timeout: CHILD_TIMEOUT_MS,
      maxBuffer: 64 * 1_048_576,
    })
    assert.equal(child.status, 0, child.stderr.slice(-2_000))
    const steps = child.stderr.split('\n').flatMap(stepOf)
    for (let i = 0; i < 20; i++) {
      const ask = steps.indexOf(`ask ${i}`)
      const answer = steps.indexOf(`answer ${i}`)
      assert.ok(ask >= 0 && answer > ask)
      const between = steps.slice(ask, answer)
      const sync = between.indexOf('synced')
      assert.ok(sync > 0, `message ${i} was answered without a sync: ${between.join(', ')}`)
      assert.ok(
        between.indexOf('wrote') < sync && between.includes('wrote'),
        `message ${i} was synced before it was written: ${between.join(', ')}`,
      )
    }
  },
)

/** What a line of the trace says was finished. */
function stepOf(line: string): string[] {
  const printed = /write\(1, "((?:ask|answer) \d+)/.exec(line)
  if (printed !== null) return [printed[1]!]
  if (/(?:fdatasync|fsync).*= 0$/.test(line)) return ['synced']
  if (/pwrite(?:64|v).*= [1-9]\d*$/.test(line)) return ['wrote']
  return []
}
