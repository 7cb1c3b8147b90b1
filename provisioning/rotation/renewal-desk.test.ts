import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { afterEach, beforeEach, test } from 'node:test'
import fc from 'fast-check'
import type { CertificateNotice } from '../../contracts/renewal.ts'
import { newDeviceRequest } from '../doors/device-bundle.ts'
import { openssl, skipWithout } from '../testing/openssl.ts'
import { TENANT } from '../testing/station.ts'
import { derOf, HOUR_MS, RotationWorld } from '../testing/rotation-world.ts'

/* Renewal over MQTT as the registry's process sees it: what edges wrote down comes in, answers for edges go out. */

let world: RotationWorld
beforeEach(async () => {
  world = await RotationWorld.open({ graceMs: 10 * HOUR_MS, renewalsMax: 3 })
})
afterEach(() => world.close())

/** The `count`th thing that the device was told. */
async function told(device: string, count: number): Promise<CertificateNotice> {
  await world.settled(async () => (await world.notices(device)).length >= count)
  return (await world.notices(device))[count - 1] as CertificateNotice
}

async function issued(device: string, count: number): Promise<Extract<CertificateNotice, { status: 'issued' }>> {
  const notice = await told(device, count)
  assert.equal(notice.status, 'issued', JSON.stringify(notice))
  return notice
}

test('a request is answered with a certificate for its key; the old one goes with the first use of the new one', async () => {
  const { certificate } = await world.enrol('d1')
  const { keyPem, csrPem } = await newDeviceRequest('d1')
  await world.ask('d1', certificate.serial, csrPem)
  const answer = await issued('d1', 1)
  const leaf = new X509Certificate(answer.certificate)
  assert.ok(leaf.checkPrivateKey((await import('node:crypto')).createPrivateKey(keyPem)))
  assert.equal(leaf.subject, `O=${TENANT}\nCN=d1`)
  assert.equal(answer.certificate.match(/BEGIN CERTIFICATE/g)?.length, 2, 'leaf and issuing CA')
  await world.pass(1)
  assert.equal(await world.stateOf(certificate.serial), 'valid', 'nobody has seen the new one in use')
  await world.connected('d1', answer.serial)
  await world.settled(async () => (await world.stateOf(certificate.serial)) === 'revoked: superseded')
  assert.equal(await world.stateOf(answer.serial), 'valid')
  await world.pass(50)
  assert.deepEqual(await world.anomalies('d1'), [])
})

test('asked again for the same key, by a device that lost the answer or a log read again, it answers the same certificate', async () => {
  const { certificate } = await world.enrol('d1')
  const { csrPem } = await newDeviceRequest('d1')
  for (const payload of [csrPem, derOf(csrPem), derOf(csrPem).toString('base64'), JSON.stringify({ csr: csrPem })]) {
    const isJson = typeof payload === 'string' && payload.startsWith('{')
    if (isJson) {
      const body: unknown = JSON.parse(payload)
      await world.say({
        tenant: TENANT,
        device: 'd1',
        kind: 'certificate-renew',
        serial: certificate.serial,
        receivedAt: world.clock.nowMs(),
        correlationId: 'c',
        body,
      })
    } else await world.ask('d1', certificate.serial, payload)
  }
  const serials = new Set(
    [await issued('d1', 1), await issued('d1', 2), await issued('d1', 3), await issued('d1', 4)].map(({ serial }) => serial),
  )
  assert.equal(serials.size, 1)
})

test('unused, the new certificate ends the old one after the grace; counted from the last one that was asked for; over a restart', async () => {
  const { certificate } = await world.enrol('d1')
  await world.ask('d1', certificate.serial, (await newDeviceRequest('d1')).csrPem)
  const first = await issued('d1', 1)
  await world.pass(6)
  await world.ask('d1', certificate.serial, (await newDeviceRequest('d1')).csrPem)
  const second = await issued('d1', 2)
  await world.pass(5)
  assert.deepEqual([await world.stateOf(certificate.serial), await world.stateOf(first.serial)], ['valid', 'valid'])
  await world.restart()
  await world.pass(6)
  assert.deepEqual(
    [await world.stateOf(certificate.serial), await world.stateOf(first.serial), await world.stateOf(second.serial)],
    ['revoked: superseded', 'revoked: superseded', 'valid'],
  )
})

test('of two certificates in the place of one, the one in use stays; a newer one that nobody uses goes after its grace', async () => {
  const { certificate } = await world.enrol('d1')
  await world.ask('d1', certificate.serial, (await newDeviceRequest('d1')).csrPem)
  const first = await issued('d1', 1)
  await world.pass(1)
  await world.ask('d1', certificate.serial, (await newDeviceRequest('d1')).csrPem)
  const second = await issued('d1', 2)
  await world.connected('d1', first.serial)
  await world.settled(async () => (await world.stateOf(certificate.serial)) === 'revoked: superseded')
  assert.equal(await world.stateOf(second.serial), 'valid', 'the device may be about to use it')
  await world.pass(12)
  assert.deepEqual([await world.stateOf(first.serial), await world.stateOf(second.serial)], ['valid', 'revoked: superseded'])
})

