import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { test } from 'node:test'
import { testConfig } from '../testing/station.ts'
import { checkDeviceNames, checkProfile, deviceProfile, ProfileError, serverProfile, type ProfileRule } from './profile.ts'

const DAY_MS = 86_400_000

function spki(key: { publicKey: KeyObject }): Buffer {
  return key.publicKey.export({ format: 'der', type: 'spki' })
}
const P256 = spki(generateKeyPairSync('ec', { namedCurve: 'P-256' }))
const P384 = spki(generateKeyPairSync('ec', { namedCurve: 'P-384' }))
const P521 = spki(generateKeyPairSync('ec', { namedCurve: 'P-521' }))
const ED25519 = spki(generateKeyPairSync('ed25519'))
const RSA_2048 = spki(generateKeyPairSync('rsa', { modulusLength: 2_048 }))
const RSA_1024 = spki(generateKeyPairSync('rsa', { modulusLength: 1_024 }))
const RSA_EXPONENT_3 = spki(generateKeyPairSync('rsa', { modulusLength: 2_048, publicExponent: 3 }))
const names = { alternativeNames: ['urn:fleetpulse:acme:d1'] }

function refusedFor(rule: ProfileRule, says: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof ProfileError, String(error))
    assert.equal(error.code, 'PROFILE_REFUSED')
    assert.equal(error.rule, rule)
    assert.match(error.message, says)
    return true
  }
}

test('the device profile takes P-256, P-384 and RSA of 2048 to 4096 bits, and says what it takes', () => {
  const profile = deviceProfile(testConfig())
  for (const publicKey of [P256, P384, RSA_2048]) assert.equal(checkProfile(profile, { publicKey, ...names }), 365 * DAY_MS)
  for (const publicKey of [P521, ED25519, RSA_1024, RSA_EXPONENT_3, Buffer.from('no key')]) {
    assert.throws(() => checkProfile(profile, { publicKey, ...names }), refusedFor('key', /^The device profile refuses the certificate: /))
  }
  const onlyP384 = deviceProfile(testConfig({ deviceKeyTypes: ['ecdsa-p384'] }))
  assert.equal(checkProfile(onlyP384, { publicKey: P384, ...names }), 365 * DAY_MS)
  for (const publicKey of [P256, RSA_2048]) {
    assert.throws(() => checkProfile(onlyP384, { publicKey, ...names }), refusedFor('key', /allowed: ECDSA P-384\.$/))
  }
})

test('no longer than the profile, for no other purpose, with no more names', () => {
  const profile = deviceProfile(testConfig({ deviceLifetimeDays: 10 }))
  const request = { publicKey: P256, ...names }
  assert.equal(checkProfile(profile, { ...request, lifetimeMs: DAY_MS }), DAY_MS)
  for (const lifetimeMs of [10 * DAY_MS + 1, 0, -1, Number.NaN, Infinity]) {
    assert.throws(() => checkProfile(profile, { ...request, lifetimeMs }), refusedFor('lifetime', /at most 864000000/))
  }
  assert.throws(() => checkProfile(profile, { ...request, purpose: 'serverAuth' }), refusedFor('purpose', /allowed: clientAuth/))
  assert.throws(() => checkProfile(profile, { ...request, alternativeNames: [] }), refusedFor('names', /allowed: 1 to 1/))
  assert.throws(() => checkProfile(profile, { ...request, alternativeNames: ['a', 'b'] }), refusedFor('names', /carry 2/))
  assert.equal(checkProfile(serverProfile(testConfig()), { publicKey: P256, alternativeNames: ['a', 'b'] }), 180 * DAY_MS)
})

test('names are held to the tenant', () => {
  const profile = deviceProfile(testConfig())
  const holder = { tenant: 'acme', device: 'd1' }
  assert.equal(checkDeviceNames(profile, holder), 'urn:fleetpulse:acme:d1')
  assert.equal(checkDeviceNames(profile, holder, ['urn:fleetpulse:acme:d1']), 'urn:fleetpulse:acme:d1')
  assert.throws(() => checkDeviceNames(profile, holder, ['urn:fleetpulse:acme:d2']), refusedFor('names', /is another device/))
  assert.throws(() => checkDeviceNames(profile, holder, ['urn:fleetpulse:other:d1']), refusedFor('names', /is of another tenant/))
  assert.throws(() => checkDeviceNames(profile, holder, ['https://x']), refusedFor('names', /is not a device name/))
  for (const bad of [
    { tenant: 'Acme:x', device: 'd1' },
    { tenant: 'acme', device: 'd1:x' },
    { tenant: 'acme', device: '' },
  ]) {
    assert.throws(() => checkDeviceNames(profile, bad), refusedFor('names', /is not/))
  }
})
