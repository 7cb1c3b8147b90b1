import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemClock, VirtualClock } from '../../kernel/time.ts'
import { Certificates } from '../certificates.ts'
import { AuditDouble } from '../testing/audit-double.ts'
import { temporaryFolder, testConfig } from '../testing/station.ts'
import { openStores } from '../testing/stores.ts'
import { AuthorityDesk } from './authority-desk.ts'
import { CertificateAuthority } from './authority.ts'
import type { IssuingCa, RootCa } from './issuing-ca.ts'
import { dueForSuccessor } from './issuing-renewal.ts'

const DAY_MS = 86_400_000
const cleanups: (() => Promise<unknown>)[] = []
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
})

const issuing = (notAfterMs: number): IssuingCa => ({ id: `until-${notAfterMs}`, notAfterMs, retired: null }) as unknown as IssuingCa

test('whatever lifetimes are set, there is always a CA that is good for long enough, and never a crowd of them', () => {
  const lifetimes = fc.record({
    issuingRollBeforeDays: fc.integer({ min: 1, max: 1_826 }),
    issuingLifetimeDays: fc.integer({ min: 90, max: 3_653 }),
    rootDays: fc.integer({ min: 365, max: 7_306 }),
  })
  fc.assert(
    fc.property(lifetimes, ({ issuingRollBeforeDays, issuingLifetimeDays, rootDays }) => {
      const rootEndMs = rootDays * DAY_MS
      const roots = [{ key: {}, notAfterMs: rootEndMs }] as unknown as RootCa[]
      const issuers = [issuing(Math.min(issuingLifetimeDays * DAY_MS, rootEndMs))]
      const stepDays = Math.min(issuingRollBeforeDays, issuingLifetimeDays) / 2
      for (let day = 0; day < rootDays; day++) {
        const nowMs = day * DAY_MS
        if (dueForSuccessor({ issuers, roots }, { issuingRollBeforeDays, issuingLifetimeDays }, nowMs) !== undefined) {
          issuers.push(issuing(Math.min(nowMs + issuingLifetimeDays * DAY_MS, rootEndMs)))
        }
        const longestMs = Math.max(...issuers.map(({ notAfterMs }) => notAfterMs))
        // As long as it was asked for, as far as a CA's whole life and the end of the root allow.
        const neededDays = Math.min(issuingRollBeforeDays, issuingLifetimeDays - stepDays, rootDays - day - stepDays) - 1
        assert.ok(longestMs - nowMs >= neededDays * DAY_MS, `day ${day}`)
      }
      assert.ok(issuers.length <= 2 + rootDays / stepDays, `${issuers.length} CAs`)
    }),
    { numRuns: 60, seed: 5 },
  )
})

test('nothing is due where it is off, or where the root is kept elsewhere', () => {
  const due = (key: unknown, issuingRollBeforeDays: number): boolean => {
    const roots = [{ key, notAfterMs: 9_000 * DAY_MS }] as unknown as RootCa[]
    const config = { issuingRollBeforeDays, issuingLifetimeDays: 1_826 }
    return dueForSuccessor({ issuers: [issuing(10 * DAY_MS)], roots }, config, 0) !== undefined
  }
  assert.deepEqual([due({}, 400), due({}, 0), due(undefined, 400)], [true, false, false])
})

test('the successor is made in time, once, audited before, and takes over', async () => {
  const folder = await temporaryFolder()
  cleanups.push(() => rm(folder, { recursive: true, force: true }))
  const stores = await openStores(folder)
  cleanups.push(() => stores.close())
  const clock = new VirtualClock(systemClock.nowMs())
  const config = testConfig({ issuingLifetimeDays: 1_000, issuingRollBeforeDays: 400, crossOverDelayMs: 1_000, signingPollMs: 60_000 })
  const common = { ...stores, config, clock, log: silentLogger, metrics: new Metrics() }
  const auditTrail = new AuditDouble()
  const authority = new CertificateAuthority({ ...common, dataDir: join(folder, 'registry'), pkiUrl: () => 'http://pki.example' })
  const certificates = new Certificates(common)
  const desk = new AuthorityDesk({ ...common, authority, certificates, auditTrail })
  for (const service of [authority, certificates]) await service.start()
  cleanups.push(() => authority.stop())
  const restart = async (): Promise<string[]> => {
    await desk.start()
    await desk.stop()
    return authority.issuers.map(({ id }) => id)
  }
  await clock.advance(590 * DAY_MS)
  assert.deepEqual(await restart(), ['issuing'])
  await clock.advance(11 * DAY_MS)
  assert.deepEqual(await restart(), ['issuing', 'issuing-2'])
  assert.deepEqual(await restart(), ['issuing', 'issuing-2'], 'once')
  const acts = auditTrail.acts.map(({ action, actor, subject }) => [action, actor, subject.id])
  assert.deepEqual(acts, [['certificate.authority-roll', 'system', 'issuing']])
  assert.equal(authority.current.id, 'issuing')
  await clock.advance(1_001)
  assert.equal(authority.current.id, 'issuing-2')
})
