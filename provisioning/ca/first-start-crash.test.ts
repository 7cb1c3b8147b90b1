import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdir, rm } from 'node:fs/promises'
import { test } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import { seededRandom } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { CertificateAuthority } from './authority.ts'
import { temporaryFolder, testConfig } from '../testing/station.ts'

const ROUNDS = 8
const SEED = 20_261_121
/** Well beyond what a first start takes, so that some rounds kill it in the middle and some after its end. */
const KILL_WITHIN_MS = 60

/** Starts an authority in a process of its own and kills it -9 after `delayMs`, counted from when it begins. */
async function killFirstStart(dataDir: string, delayMs: number): Promise<void> {
  const code = `
    const { CertificateAuthority } = await import(${JSON.stringify(new URL('./authority.js', import.meta.url).href)})
    const { systemClock } = await import(${JSON.stringify(new URL('../../kernel/time.js', import.meta.url).href)})
    const { silentLogger: log } = await import(${JSON.stringify(new URL('../../kernel/log.js', import.meta.url).href)})
    const authority = new CertificateAuthority({ dataDir: ${JSON.stringify(dataDir)}, config: ${JSON.stringify(testConfig())}, clock: systemClock, log, pkiUrl: () => 'http://localhost' })
    process.stdout.write('begins')
    await authority.start()
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.once('close', resolve))
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve)
    child.once('error', reject)
    child.once('close', () => reject(new Error('the process ended before it began')))
  })
  await sleep(systemClock, delayMs)
  child.kill('SIGKILL')
  await ended
}

test(`kill -9 in the middle of a first start leaves nothing that a later start trips over (seed ${SEED})`, async () => {
  const random = seededRandom(SEED)
  let cutShort = 0
  for (let round = 0; round < ROUNDS; round++) {
    const dataDir = await temporaryFolder()
    try {
      // Squared, so that early moments are tried more: machines differ in how long a first start takes.
      await killFirstStart(dataDir, random.next() ** 2 * KILL_WITHIN_MS)
      if (!(await readdir(dataDir)).includes('pki')) cutShort++
      const authority = new CertificateAuthority({
        dataDir,
        config: testConfig(),
        clock: systemClock,
        log: silentLogger,
        pkiUrl: () => 'http://localhost',
      })
      await authority.start()
      assert.equal(authority.issuing.checkIssued(authority.root), true)
      assert.deepEqual(await readdir(dataDir), ['ca-passphrase', 'pki'])
    } finally {
      await rm(dataDir, { recursive: true, force: true })
    }
  }
  assert.ok(cutShort > 0, 'no round hit a first start before its end: shorten KILL_WITHIN_MS')
})
