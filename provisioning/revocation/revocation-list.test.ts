import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock, VirtualClock } from '../../kernel/time.ts'
import { newPrivateKeyPem } from '../ca/ca-key.ts'
import type { StoredCertificate } from '../certificates.ts'
import { publicKeyOf } from '../ca/make-pki.ts'
import { openssl, run, skipWithout } from '../testing/openssl.ts'
import { startStation, type Station } from '../testing/station.ts'

const HOUR_MS = 3_600_000
const withoutOpenssl = { skip: skipWithout('openssl') }
let station: Station
let clock: VirtualClock

before(async () => {
  clock = new VirtualClock(systemClock.nowMs())
  station = await startStation({ deviceLifetimeDays: 10 }, clock)
})
after(() => station.stop())

async function issue(device: string): Promise<StoredCertificate> {
  return station.issue({ tenant: 'acme', device, publicKey: publicKeyOf(await newPrivateKeyPem()) })
}

async function crlText(): Promise<string> {
  return openssl(['crl', '-inform', 'DER', '-noout', '-text'], (await station.revocationList.current()).der)
}

test('openssl refuses the revoked certificate by the CRL, and takes the other', withoutOpenssl, async () => {
  const [revoked, valid] = [await issue('revoked'), await issue('valid')]
  const path = (name: string): string => join(station.folder, name)
  await writeFile(path('ca.pem'), station.authority.caPem)
  await writeFile(path('revoked.pem'), revoked.pem)
  await writeFile(path('valid.pem'), valid.pem)
  const verify = async (name: string): Promise<{ code: number | null; stderr: string }> => {
    const crl = await openssl(['crl', '-inform', 'DER'], (await station.revocationList.current()).der)
    await writeFile(path('crl.pem'), crl)
    const at = String(Math.floor(clock.nowMs() / 1_000))
    return run('openssl', [
      'verify',
      '-x509_strict',
      '-attime',
      at,
      '-crl_check',
      '-CRLfile',
      path('crl.pem'),
      '-CAfile',
      path('ca.pem'),
      path(name),
    ])
  }
  assert.match(await crlText(), /No Revoked Certificates/)
  assert.equal((await verify('revoked.pem')).code, 0)
  await station.certificates.revoke('acme', revoked.serial, 'keyCompromise')
  const refused = await verify('revoked.pem')
  assert.notEqual(refused.code, 0)
  assert.match(refused.stderr, /certificate revoked/)
  assert.equal((await verify('valid.pem')).code, 0)
})

test('entries carry serial and reason; unspecified is said by leaving it out', withoutOpenssl, async () => {
  const [held, unspecified] = [await issue('d1'), await issue('d2')]
  await station.certificates.revoke('acme', held.serial, 'certificateHold')
  await station.certificates.revoke('acme', unspecified.serial, 'unspecified')
  const text = await crlText()
  const entries = text.split('Serial Number: ').slice(1)
  assert.match(entries.find((entry) => entry.startsWith(held.serial)) ?? '', /Certificate Hold/)
  assert.doesNotMatch(
    (entries.find((entry) => entry.startsWith(unspecified.serial)) ?? 'absent').split('Signature')[0] ?? '',
    /Reason|absent/,
  )
})

test('it is signed anew when something was revoked and before it ends, with a growing number, and not otherwise', async () => {
  const first = await station.revocationList.current()
  assert.equal(await station.revocationList.current(), first)
  await station.certificates.revoke('acme', (await issue('d3')).serial, 'superseded')
  const crowd = await Promise.all(Array.from({ length: 20 }, () => station.revocationList.current()))
  const second = crowd[0]
  assert.ok(second !== undefined && second.number > first.number)
  assert.ok(
    crowd.every((crl) => crl === second),
    'one signing serves all who ask',
  )
  await clock.advance(11 * HOUR_MS)
  assert.equal(await station.revocationList.current(), second)
  await clock.advance(2 * HOUR_MS)
  const third = await station.revocationList.current()
  assert.ok(third.number > second.number)
  assert.equal(third.nextUpdateMs, clock.nowMs() + 24 * HOUR_MS)
})