test('two renewals in a row leave one certificate, although the use of the first was never told', async () => {
  const { certificate } = await world.enrol('d1')
  await world.ask('d1', certificate.serial, (await newDeviceRequest('d1')).csrPem)
  const first = await issued('d1', 1)
  await world.ask('d1', first.serial, (await newDeviceRequest('d1')).csrPem)
  const second = await issued('d1', 2)
  await world.pass(1)
  assert.equal(await world.stateOf(certificate.serial), 'revoked: superseded', 'whoever renews with a certificate has used it')
  await world.connected('d1', second.serial)
  await world.settled(async () => (await world.stateOf(first.serial)) === 'revoked: superseded')
  assert.equal(await world.stateOf(second.serial), 'valid')
})

test('a revoked successor gives the follow-up back to the old certificate', async () => {
  const { certificate } = await world.enrol('d1')
  await world.ask('d1', certificate.serial, (await newDeviceRequest('d1')).csrPem)
  const answer = await issued('d1', 1)
  await world.pass(1)
  await world.certificates.revoke(TENANT, answer.serial, 'keyCompromise')
  await world.pass(66)
  assert.equal((await told('d1', 2)).status, 'due')
  await world.pass(20)
  assert.deepEqual(
    (await world.anomalies('d1')).map(({ explanation }) => explanation.parameters.serial),
    [certificate.serial],
  )
})

test('what is refused is told with the rule that it broke, and nothing is issued', { skip: skipWithout('openssl') }, async () => {
  const { certificate } = await world.enrol('d1')
  await world.enrol('d2')
  const suspended = await world.enrol('d3')
  world.registrar.setState(TENANT, 'd3', 'suspended')
  const revoked = await world.enrol('d4')
  await world.certificates.revoke(TENANT, revoked.certificate.serial, 'keyCompromise')
  const own = derOf((await newDeviceRequest('d1')).csrPem)
  const unproved = Buffer.from(own)
  unproved[unproved.length - 3] = (unproved[unproved.length - 3] as number) ^ 1
  const weak = await openssl(['req', '-new', '-newkey', 'rsa:1024', '-nodes', '-keyout', '/dev/null', '-subj', '/CN=d1'])
  const cases: [string, string, string | undefined, string | Uint8Array, string][] = [
    ['another device’s name', 'd1', certificate.serial, (await newDeviceRequest('d2')).csrPem, 'other-identity'],
    ['another device’s certificate', 'd2', certificate.serial, (await newDeviceRequest('d2')).csrPem, 'credential-refused'],
    ['no possession', 'd1', certificate.serial, unproved, 'possession-not-proved'],
    ['a weak key', 'd1', certificate.serial, weak, 'key-not-allowed'],
    ['no certificate', 'd1', undefined, own, 'no-certificate'],
    ['an unknown certificate', 'd1', 'AB12', own, 'credential-refused'],
    ['a revoked certificate', 'd4', revoked.certificate.serial, (await newDeviceRequest('d4')).csrPem, 'credential-refused'],
    ['a suspended device', 'd3', suspended.certificate.serial, (await newDeviceRequest('d3')).csrPem, 'device-refused'],
    ['nothing', 'd1', certificate.serial, '', 'malformed'],
    ['too much', 'd1', certificate.serial, Buffer.alloc(100_000, 0x30), 'malformed'],
    ['no request', 'd1', certificate.serial, 'please', 'malformed'],
  ]
  const counts = new Map<string, number>()
  for (const [what, device, serial, payload, reason] of cases) {
    await world.ask(device, serial, payload)
    const count = (counts.get(device) ?? 0) + 1
    counts.set(device, count)
    const notice = await told(device, count)
    assert.deepEqual([what, notice.status, notice.status === 'refused' && notice.reason], [what, 'refused', reason])
    assert.ok(notice.status === 'refused' && notice.detail.length > 10 && !/ at .*\.js/.test(notice.detail), what)
  }
  const { items } = await world.certificates.list({ tenant: TENANT, limit: 50 })
  assert.equal(items.length, 4, 'nothing was issued')
})

test('an expired session may not renew, and one certificate does not give many', async () => {
  const { certificate } = await world.enrol('d1')
  for (let count = 1; count <= 3; count++) {
    await world.ask('d1', certificate.serial, (await newDeviceRequest('d1')).csrPem)
    await issued('d1', count)
  }
  await world.ask('d1', certificate.serial, (await newDeviceRequest('d1')).csrPem)
  const fourth = await told('d1', 4)
  assert.deepEqual([fourth.status, fourth.status === 'refused' && fourth.reason], ['refused', 'too-many-renewals'])
  const other = await world.enrol('d2')
  await world.ask('d2', other.certificate.serial, (await newDeviceRequest('d2')).csrPem, other.certificate.notAfter + 1)
  const late = await told('d2', 1)
  assert.match(late.status === 'refused' ? late.detail : '', /expired/)
})

test('whatever bytes a device sends, it is answered, and the next one is served', async () => {
  const { certificate } = await world.enrol('d1')
  let count = 0
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      await world.ask('d1', certificate.serial, bytes)
      assert.equal((await told('d1', ++count)).status, 'refused')
    }),
    { numRuns: 40 },
  )
  await world.ask('d1', certificate.serial, (await newDeviceRequest('d1')).csrPem)
  await issued('d1', count + 1)
})
