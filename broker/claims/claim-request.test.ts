import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { authorise, type Principal } from '../../contracts/authorisation.ts'
import { claimName } from '../../contracts/credential.ts'
import { isDeviceId } from '../../contracts/device.ts'
import { CLAIM_REQUEST_BYTES_MAX, readClaimRequest } from './claim-request.ts'

const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

test('a request is PEM or base64, under a name', () => {
  const pem = '-----BEGIN CERTIFICATE REQUEST-----\nMIIB\nAgME\n-----END CERTIFICATE REQUEST-----\n'
  assert.deepEqual(readClaimRequest(bytes({ device: 'd1', csr: pem })), { status: 'read', device: 'd1', csrBase64: 'MIIBAgME' })
  assert.deepEqual(readClaimRequest(bytes({ device: 'd1', csr: 'MIIB' })), { status: 'read', device: 'd1', csrBase64: 'MIIB' })
})

test('anything else is refused in words', () => {
  const wrong: [Uint8Array, RegExp][] = [
    [Buffer.alloc(0), /no JSON/],
    [Buffer.from('{'), /no JSON/],
    [bytes([]), /must be/],
    [bytes({ device: 'd1' }), /csr is missing/],
    [bytes({ device: 1, csr: 'MIIB' }), /device/],
    [bytes({ device: 'd1', csr: 'MIIB', type: 'pump' }), /type is not a known key/],
    [bytes({ device: 'd1', csr: 'not base64!' }), /neither PEM nor base64/],
    [Buffer.alloc(CLAIM_REQUEST_BYTES_MAX + 1, 0x20), /longer than/],
  ]
  for (const [payload, says] of wrong) {
    const reading = readClaimRequest(payload)
    assert.match(reading.status === 'refused' ? reading.detail : '', says)
  }
})

test('any bytes: an answer, never a throw', () => {
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.json().map((text) => Buffer.from(text)),
  )
  fc.assert(
    fc.property(payload, (given) => {
      const reading = readClaimRequest(given)
      if (reading.status === 'read') assert.match(reading.csrBase64, /^[A-Za-z0-9+/]+={0,2}$/)
    }),
    { numRuns: 1_000 },
  )
})

test('a claim may use its two topics and nothing else, and is no device under any name', () => {
  const claim: Principal = { kind: 'claim', id: claimName('line-7'), tenant: 'default', roles: [] }
  const may = (action: 'publish' | 'subscribe', id: string, tenant = 'default'): boolean =>
    authorise(claim, action, { tenant, kind: 'topic', id })
  assert.ok(
    may('publish', 'provisioning/r1/request') &&
      may('subscribe', 'provisioning/r1/response') &&
      may('subscribe', 'provisioning/+/response'),
  )
  assert.ok(!may('publish', 'provisioning/r1/request', 'acme'))
  const foreign = [
    '#',
    '+/#',
    'provisioning/#',
    'provisioning/+/request',
    'provisioning/a/b/request',
    'devices/line-7/telemetry',
    'devices/claim:line-7/telemetry',
    '$share/x/provisioning/+/response',
    '',
  ]
  for (const id of foreign) assert.ok(!may('subscribe', id) && !may('publish', id), id)
  assert.ok(
    !may('publish', 'provisioning/r1/response') &&
      !may('subscribe', 'provisioning/r1/request') &&
      !may('publish', 'provisioning/+/request'),
  )
  fc.assert(
    fc.property(
      fc.string(),
      fc.string(),
      (device, rest) => !may('publish', `devices/${device}/${rest}`) && !may('subscribe', `devices/${device}/${rest}`),
    ),
  )
  for (const kind of ['certificate', 'session', 'devices', 'claims']) {
    for (const action of ['read', 'write', 'enrol', 'revoke'] as const)
      assert.ok(!authorise(claim, action, { tenant: 'default', kind, id: 'line-7' }))
  }
  fc.assert(fc.property(fc.string(), (id) => !isDeviceId(claimName(id))))
})
