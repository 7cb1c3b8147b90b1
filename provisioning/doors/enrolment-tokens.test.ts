import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ConflictError, InvalidInputError, LimitError } from '../../kernel/errors.ts'
import { VirtualClock, systemClock } from '../../kernel/time.ts'
import { newDeviceRequest } from './device-bundle.ts'
import { startStation, TENANT, type Station } from '../testing/station.ts'

let station: Station
let clock: VirtualClock
before(async () => {
  clock = new VirtualClock(systemClock.nowMs())
  station = await startStation({ tokenLifetimeMs: 60_000, tokenSweepIntervalMs: 3_600_000, tokensMax: 40 }, clock)
})
after(() => station.stop())

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}

test('a token registers the device, has 256 bits, and is stored as a hash alone', async () => {
  const { token, expiresAt } = await station.tokens.create({ tenant: TENANT, deviceId: 't1', type: 'pump', by: 'user:ada' })
  assert.match(token, /^[A-Za-z0-9_-]{43}$/)
  assert.equal(expiresAt, clock.nowMs() + 60_000)
  assert.equal((await station.registrar.findDevice(TENANT, 't1'))?.type, 'pump')
  const collection = await station.stores.documents.collection<object>({
    name: 'enrolment-tokens',
    indexes: [{ name: 'by-expiry', paths: ['expiresAt'] }],
  })
  const stored = JSON.stringify(await collection.find({}))
  assert.match(stored, /"device":"t1"/)
  assert.ok(!stored.includes(token))
})

test('of many uses at the same time exactly one gets a certificate', async () => {
  const token = await station.token('racer')
  const requests = await Promise.all(Array.from({ length: 16 }, () => newDeviceRequest('racer')))
  const outcomes = await Promise.all(requests.map(({ csrPem }) => station.enrolment.enrolWithToken('racer', token, derOf(csrPem))))
  assert.equal(outcomes.filter((outcome) => outcome.status === 'issued').length, 1)
  assert.equal(outcomes.filter((outcome) => outcome.status === 'refused' && outcome.reason === 'credential-refused').length, 15)
  assert.equal((await station.certificates.list({ tenant: TENANT, device: 'racer', limit: 20 })).items.length, 1)
})

test('another device, a wrong token and an expired one are refused alike', async () => {
  const token = await station.token('t2')
  const csr = derOf((await newDeviceRequest('t2')).csrPem)
  const details = new Set<string>()
  const refuse = async (deviceId: string, candidate: string): Promise<void> => {
    const outcome = await station.enrolment.enrolWithToken(deviceId, candidate, csr)
    assert.equal(outcome.status, 'refused')
    if (outcome.status === 'refused') details.add(`${outcome.reason}: ${outcome.detail}`)
  }
  await refuse('t3', token)
  await refuse('t2', `${token}x`)
  await refuse('t2', '')
  await clock.advance(60_000)
  await refuse('t2', token)
  assert.equal(details.size, 1)
  assert.deepEqual(await station.tokens.check('t2', token), { status: 'refused', reason: 'expired' })
})

test('a bad request or a suspended device does not cost the token', async () => {
  const token = await station.token('t4')
  const good = derOf((await newDeviceRequest('t4')).csrPem)
  assert.equal((await station.enrolment.enrolWithToken('t4', token, Buffer.from('nonsense'))).status, 'refused')
  station.registrar.setState(TENANT, 't4', 'suspended')
  const outcome = await station.enrolment.enrolWithToken('t4', token, good)
  assert.equal(outcome.status === 'refused' && outcome.reason, 'device-refused')
  station.registrar.setState(TENANT, 't4', 'registered')
  assert.equal((await station.enrolment.enrolWithToken('t4', token, good)).status, 'issued')
  assert.equal((await station.registrar.findDevice(TENANT, 't4'))?.state, 'provisioned')
})

test('ids, types and states that cannot be are refused by field', async () => {
  const create = (deviceId: string, type?: string): Promise<unknown> =>
    station.tokens.create({ tenant: TENANT, deviceId, by: 'user:ada', ...(type === undefined ? {} : { type }) })
  for (const deviceId of ['', '../x', 'a b', '.hidden', 'x'.repeat(65)]) await assert.rejects(create(deviceId), InvalidInputError)
  await assert.rejects(
    create('t5', 'no-such-type'),
    (error: unknown) => error instanceof InvalidInputError && error.details['field'] === 'type',
  )
  await create('t6', 'pump')
  await assert.rejects(create('t6', 'generic'), ConflictError)
  station.registrar.setState(TENANT, 't6', 'decommissioned')
  await assert.rejects(create('t6'), ConflictError)
})

test('there is a bound, and expired tokens make room', async () => {
  await assert.rejects(async () => {
    for (;;) await station.token('many')
  }, LimitError)
  await clock.advance(3_700_000)
  await station.tokens.sweep()
  await station.token('many')
})
