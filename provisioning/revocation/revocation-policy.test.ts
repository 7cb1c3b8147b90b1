import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AuditedAct } from '../../contracts/audit.ts'
import { DEVICE_EVENT, type DeviceEvent } from '../../contracts/device-event.ts'
import type { DeviceState } from '../../contracts/device.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import { silentLogger } from '../../kernel/log.ts'
import { systemClock } from '../../kernel/time.ts'
import { newPrivateKeyPem } from '../ca/ca-key.ts'
import { publicKeyOf } from '../ca/make-pki.ts'
import type { StoredCertificate } from '../certificates.ts'
import { until } from '../../test/testing/platform-process.ts'
import { startStation, TENANT, type Station } from '../testing/station.ts'
import { RevocationPolicy } from './revocation-policy.ts'
import { ruleFaults } from './revocation-rules.ts'

const acts: AuditedAct[] = []
let station: Station
let policy: RevocationPolicy

before(async () => {
  station = await startStation({
    revokeWhen: ['state/decommissioned=cessationOfOperation', 'state/quarantined=privilegeWithdrawn', 'finding/shared-key=keyCompromise'],
  })
  policy = newPolicy()
  await policy.start()
})
after(async () => {
  await policy.stop()
  await station.stop()
})

function newPolicy(): RevocationPolicy {
  const { certificates, config, registrar, stores } = station
  const auditTrail = { record: (act: AuditedAct) => Promise.resolve(void acts.push(act)) }
  return new RevocationPolicy({
    eventLog: stores.eventLog,
    certificates,
    registrar,
    config,
    auditTrail,
    clock: systemClock,
    log: silentLogger,
  })
}

async function issue(device: string): Promise<StoredCertificate> {
  await station.registrar.ensureRegistered(TENANT, device, undefined)
  return station.issue({ tenant: TENANT, device, publicKey: publicKeyOf(await newPrivateKeyPem()) })
}

async function tell(event: DeviceEvent & { device: string }): Promise<void> {
  await station.stores.eventLog.append(TOPICS.deviceEvents, [
    { key: deviceKey(TENANT, event.device), schema: DEVICE_EVENT, value: jsonBytes(event) },
  ])
}

function changed(device: string, state: DeviceState): Promise<void> {
  station.registrar.setState(TENANT, device, state)
  return tell({ event: 'device-changed', tenant: TENANT, device, type: 'generic', state, at: systemClock.nowMs() })
}

function reasonOf({ serial }: StoredCertificate): Promise<string | null> {
  return station.certificates.get(TENANT, serial).then(({ reason }) => reason)
}

test('a state and a finding that have a rule revoke every certificate of the device, and of no other', async () => {
  const [first, second, bystander, found] = [await issue('p1'), await issue('p1'), await issue('p2'), await issue('p3')]
  await changed('p2', 'suspended')
  await changed('p1', 'quarantined')
  await tell({ event: 'finding-opened', tenant: TENANT, device: 'p3', check: 'never-rotated', at: 1 })
  await tell({ event: 'finding-opened', tenant: TENANT, device: 'p3', check: 'shared-key', at: 1 })
  await until('the revocation by a finding', async () => (await reasonOf(found)) === 'keyCompromise')
  assert.deepEqual(await Promise.all([first, second, bystander].map(reasonOf)), ['privilegeWithdrawn', 'privilegeWithdrawn', null])
  await until('the audit', () => Promise.resolve(acts.length === 2))
  const [act] = acts
  assert.deepEqual([act?.action, act?.subject.id, act?.why], ['device.revoke', 'p1', 'rule state/quarantined=privilegeWithdrawn'])
})

test('what was told while the process was away is done by the next one; a device that has left the state again is let be', async () => {
  const [gone, back] = [await issue('p4'), await issue('p5')]
  await policy.stop()
  await changed('p5', 'quarantined')
  station.registrar.setState(TENANT, 'p5', 'active')
  await changed('p4', 'decommissioned')
  policy = newPolicy()
  await policy.start()
  await until('the revocation', async () => (await reasonOf(gone)) === 'cessationOfOperation')
  assert.equal(await reasonOf(back), null)
})

test('a rule that is none is a fault that says what is allowed', () => {
  const bad = ['state/asleep=keyCompromise', 'finding/x=because', 'state/active', 'state/decommissioned=removeFromCRL']
  const faults = ruleFaults(['state/suspended=certificateHold', ...bad], 'provisioning.revokeWhen')
  assert.deepEqual(
    faults.map(({ problem }) => problem),
    bad.map((text) => `"${text}" is not a rule`),
  )
  assert.match(faults[0]?.allowed ?? '', /quarantined.*privilegeWithdrawn/)
})
