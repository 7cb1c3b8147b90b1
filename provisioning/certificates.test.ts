import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AuditedAct, AuditTrail } from '../contracts/audit.ts'
import { CRL_REASONS } from '../contracts/certificate.ts'
import { DEVICE_EVENT, type DeviceEvent } from '../contracts/device-event.ts'
import { DOWNLINKS_CANCELLED } from '../contracts/downlink.ts'
import { TOPICS } from '../contracts/topics.ts'
import { EnvironmentError, InvalidInputError, NotFoundError } from '../kernel/errors.ts'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { systemClock } from '../kernel/time.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { Certificates, type StoredCertificate } from './certificates.ts'
import { newPrivateKeyPem } from './ca/ca-key.ts'
import { publicKeyOf } from './ca/make-pki.ts'
import { startStation, type Station } from './testing/station.ts'

let station: Station
before(async () => (station = await startStation()))
after(() => station.stop())

async function issue(device: string, tenant = 'acme'): Promise<StoredCertificate> {
  return station.issue({ tenant, device, publicKey: publicKeyOf(await newPrivateKeyPem()) })
}

async function eventsOf(serial: string): Promise<DeviceEvent[]> {
  const records = await station.stores.records(TOPICS.deviceEvents)
  const events = records.map((record) => {
    assert.equal(record.schema, DEVICE_EVENT)
    return JSON.parse(Buffer.from(record.value).toString()) as DeviceEvent
  })
  return events.filter((event) => 'serial' in event && event.serial === serial)
}

test('what was issued is found by serial in any spelling, by its own tenant', async () => {
  const issued = await issue('d1')
  assert.equal(issued._id, issued.serial)
  assert.equal(issued.state, 'valid')
  const colons = issued.serial.toLowerCase().match(/../g)?.join(':') ?? ''
  for (const spelling of [issued.serial, issued.serial.toLowerCase(), colons])
    assert.equal((await station.certificates.get('acme', spelling)).pem, issued.pem)
  await assert.rejects(station.certificates.get('other', issued.serial), NotFoundError)
  await assert.rejects(station.certificates.get('acme', 'no hex'), NotFoundError)
})

test('lists are newest first, by device and state, in pages, and tenants do not meet', async () => {
  const made = [await issue('lister'), await issue('lister'), await issue('lister'), await issue('lister', 'other')]
  await station.certificates.revoke('acme', (made[0] as StoredCertificate).serial, 'superseded')
  const first = await station.certificates.list({ tenant: 'acme', device: 'lister', limit: 2 })
  assert.equal(first.items.length, 2)
  assert.ok(first.next)
  const second = await station.certificates.list({ tenant: 'acme', device: 'lister', limit: 2, cursor: first.next })
  assert.equal(second.next, null)
  const serials = [...first.items, ...second.items].map((record) => record.serial)
  assert.deepEqual(new Set(serials), new Set(made.slice(0, 3).map((record) => record.serial)))
  const times = [...first.items, ...second.items].map((record) => record.issuedAt)
  assert.deepEqual(
    times,
    times.toSorted((a, b) => b - a),
  )
  const revoked = await station.certificates.list({ tenant: 'acme', device: 'lister', state: 'revoked', limit: 10 })
  assert.deepEqual(
    revoked.items.map((record) => record.serial),
    [made[0]?.serial],
  )
  await assert.rejects(station.certificates.list({ tenant: 'acme', limit: 1, cursor: '{"$gt":1}' }), InvalidInputError)
})

test('revoking records who, when and why, and tells the others before it answers', async () => {
  const issued = await issue('d2')
  const revoked = await station.certificates.revoke('acme', issued.serial.toLowerCase(), 'keyCompromise')
  assert.equal(revoked.state, 'revoked')
  assert.equal(revoked.reason, 'keyCompromise')
  assert.ok(revoked.revokedAt !== null && revoked.revokedAt >= issued.issuedAt)
  assert.deepEqual(await eventsOf(issued.serial), [
    {
      event: 'certificate-revoked',
      tenant: 'acme',
      device: 'd2',
      serial: issued.serial,
      issuer: issued.issuer,
      reason: 'keyCompromise',
      at: revoked.revokedAt,
      isLast: true,
    },
  ])
})

