import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceUri, identityOfCertificate, identityOfUri } from './device-identity.ts'

test('the URI of a device reads back as the device', () => {
  assert.deepEqual(identityOfUri(deviceUri('acme', 'Pump_1.a-b')), { tenant: 'acme', device: 'Pump_1.a-b' })
})

test('a certificate names a device by one URI of ours and a CN that agrees', () => {
  const expected = { tenant: 'acme', device: 'd1' }
  assert.deepEqual(identityOfCertificate('d1', 'URI:urn:fleetpulse:acme:d1'), expected)
  assert.deepEqual(identityOfCertificate('d1', 'DNS:host, URI:https://example.org, URI:urn:fleetpulse:acme:d1'), expected)
})

test('anything else names nobody', () => {
  const cases: [unknown, string | undefined][] = [
    ['d1', undefined],
    ['d1', ''],
    ['d2', 'URI:urn:fleetpulse:acme:d1'],
    [['d1', 'd2'], 'URI:urn:fleetpulse:acme:d1'],
    [undefined, 'URI:urn:fleetpulse:acme:d1'],
    ['d1', 'URI:urn:fleetpulse:acme:d1, URI:urn:fleetpulse:other:d1'],
    ['d1', 'DNS:urn:fleetpulse:acme:d1'],
    ['d1', 'DNS:"x, URI:urn:fleetpulse:acme:d1"'],
    ['d1', 'DNS:"x, URI:urn:fleetpulse:acme:d1, y"'],
    ['d1', 'DNS:"x\\", URI:urn:fleetpulse:acme:d1, y"'],
    ['d1', 'URI:urn:fleetpulse:ACME:d1'],
    ['d1', 'URI:urn:fleetpulse:acme:d1:extra'],
    ['', 'URI:urn:fleetpulse:acme:'],
  ]
  for (const [commonName, subjectAltName] of cases)
    assert.equal(identityOfCertificate(commonName, subjectAltName), undefined, subjectAltName)
})
