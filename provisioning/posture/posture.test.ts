import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { FINDING_SEVERITIES, SECURITY_CHECKS } from '../../contracts/finding.ts'
import { systemClock } from '../../kernel/time.ts'
import { openssl, skipWithout } from '../testing/openssl.ts'
import { DAY_MS, newKey, openPosture } from '../testing/posture-world.ts'
import { TENANT } from '../testing/station.ts'
import { deviceScore, fleetScore } from './found.ts'
import { returnsIn } from './sightings.ts'

/** The engines' timers let a process end; a test that waits for them must not. */
function hold(t: TestContext): void {
  const timer = setInterval(() => undefined, 1_000)
  t.after(() => clearInterval(timer))
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + 60_000
  while (!(await holds())) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, 'it does not come')
    await new Promise<void>((resolve) => systemClock.after(10, resolve))
  }
}

/** A self-made certificate with a key or extensions that our CA would not sign. */
async function foreign(device: string, key: readonly string[], ...more: string[]): Promise<string> {
  const args = ['req', '-x509', '-nodes', '-days', '30', '-subj', `/CN=${device}`, '-keyout', '/dev/null', ...key, ...more]
  return openssl([...args, '-addext', `subjectAltName=URI:urn:fleetpulse:${TENANT}:${device}`])
}
const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
const CLIENT = ['-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'extendedKeyUsage=clientAuth']
const skip = skipWithout('openssl')

test('a clean fleet has no finding and 100 points', async (t) => {
  hold(t)
  const world = await openPosture(t)
  for (let index = 0; index < 20; index++) await world.issue(`d-${index}`)
  const revoked = await world.issue('gone')
  await world.certificates.revoke(TENANT, revoked.serial, 'cessationOfOperation')
  for (const address of ['10.0.0.1', '10.0.0.1', '10.0.0.2', '10.0.0.3']) await world.tell({ device: 'd-1', serial: 'AB', address })
  assert.deepEqual(await world.checked(), [])
  const { score, devices, counts, worst, lastRun } = await world.posture.score(TENANT)
  assert.deepEqual([score, devices, counts, worst], [100, 21, { critical: 0, high: 0, medium: 0, low: 0 }, []])
  assert.deepEqual([lastRun?.by, lastRun?.certificates, lastRun?.open], ['user:test', 21, 0])
  assert.deepEqual(await world.anomalies(), [])
})

test('key-shared: one key in the certificates of two devices; over when one is revoked', async (t) => {
  hold(t)
  const world = await openPosture(t)
  const key = await newKey()
  await world.issue('a', key)
  const copy = await world.issue('b', key)
  await world.issue('c')
  assert.deepEqual(await world.checked(), ['key-shared a', 'key-shared b'])
  const [first] = await world.open()
  assert.deepEqual([first?.severity, first?.evidence.devicesTotal], ['critical', 2])
  assert.equal((await world.posture.score(TENANT)).worst.length, 2)
  await world.certificates.revoke(TENANT, copy.serial, 'keyCompromise')
  assert.deepEqual(await world.checked(), [])
})

test('a device that renews with the same key shares it with nobody', async (t) => {
  const world = await openPosture(t)
  const key = await newKey()
  for (let index = 0; index < 3; index++) await world.issue('a', key)
  assert.deepEqual(await world.checked(), [])
})

test('never-rotated: the same key for longer than allowed, renewed or not; over with a new key', async (t) => {
  const world = await openPosture(t, { keyAgeDaysMax: 100 })
  const key = await newKey()
  const old = await world.issue('a', key)
  await world.issue('renewing')
  world.clock.shiftMs = 60 * DAY_MS
  const renewed = await world.issue('a', key)
  await world.certificates.revoke(TENANT, old.serial, 'superseded')
  const fresh = await world.issue('renewing')
  world.clock.shiftMs = 101 * DAY_MS
  assert.deepEqual(await world.checked(), ['never-rotated a', 'never-rotated renewing'])
  await world.issue('a')
  await world.certificates.revoke(TENANT, renewed.serial, 'superseded')
  const firstOf = (await world.certificates.list({ tenant: TENANT, device: 'renewing', limit: 10 })).items.find(
    ({ serial }) => serial !== fresh.serial,
  )
  await world.certificates.revoke(TENANT, firstOf?.serial ?? '', 'superseded')
  assert.deepEqual(await world.checked(), [])
})

test('key-weak and signature-weak: small RSA, odd curves, exponent 3, SHA-1', { skip }, async (t) => {
  const world = await openPosture(t)
  await world.adopt('small', await foreign('small', ['-newkey', 'rsa:1024'], ...CLIENT))
  await world.adopt('exponent', await foreign('exponent', ['-newkey', 'rsa:2048', '-pkeyopt', 'rsa_keygen_pubexp:3'], ...CLIENT))
  await world.adopt('curve', await foreign('curve', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:secp224r1'], ...CLIENT))
  await world.adopt('sha1', await foreign('sha1', [...EC, '-sha1'], ...CLIENT))
  await world.adopt('good', await foreign('good', ['-newkey', 'rsa:2048'], ...CLIENT))
  assert.deepEqual(await world.checked(), ['key-weak curve', 'key-weak exponent', 'key-weak small', 'signature-weak sha1'])
})

test('certificate-permissive: a CA, any purpose, a server, two names, a wildcard', { skip }, async (t) => {
  const world = await openPosture(t)
  await world.adopt('ca', await foreign('ca', EC, '-addext', 'extendedKeyUsage=clientAuth'))
  await world.adopt('any', await foreign('any', EC, '-addext', 'basicConstraints=critical,CA:FALSE'))
  await world.adopt(
    'server',
    await foreign('server', EC, '-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'extendedKeyUsage=clientAuth,serverAuth'),
  )
  const names = `subjectAltName=URI:urn:fleetpulse:${TENANT}:two,URI:urn:fleetpulse:${TENANT}:three,DNS:*.example.com`
  const two = await openssl([
    'req',
    '-x509',
    '-nodes',
    '-days',
    '30',
    '-subj',
    '/CN=two',
    '-keyout',
    '/dev/null',
    ...EC,
    ...CLIENT,
    '-addext',
    names,
  ])
  await world.adopt('two', two)
  assert.deepEqual(await world.checked(), [
    'certificate-permissive any',
    'certificate-permissive ca',
    'certificate-permissive server',
    'certificate-permissive two',
  ])
  const permissions = (await world.open()).map(({ evidence }) => (evidence.permissions as string[]).length).sort()
  assert.deepEqual(permissions, [1, 1, 1, 2])
})

test('revoked-seen: a revoked certificate that is still shown; forgotten when it is shown no more', async (t) => {
  hold(t)
  const world = await openPosture(t)
  const { serial } = await world.issue('a')
  await world.certificates.revoke(TENANT, serial, 'keyCompromise')
  assert.deepEqual(await world.checked(), [])
  await world.tell({ kind: 'certificate-refused', device: 'a', serial, address: '192.0.2.7' })
  await until(async () => (await world.checked()).length === 1)
  const [finding] = await world.open()
  assert.deepEqual([finding?.check, finding?.evidence.address, finding?.evidence.count], ['revoked-seen', '192.0.2.7', 1])
  world.clock.shiftMs = 31 * DAY_MS
  assert.deepEqual(await world.checked(), [])
})

test('certificate-shared: used in two places in turn, not by a device that moves', async (t) => {
  hold(t)
  const world = await openPosture(t)
  const [shared, moving] = [await world.issue('shared'), await world.issue('moving')]
  for (let index = 0; index < 8; index++) {
    await world.tell({ device: 'moving', serial: moving.serial, address: `10.0.0.${index}` })
    await world.tell({ device: 'shared', serial: shared.serial, address: index % 2 === 0 ? '192.0.2.1' : '198.51.100.1' })
  }
  await until(async () => (await world.checked()).length > 0)
  assert.deepEqual(await world.checked(), ['certificate-shared shared'])
  assert.deepEqual((await world.open())[0]?.evidence.addresses, ['192.0.2.1', '198.51.100.1'])
  await world.certificates.revoke(TENANT, shared.serial, 'keyCompromise')
  assert.deepEqual(await world.checked(), [])
})

test('ca-expiring: first high, then critical, and it counts for the whole platform', async (t) => {
  const world = await openPosture(t, { caWarningDays: 100 })
  assert.deepEqual(await world.checked(), [])
  world.clock.shiftMs = (1_826 - 60) * DAY_MS
  assert.deepEqual(await world.checked(), ['ca-expiring ca'])
  assert.equal((await world.open())[0]?.severity, 'high')
  world.clock.shiftMs = (1_826 - 20) * DAY_MS
  await world.checked()
  assert.equal((await world.open())[0]?.severity, 'critical')
  assert.equal((await world.posture.score(TENANT)).score, 40)
})

test('policy-permissive: a setting that lets in more than it need, until it is changed', async (t) => {
  const world = await openPosture(t)
  world.settings.push({
    setting: 'api.host',
    risk: 'The operator API listens on 0.0.0.0 without TLS',
    remedy: 'Let it listen on loopback.',
  })
  assert.deepEqual(await world.checked(), ['policy-permissive api.host'])
  world.settings.length = 0
  assert.deepEqual(await world.checked(), [])
  const { items } = await world.posture.list({ tenant: TENANT, state: 'resolved', limit: 10 })
  assert.equal(items.length, 1)
  world.clock.shiftMs = 91 * DAY_MS
  await world.checked()
  assert.deepEqual((await world.posture.list({ tenant: TENANT, limit: 10 })).items, [], 'what is over is forgotten after a while')
})

test('a suppressed finding neither counts nor alerts until its time is over', async (t) => {
  hold(t)
  const world = await openPosture(t, { checkIntervalMs: 1_000 })
  const key = await newKey()
  await world.issue('a', key)
  await world.issue('b', key)
  await world.checked()
  const phases = async (): Promise<string[]> => (await world.anomalies()).filter(({ device }) => device === 'a').map(({ phase }) => phase)
  assert.deepEqual(await phases(), ['raised'])
  const [anomaly] = await world.anomalies()
  assert.deepEqual([anomaly?.cause, anomaly?.severity, anomaly?.metric], ['security', 'critical', 'key-shared'])
  const finding = (await world.open()).find(({ device }) => device === 'a')
  const id = finding?.id ?? ''
  const nowMs = world.clock.nowMs()
  for (const until of [nowMs - 1, nowMs + 400 * DAY_MS]) {
    await assert.rejects(world.posture.suppress(TENANT, id, { until, why: 'x', by: 'user:ann' }), { code: 'INVALID_INPUT' })
  }
  await world.posture.suppress(TENANT, id, { until: nowMs + 7 * DAY_MS, why: 'test bench', by: 'user:ann' })
  assert.deepEqual(await phases(), ['raised', 'cleared'])
  assert.deepEqual(await world.checked(), ['key-shared b'], 'a check does not end a suppression')
  assert.deepEqual([await world.posture.scoreOf(TENANT, 'a'), await world.posture.scoreOf(TENANT, 'b')], [100, 40])
  const { items } = await world.posture.list({ tenant: TENANT, state: 'suppressed', limit: 10 })
  assert.deepEqual(
    items.map(({ suppressedBy, suppressedWhy }) => [suppressedBy, suppressedWhy]),
    [['user:ann', 'test bench']],
  )
  world.clock.shiftMs = 8 * DAY_MS
  await until(async () => (await phases()).length === 3)
  assert.deepEqual(await phases(), ['raised', 'cleared', 'raised'], 'the alert comes back by itself')
  await world.posture.suppress(TENANT, id, { until: world.clock.nowMs() + DAY_MS, why: 'again', by: 'user:ann' })
  await world.posture.restore(TENANT, id)
  assert.deepEqual(await world.checked(), ['key-shared a', 'key-shared b'])
  await assert.rejects(world.posture.restore(TENANT, 'ffff'), { code: 'NOT_FOUND' })
})

test('the check runs every night by itself, once, and is in the audit trail', async (t) => {
  hold(t)
  const world = await openPosture(t, { checkIntervalMs: 1_000 })
  await world.issue('a')
  await until(async () => world.acts.length === 1)
  assert.deepEqual([world.acts[0]?.action, world.acts[0]?.actor], ['finding.check', 'system'])
  await new Promise<void>((resolve) => systemClock.after(1_500, resolve))
  assert.equal(world.acts.length, 1, 'once a day')
  world.clock.shiftMs = DAY_MS
  await until(async () => world.acts.length === 2)
  assert.equal((await world.posture.score(TENANT)).lastRun?.by, 'system')
})

test('two checks asked for at once are one; lists are worst first and paged', async (t) => {
  const world = await openPosture(t, { keyAgeDaysMax: 1 })
  const key = await newKey()
  for (const device of ['a', 'b']) await world.issue(device, key)
  for (const device of ['c', 'd']) await world.issue(device)
  world.clock.shiftMs = 3 * DAY_MS
  const [first, second] = await Promise.all([world.posture.check('user:a'), world.posture.check('user:b')])
  assert.equal(first, second)
  const severities: string[] = []
  let after: { rank: number; id: string } | undefined
  do {
    const page = await world.posture.list({ tenant: TENANT, limit: 2, ...(after === undefined ? {} : { after }) })
    severities.push(...page.items.map(({ severity }) => severity))
    after = page.next ?? undefined
  } while (after !== undefined)
  assert.deepEqual(severities, ['critical', 'critical', 'medium', 'medium', 'medium'])
  assert.equal((await world.posture.list({ tenant: TENANT, check: 'never-rotated', limit: 10 })).items.length, 3)
  assert.equal((await world.posture.list({ tenant: TENANT, device: 'c', severity: 'medium', limit: 10 })).items.length, 1)
  assert.deepEqual((await world.posture.list({ tenant: 'other', limit: 10 })).items, [])
})

test('scores: between 0 and 100, and never better for one finding more', () => {
  const severities = fc.array(fc.constantFrom(...FINDING_SEVERITIES), { maxLength: 20 })
  fc.assert(
    fc.property(severities, fc.constantFrom(...FINDING_SEVERITIES), fc.nat(1_000), severities, (found, more, healthy, platform) => {
      const [before, after] = [deviceScore(found), deviceScore([...found, more])]
      assert.ok(after <= before && after >= 0 && before <= 100)
      const [fleet, worse] = [fleetScore(healthy + 1, [before], platform), fleetScore(healthy + 1, [after], platform)]
      assert.ok(worse <= fleet && worse >= 0 && fleet <= 100)
    }),
  )
  assert.equal(fleetScore(0, [], []), 100)
  assert.equal(fleetScore(4, [60, 0], []), 65)
})

test('an address that comes back counts, one that is new does not', () => {
  assert.equal(returnsIn(['a', 'a', 'b', 'c']), 0)
  assert.equal(returnsIn(['a', 'b', 'a', 'b']), 2)
  assert.equal(returnsIn([]), 0)
})

test('every check that there is has a test of its name', async () => {
  const { readFile } = await import('node:fs/promises')
  const text = await readFile(new URL(import.meta.url), 'utf8')
  const untested = SECURITY_CHECKS.filter((check) => !text.includes(`test('${check}`) && !text.includes(`and ${check}:`))
  assert.deepEqual(untested, [])
})
