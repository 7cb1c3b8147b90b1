import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { diffHash } from '../../agents/proposals/proposal-document.ts'
import type { ProposedAct } from '../../contracts/proposal.ts'
import { ApiFixture } from '../../dashboard/api/testing/api-fixture.ts'
import type { Incident } from '../../contracts/incident.ts'
import { ConflictError } from '../../kernel/errors.ts'
import { proposalActions, type ActionStations } from './proposal-actions.ts'

let api: ApiFixture
before(async () => {
  api = await ApiFixture.open()
})
after(() => api.close())

const order = { by: 'user:ana', proposal: 'pr_1' }
const act = (kind: ProposedAct['kind'], target: string): ProposedAct => ({ kind, target, untilMs: null })
const incident = (devices: string[]): Incident => ({ id: 'inc-1', tenant: 'default', devices }) as unknown as Incident

test('a device is quarantined at the version that was looked at, or not at all', async () => {
  const { registry } = api.services
  const port = proposalActions(api.services)['device.quarantine']
  await registry.createDevice('default', { id: 'pump-1', type: 'generic', labels: {} }, 'user:ana')
  assert.deepEqual(await port.targets(incident(['pump-1', 'pump-2']), 1), ['pump-1'])
  const quarantine = act('device.quarantine', 'pump-1')
  const seen = await port.dryRun('default', quarantine)
  assert.ok(seen.status === 'possible')
  assert.deepEqual(seen.diff, [{ subject: 'device/pump-1', field: 'state', before: 'registered', after: 'quarantined' }])
  assert.equal((await registry.getDevice('default', 'pump-1')).state, 'registered', 'a dry run does nothing')
  await registry.updateDevice('default', 'pump-1', { labels: { site: 'north' } }, undefined)
  await assert.rejects(port.execute('default', quarantine, { ...order, basis: seen.basis }), ConflictError)
  const again = await port.dryRun('default', quarantine)
  assert.ok(again.status === 'possible' && diffHash(quarantine, again.diff) === diffHash(quarantine, seen.diff), 'the same change still')
  await port.execute('default', quarantine, { ...order, basis: again.basis })
  assert.equal((await port.dryRun('default', quarantine)).status, 'applied')
  await assert.rejects(port.execute('default', quarantine, { ...order, basis: again.basis }), ConflictError)
  const [step] = await registry.history('default', 'pump-1')
  assert.deepEqual([step?.to, step?.by, step?.why], ['quarantined', 'user:ana', 'proposal pr_1'])
  assert.equal((await port.dryRun('default', act('device.quarantine', 'gone'))).status, 'impossible')
})

test('a certificate is revoked once, however often', async () => {
  const { certificates } = api.services
  const port = proposalActions(api.services)['certificate.revoke']
  const signed = { serial: '0A1B', issuer: 'ca', notBeforeMs: 1, notAfterMs: 2, pem: 'x' }
  await certificates.record(signed, { tenant: 'default', device: 'pump-9' }, 'est')
  assert.deepEqual(await port.targets(incident(['pump-9']), 5), ['0A1B'])
  const seen = await port.dryRun('default', act('certificate.revoke', '0A1B'))
  assert.ok(seen.status === 'possible')
  for (let i = 0; i < 2; i++) await port.execute('default', act('certificate.revoke', '0A1B'), { ...order, basis: seen.basis })
  const revoked = await certificates.get('default', '0A1B')
  assert.equal(revoked.state, 'revoked')
  assert.equal((await port.dryRun('default', act('certificate.revoke', '0A1B'))).status, 'applied')
  assert.deepEqual(await port.targets(incident(['pump-9']), 5), [])
})

test('alerts and incidents are acted on in the name of who approved, at the version that was looked at', async () => {
  const done: object[] = []
  const alert = { id: 'a-1', state: 'open', silencedUntil: null as number | null, version: 3 }
  const stations = {
    ...api.services,
    alerts: {
      list: async () => ({ items: [alert, { ...alert, id: 'a-2', state: 'resolved' }], next: null }),
      get: async () => alert,
      silence: async (...all: unknown[]) => void done.push(all),
    },
    incidents: { get: async () => ({ state: 'open', version: 7 }), acknowledge: async (...all: unknown[]) => void done.push(all) },
  } as unknown as ActionStations
  const actions = proposalActions(stations)
  assert.deepEqual(await actions['alert.silence'].targets(incident([]), 5), ['a-1'], 'what is over needs no silence')
  const silence: ProposedAct = { kind: 'alert.silence', target: 'a-1', untilMs: 5_000 }
  assert.deepEqual(await actions['alert.silence'].dryRun('default', silence), {
    ...{ status: 'possible', basis: 3 },
    diff: [{ subject: 'alert/a-1', field: 'silencedUntil', before: null, after: 5_000 }],
  })
  await actions['alert.silence'].execute('default', silence, { ...order, basis: 3 })
  const acknowledge = act('incident.acknowledge', 'inc-1')
  assert.deepEqual((await actions['incident.acknowledge'].dryRun('default', acknowledge)).status, 'possible')
  await actions['incident.acknowledge'].execute('default', acknowledge, { by: 'api-key:k1', proposal: 'pr_2', basis: 7 })
  const who = { tenant: 'default', roles: ['operator'] }
  assert.deepEqual(done, [
    [
      { ...who, kind: 'user', id: 'ana' },
      { id: 'a-1', untilMs: 5_000, expectedVersion: 3, note: 'proposal pr_1' },
    ],
    [
      { ...who, kind: 'api-key', id: 'k1' },
      { id: 'inc-1', note: 'proposal pr_2', expectedVersion: 7 },
    ],
  ])
  alert.silencedUntil = 5_000
  assert.equal((await actions['alert.silence'].dryRun('default', silence)).status, 'applied')
})
