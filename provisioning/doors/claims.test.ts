import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { claimName, type ClaimCredential, type DoorAnswer, type GrantedCertificate } from '../../contracts/credential.ts'
import { identityOfCertificate } from '../../contracts/device-identity.ts'
import { isDeviceId } from '../../contracts/device.ts'
import { ConflictError, InvalidInputError, LimitError } from '../../kernel/errors.ts'
import { systemClock, type Clock, type Timer } from '../../kernel/time.ts'
import { fitsPattern } from './claims.ts'
import { newDeviceRequest } from './device-bundle.ts'
import { startStation, TENANT, type Station } from '../testing/station.ts'

/** Wall time that can be moved on, and back; timers are real. */
class ShiftedClock implements Clock {
  shiftMs = 0
  nowMs(): number {
    return systemClock.nowMs() + this.shiftMs
  }
  monotonicMs(): number {
    return systemClock.monotonicMs()
  }
  after(delayMs: number, run: () => void): Timer {
    return systemClock.after(delayMs, run)
  }
}

const clock = new ShiftedClock()
let station: Station
let sequence = 0

before(async () => (station = await startStation({}, clock, { claimDevicesMax: 1_000, claimLifetimeMs: 3_600_000, claimsMax: 20 })))
after(() => station.stop())

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}

async function newRequest(name: string): Promise<string> {
  return derOf((await newDeviceRequest(name)).csrPem).toString('base64')
}

async function newClaim(
  devicesMax: number,
  changes: { devices?: string; type?: string; lifetimeMs?: number; tenant?: string } = {},
): Promise<ClaimCredential> {
  const id = `claim-${sequence++}`
  const { tenant = TENANT, devices = '*', type = null, lifetimeMs } = changes
  const { claim } = await station.claims.create({
    ...{ tenant, id, devices, type, devicesMax, labels: {}, by: 'user:tester', csrDer: derOf((await newDeviceRequest(id)).csrPem) },
    ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
  })
  return { kind: 'claim', tenant, claim: id, serial: claim.serial }
}

async function ask(credential: ClaimCredential, device: string, csrBase64?: string): Promise<DoorAnswer<GrantedCertificate>> {
  return station.doors.claimDoor.ask({
    credential,
    device,
    csrBase64: csrBase64 ?? (await newRequest('x')),
    requestId: '1',
    origin: '10.0.0.1',
  })
}

async function refusal(credential: ClaimCredential, device: string, csrBase64?: string): Promise<string> {
  const answer = await ask(credential, device, csrBase64)
  assert.equal(answer.status, 'refused', `${device} was let in`)
  return answer.status === 'refused' ? `${answer.reason}: ${answer.detail}` : ''
}

test('a claim certificate names no device, to any reader of names, and is on record as none', async () => {
  const credential = await newClaim(1)
  const record = await station.certificates.get(TENANT, credential.serial)
  const leaf = new X509Certificate(record.pem)
  assert.equal(identityOfCertificate(claimName(credential.claim), leaf.subjectAltName), undefined)
  assert.equal(identityOfCertificate(credential.claim, leaf.subjectAltName), undefined)
  assert.equal(leaf.subjectAltName, `URI:urn:fleetpulse-claim:default:${credential.claim}`)
  assert.equal(isDeviceId(record.device), false)
  const reading = station.trust.read(leaf.toLegacyObject())
  assert.deepEqual(reading, { status: 'read', credential: { ...credential, issuer: record.issuer } })
})

test('200 devices at once through a claim for 25: 25 come in, and the count says so', async () => {
  const credential = await newClaim(25)
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => ask(credential, `many-${i}`)))
  assert.equal(answers.filter(({ status }) => status === 'granted').length, 25)
  const reasons = answers.flatMap((answer) => (answer.status === 'refused' ? [answer.reason] : []))
  assert.deepEqual([...new Set(reasons)], ['exhausted'])
  assert.equal((await station.claims.get(TENANT, credential.claim)).devicesUsed, 25)
  const valid = await Promise.all(
    Array.from({ length: 200 }, (_, i) => station.certificates.list({ tenant: TENANT, device: `many-${i}`, limit: 5 })),
  )
  assert.equal(valid.flatMap(({ items }) => items).length, 25, 'no certificate beyond them was signed')
})

test('one device that asks many times at once counts once; with several keys one of them wins', async () => {
  const credential = await newClaim(10)
  const csr = await newRequest('same')
  const same = await Promise.all(Array.from({ length: 10 }, () => ask(credential, 'same-1', csr)))
  assert.deepEqual([...new Set(same.map(({ status }) => status))], ['granted'])
  assert.equal((await station.claims.get(TENANT, credential.claim)).devicesUsed, 1)
  const keys = await Promise.all(Array.from({ length: 8 }, () => ask(credential, 'same-2')))
  assert.equal(keys.filter(({ status }) => status === 'granted').length, 1)
  assert.equal((await station.claims.get(TENANT, credential.claim)).devicesUsed, 2)
})

test('a replayed request gets the same certificate, as long as that stands', async () => {
  const credential = await newClaim(2)
  const csr = await newRequest('replay-1')
  const first = await ask(credential, 'replay-1', csr)
  const again = await ask(credential, 'replay-1', csr)
  assert.ok(first.status === 'granted' && again.status === 'granted')
  assert.equal(again.certificatePem, first.certificatePem)
  await station.certificates.revoke(TENANT, new X509Certificate(first.certificatePem).serialNumber, 'keyCompromise')
  assert.match(await refusal(credential, 'replay-1', csr), /device-refused: .* is revoked/)
})