test('a delta CRL brings whoever holds an older full one up to date', withoutOpenssl, async () => {
  const own = await startStation({}, clock)
  try {
    const path = (name: string): string => join(own.folder, name)
    const make = async (device: string): Promise<StoredCertificate> => {
      const record = await own.issue({ tenant: 'acme', device, publicKey: publicKeyOf(await newPrivateKeyPem()) })
      await writeFile(path(`${device}.pem`), record.pem)
      return record
    }
    const [early, late, valid] = [await make('early'), await make('late'), await make('valid')]
    await own.certificates.revoke('acme', early.serial, 'superseded')
    const full = await own.revocationList.current()
    await clock.advance(60_000)
    await own.certificates.revoke('acme', late.serial, 'keyCompromise')
    const delta = await own.revocationList.delta()
    const text = await openssl(['crl', '-inform', 'DER', '-noout', '-text'], delta.der)
    assert.match(text, new RegExp(`Delta CRL Indicator: critical\\s+${full.number}\\s`))
    assert.match(text, new RegExp(late.serial))
    assert.doesNotMatch(text, new RegExp(early.serial))
    // §5.2.4: of the same number, they say the same.
    const newest = await own.revocationList.current()
    assert.equal(newest.number, delta.number)
    assert.match(await openssl(['crl', '-inform', 'DER', '-noout', '-text'], newest.der), /X509v3 Freshest CRL:[^]*issuing\.delta\.crl/)
    await writeFile(path('ca.pem'), own.authority.caPem)
    await writeFile(
      path('crls.pem'),
      (await openssl(['crl', '-inform', 'DER'], full.der)) + (await openssl(['crl', '-inform', 'DER'], delta.der)),
    )
    await writeFile(path('full.pem'), await openssl(['crl', '-inform', 'DER'], full.der))
    const verify = (name: string, crls: string, ...more: string[]): Promise<{ code: number | null; stderr: string }> =>
      run('openssl', [
        ...['verify', '-x509_strict', '-attime', String(Math.floor(clock.nowMs() / 1_000)), '-crl_check', '-CRLfile', path(crls), ...more],
        ...['-CAfile', path('ca.pem'), path(`${name}.pem`)],
      ])
    assert.equal((await verify('late', 'full.pem')).code, 0, 'the old full CRL alone does not know')
    assert.match((await verify('late', 'crls.pem', '-extended_crl', '-use_deltas')).stderr, /certificate revoked/)
    assert.match((await verify('early', 'crls.pem', '-extended_crl', '-use_deltas')).stderr, /certificate revoked/)
    assert.equal((await verify('valid', 'crls.pem', '-extended_crl', '-use_deltas')).code, 0)
    assert.equal(valid.state, 'valid')
    // As long as a full one of this run may be used, deltas build on it; the delta renews itself in its own, shorter time.
    await clock.advance(HOUR_MS * 0.6)
    const next = await own.revocationList.delta()
    assert.ok(next.number > delta.number)
    assert.match(await openssl(['crl', '-inform', 'DER', '-noout', '-text'], next.der), new RegExp(late.serial))
    await clock.advance(30 * HOUR_MS)
    assert.match(
      await openssl(['crl', '-inform', 'DER', '-noout', '-text'], (await own.revocationList.delta()).der),
      /No Revoked Certificates/,
    )
  } finally {
    await own.stop()
  }
})

test('an expired certificate leaves the list, one CRL lifetime later', withoutOpenssl, async () => {
  const { serial } = await issue('d4')
  await station.certificates.revoke('acme', serial, 'superseded')
  await clock.advance(10 * 24 * HOUR_MS + HOUR_MS)
  assert.match(await crlText(), new RegExp(serial))
  await clock.advance(25 * HOUR_MS)
  assert.doesNotMatch(await crlText(), new RegExp(serial))
})

test('numbers grow across restarts', async () => {
  const before = await station.revocationList.current()
  await station.revocationList.stop()
  await station.revocationList.start()
  assert.ok((await station.revocationList.current()).number > before.number)
})