test('what waits for a device is cancelled with its last certificate only', async () => {
  const [first, second] = [await issue('two'), await issue('two')]
  const other = await issue('other')
  const cancelled = async (): Promise<string[]> => {
    const records = await station.stores.records(TOPICS.commands)
    return records.filter(({ schema }) => schema === DOWNLINKS_CANCELLED).map(({ key }) => key)
  }
  assert.equal((await station.certificates.revoke('acme', first.serial, 'superseded')).isLast, false)
  assert.equal((await cancelled()).includes('acme/two'), false)
  await Promise.all([
    station.certificates.revoke('acme', second.serial, 'superseded'),
    station.certificates.revoke('acme', first.serial, 'superseded'),
  ])
  assert.deepEqual(
    (await cancelled()).filter((key) => key === 'acme/two'),
    ['acme/two'],
  )
  assert.equal((await cancelled()).includes('acme/other'), false)
  assert.equal((await station.certificates.get('acme', other.serial)).state, 'valid')
})

test('revoking again, also at the same time, changes and tells nothing more', async () => {
  const issued = await issue('d3')
  const reasons = Object.keys(CRL_REASONS)
  const answers = await Promise.all(reasons.map((reason) => station.certificates.revoke('acme', issued.serial, reason)))
  const again = await station.certificates.revoke('acme', issued.serial, 'superseded')
  for (const answer of answers) assert.deepEqual([answer.revokedAt, answer.reason], [again.revokedAt, again.reason])
  const events = await eventsOf(issued.serial)
  assert.ok(events.length >= 1)
  assert.equal(new Set(events.map((event) => JSON.stringify(event))).size, 1)
  const before = events.length
  await station.certificates.revoke('acme', issued.serial, 'superseded')
  assert.equal((await eventsOf(issued.serial)).length, before)
})

test('every CRLReason but removeFromCRL revokes; anything else is refused by field', async () => {
  for (const reason of Object.keys(CRL_REASONS))
    assert.equal((await station.certificates.revoke('acme', (await issue('d4')).serial, reason)).reason, reason)
  const { serial } = await issue('d4')
  for (const reason of ['removeFromCRL', 'KEYCOMPROMISE', '', 'toString', '1']) {
    await assert.rejects(station.certificates.revoke('acme', serial, reason), (error: unknown) => {
      assert.ok(error instanceof InvalidInputError)
      assert.equal(error.details['field'], 'reason')
      assert.match(error.message, /allowed: unspecified, keyCompromise/)
      return true
    })
  }
  assert.equal((await station.certificates.get('acme', serial)).state, 'valid')
  await assert.rejects(station.certificates.revoke('other', serial, 'unspecified'), NotFoundError)
})

test('a revocation cut off before its event is announced by the next start, or by revoking again', async () => {
  const { documents, eventLog } = station.stores
  const failing = { append: () => Promise.reject(new EnvironmentError('LOG_UNAVAILABLE', 'the log is away')) } as unknown as EventLog
  const common = { documents, authority: station.authority, clock: systemClock, log: silentLogger }
  const cutOff = new Certificates({ ...common, eventLog: failing, metrics: new Metrics() })
  await cutOff.start()
  const [first, second] = [await issue('d5'), await issue('d6')]
  for (const { serial } of [first, second]) await assert.rejects(cutOff.revoke('acme', serial, 'keyCompromise'), /the log is away/)
  assert.deepEqual(await eventsOf(first.serial), [])
  assert.equal((await station.certificates.revoke('acme', second.serial, 'superseded')).reason, 'keyCompromise')
  assert.equal((await eventsOf(second.serial)).length, 1)
  const next = new Certificates({ ...common, eventLog, metrics: new Metrics() })
  await next.start()
  assert.equal((await eventsOf(first.serial)).length, 1)
  assert.equal((await station.certificates.get('acme', first.serial)).announced, true)
})

test('a revocation is in the audit trail with who did it, also when a crash came before it was recorded', async () => {
  const { documents, eventLog } = station.stores
  const acts: AuditedAct[] = []
  let failing = true
  const auditTrail = {
    record: (act: AuditedAct) => (failing ? Promise.reject(new EnvironmentError('STORE_FULL', 'the trail is away')) : void acts.push(act)),
  } as AuditTrail
  const options = { documents, eventLog, auditTrail, clock: systemClock, log: silentLogger }
  const cutOff = new Certificates({ ...options, metrics: new Metrics() })
  await cutOff.start()
  const { serial } = await issue('d7')
  await assert.rejects(cutOff.revoke('acme', serial, 'keyCompromise', 'user:ann'), /the trail is away/)
  assert.equal((await eventsOf(serial)).length, 1, 'its sessions end all the same')
  failing = false
  const next = new Certificates({ ...options, metrics: new Metrics() })
  await next.start()
  assert.deepEqual(
    acts.filter(({ subject }) => subject.id === serial).map(({ actor, action, device, why }) => [actor, action, device, why]),
    [['user:ann', 'certificate.revoke', 'd7', 'keyCompromise']],
  )
})