test('a claim gives first certificates only: a device at work cannot be taken over', async () => {
  const credential = await newClaim(5)
  const token = await station.token('at-work')
  await station.enrolment.enrolWithToken('at-work', token, derOf((await newDeviceRequest('at-work')).csrPem))
  assert.match(await refusal(credential, 'at-work'), /a claim gives only first certificates/)
  assert.equal((await ask(credential, 'came-by-claim')).status, 'granted')
  assert.match(await refusal(credential, 'came-by-claim'), /first certificates/)
  for (const state of ['suspended', 'decommissioned'] as const) {
    await station.registrar.ensureRegistered(TENANT, `gone-${state}`, undefined, 'user:tester')
    station.registrar.setState(TENANT, `gone-${state}`, state)
    assert.match(await refusal(credential, `gone-${state}`), /device-refused/)
  }
  assert.equal((await station.claims.get(TENANT, credential.claim)).devicesUsed, 1)
})

test('registered devices come in as they were registered', async () => {
  await station.registrar.ensureRegistered(TENANT, 'listed', 'pump', 'user:tester')
  const credential = await newClaim(5)
  assert.equal((await ask(credential, 'listed')).status, 'granted')
  const device = await station.registrar.findDevice(TENANT, 'listed')
  assert.deepEqual([device?.type, device?.state], ['pump', 'provisioned'])
})

test('names outside the pattern, no names, weak keys, bad proofs and noise are refused in words and cost nothing', async () => {
  const credential = await newClaim(5, { devices: 'line-*-a' })
  assert.match(await refusal(credential, 'other'), /other-identity: the claim is not for a device of this name, but for line-\*-a/)
  for (const device of ['', '../x', 'line-/-a', `line-${'x'.repeat(80)}-a`])
    assert.match(await refusal(credential, device), /other-identity/)
  const tampered = Buffer.from(await newRequest('line-1-a'), 'base64')
  tampered.write('line-2-a', tampered.indexOf('line-1-a'))
  assert.match(await refusal(credential, 'line-1-a', tampered.toString('base64')), /possession-not-proved/)
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      assert.match(await refusal(credential, 'line-1-a', Buffer.from(bytes).toString('base64')), /^malformed/)
    }),
    { numRuns: 60 },
  )
  assert.equal((await station.claims.get(TENANT, credential.claim)).devicesUsed, 0)
})

test('an expired claim, one moved back in time, a revoked one and one of another tenant', async () => {
  const credential = await newClaim(5, { lifetimeMs: 60_000 })
  assert.equal((await ask(credential, 'in-time')).status, 'granted')
  clock.shiftMs = 61_000
  assert.match(await refusal(credential, 'too-late'), /credential-refused: the claim has expired/)
  assert.equal(station.trust.lapse(credential), 'the claim has expired')
  clock.shiftMs = 0
  assert.match(await refusal({ ...credential, tenant: 'other' }, 'elsewhere'), /not known/)
  assert.match(await refusal({ ...credential, serial: 'AB' }, 'old-serial'), /not known/)
  const { revoked } = await station.claims.revoke(TENANT, credential.claim, { by: 'user:tester', devices: true })
  assert.equal(revoked, 1, 'the device that it let in')
  assert.match(await refusal(credential, 'after'), /revoked/)
  assert.equal((await station.certificates.get(TENANT, credential.serial)).state, 'revoked')
  const again = await station.claims.revoke(TENANT, credential.claim, { by: 'user:tester' })
  assert.equal(again.revoked, 0)
  assert.deepEqual(station.auditTrail.actionsOn(credential.claim), ['claim.create', 'claim.revoke'])
})

test('two tenants may have a claim and devices of the same names', async () => {
  const [ours, theirs] = [await newClaim(2), await newClaim(2, { tenant: 'acme' })]
  assert.equal((await ask(ours, 'twin')).status, 'granted')
  const granted = await ask(theirs, 'twin')
  assert.ok(granted.status === 'granted')
  assert.equal(new X509Certificate(granted.certificatePem).subjectAltName, 'URI:urn:fleetpulse:acme:twin')
  assert.equal((await station.claims.get(TENANT, ours.claim)).devicesUsed, 1)
})

test('what cannot be a claim is refused with its field', async () => {
  const csrDer = derOf((await newDeviceRequest('c')).csrPem)
  const good = { tenant: TENANT, id: 'good', type: null, devices: '*', labels: {}, devicesMax: 1, by: 'user:tester', csrDer }
  const wrong: [object, RegExp][] = [
    [{ id: 'claim:x' }, /^id: /],
    [{ devices: '*-*' }, /^devices: /],
    [{ devicesMax: 1_001 }, /^devicesMax: .*claimDevicesMax/],
    [{ lifetimeMs: 3_600_001 }, /^lifetimeMs: /],
    [{ type: 'rocket' }, /^type: /],
    [{ csrDer: Buffer.from('x') }, /^csr: /],
  ]
  for (const [change, message] of wrong) {
    await assert.rejects(
      station.claims.create({ ...good, ...change }),
      (error: unknown) => error instanceof InvalidInputError && message.test(error.message),
    )
  }
  await station.claims.create(good)
  await assert.rejects(station.claims.create(good), ConflictError)
  for (let i = 0; i < 25; i++)
    await station.claims.create({ ...good, id: `fill-${i}` }).catch((error: unknown) => assert.ok(error instanceof LimitError))
  assert.equal((await station.claims.list(TENANT)).length, 20)
})

test('a pattern is compared letter by letter, with one star', () => {
  const part = fc.stringMatching(/^[a-z.-]{0,8}$/)
  fc.assert(
    fc.property(part, part, part, (before, inner, after) => {
      assert.ok(fitsPattern(`${before}*${after}`, before + inner + after))
      assert.equal(fitsPattern(before + inner, before + inner), true)
      assert.equal(fitsPattern(`${before}x*y${after}`, `${before}x`), false)
    }),
  )
})
