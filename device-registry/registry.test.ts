import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { AuditedAct, AuditTrail } from '../contracts/audit.ts'
import type { DeviceState } from '../contracts/device.ts'
import { ConflictError, InvalidInputError, NotFoundError, type FleetpulseError } from '../kernel/errors.ts'
import { VirtualClock } from '../kernel/time.ts'
import { registryConfig } from './config.ts'
import { Registry } from './registry.ts'
import { deviceEvents, openStores, startRegistry, unreliable, until } from './testing/stores.ts'

const TENANT = 'default'
const BY = 'user:tester'
const type = {
  id: 'pump',
  open: false,
  metrics: { rpm: { kind: 'number' as const, min: 0, max: 9_000 } },
  silenceAfterMs: 60_000,
  futureToleranceMs: 1_000,
  earliestTs: 0,
}
const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    (error as FleetpulseError).code === code

it('has the type generic from the first start on, in every tenant that is used', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  const generic = await registry.getType(TENANT, 'generic')
  assert.deepEqual([generic.open, generic.metrics, generic.version], [true, {}, 1])
  assert.equal((await registry.ensureRegistered('acme', 'd1', undefined, BY)).status, 'registered')
  assert.deepEqual(
    (await registry.listTypes('other')).map(({ id, tenant }) => `${tenant}/${id}`),
    ['other/generic'],
  )
  await registry.stop()
  await registry.start()
  assert.equal((await registry.getType(TENANT, 'generic')).version, 1)
  const announced = (await deviceEvents(stores.eventLog)).filter(({ event }) => event === 'device-type-changed')
  assert.deepEqual(announced.map(({ tenant }) => tenant).sort(), ['acme', 'default', 'other'])
})

it('creates, reads, changes and lists devices, with a version that only content changes', async (t) => {
  const stores = await openStores(t)
  const clock = new VirtualClock(1_700_000_000_000)
  const registry = await startRegistry({ ...stores, clock })
  const created = await registry.createDevice(TENANT, { id: 'd1', type: 'generic', labels: { site: 'a' } }, BY)
  const at = 1_700_000_000_000
  assert.deepEqual(created, {
    id: 'd1',
    tenant: TENANT,
    type: 'generic',
    state: 'registered',
    labels: { site: 'a' },
    createdAt: at,
    updatedAt: at,
    version: 1,
  })
  await assert.rejects(registry.createDevice(TENANT, { id: 'd1', type: 'generic', labels: {} }, BY), ConflictError)
  await clock.advance(5)
  const changed = await registry.updateDevice(TENANT, 'd1', { labels: { site: 'b' } }, 1)
  assert.deepEqual(changed, { ...created, labels: { site: 'b' }, updatedAt: at + 5, version: 2 })
  await assert.rejects(registry.updateDevice(TENANT, 'd1', { labels: {} }, 1), hasCode('VERSION_MISMATCH'))
  assert.deepEqual(await registry.getDevice(TENANT, 'd1'), changed)
  assert.deepEqual(await registry.findDevice('other', 'd1'), undefined)
  await assert.rejects(registry.getDevice('other', 'd1'), NotFoundError)
  await assert.rejects(registry.updateDevice(TENANT, 'nobody', { labels: {} }, undefined), NotFoundError)
})

it('pages by id and filters by type, state and text', async (t) => {
  const registry = await startRegistry(await openStores(t))
  await registry.createType(TENANT, type)
  const ids = Array.from({ length: 25 }, (_, i) => `dev-${String(i).padStart(2, '0')}`)
  await Promise.all(ids.map((id, i) => registry.createDevice(TENANT, { id, type: i % 5 === 0 ? 'pump' : 'generic', labels: {} }, BY)))
  await registry.createDevice(TENANT, { id: 'A.b', type: 'generic', labels: {} }, BY)
  await registry.createDevice('other', { id: 'dev-99', type: 'generic', labels: {} }, BY)
  await registry.transition(TENANT, 'dev-05', 'suspended', BY)

  const seen: string[] = []
  let after: string | undefined
  do {
    const page = await registry.listDevices({ tenant: TENANT, limit: 10, ...(after === undefined ? {} : { after }) })
    seen.push(...page.items.map(({ id }) => id))
    after = page.next ?? undefined
  } while (after !== undefined)
  assert.deepEqual(seen, ['A.b', ...ids])
  const list = async (query: { type?: string; state?: DeviceState; text?: string }): Promise<string> =>
    (await registry.listDevices({ tenant: TENANT, limit: 100, ...query })).items.map(({ id }) => id).join(' ')
  assert.equal(await list({ type: 'pump' }), 'dev-00 dev-05 dev-10 dev-15 dev-20')
  assert.equal(await list({ state: 'suspended' }), 'dev-05')
  assert.equal(await list({ type: 'pump', state: 'registered', text: '0' }), 'dev-00 dev-10 dev-20')
  assert.equal(await list({ text: 'A.B' }), 'A.b')
  assert.equal(await list({ text: '.*' }), '')
})

it('moves devices along their life, and refuses other moves naming both states', async (t) => {
  const registry = await startRegistry(await openStores(t))
  await registry.ensureRegistered(TENANT, 'd1', undefined, BY)
  await registry.markActive(TENANT, 'd1')
  assert.equal((await registry.getDevice(TENANT, 'd1')).state, 'registered', 'a first connection needs a certificate first')
  assert.equal((await registry.markProvisioned(TENANT, 'd1', BY)).status, 'provisioned')
  await registry.markActive(TENANT, 'd1')
  assert.equal((await registry.getDevice(TENANT, 'd1')).state, 'active')
  const again = await registry.markProvisioned(TENANT, 'd1', BY)
  assert.ok(again.status === 'provisioned' && again.device.state === 'active')
  assert.equal((await registry.transition(TENANT, 'd1', 'suspended', BY)).state, 'suspended')
  await registry.markActive(TENANT, 'd1')
  assert.deepEqual(await registry.markProvisioned(TENANT, 'd1', BY), { status: 'refused', reason: 'suspended' })
  const before = await registry.getDevice(TENANT, 'd1')
  assert.deepEqual(await registry.transition(TENANT, 'd1', 'suspended', BY), before, 'no move is no change')
  await assert.rejects(registry.transition(TENANT, 'd1', 'registered', BY), (error: unknown) => {
    assert.ok(error instanceof ConflictError && error.code === 'ILLEGAL_TRANSITION')
    assert.match(error.message, /suspended.*registered/)
    return true
  })
  await registry.transition(TENANT, 'd1', 'active', BY)
  await assert.rejects(
    registry.transition(TENANT, 'd1', 'decommissioned', BY),
    /active and cannot become decommissioned.*from: decommissioning/,
  )
  await registry.transition(TENANT, 'd1', 'decommissioning', BY)
  assert.deepEqual(await registry.ensureRegistered(TENANT, 'd1', undefined, BY), { status: 'refused', reason: 'decommissioning' })
  assert.deepEqual(await registry.markProvisioned(TENANT, 'd1', BY), { status: 'refused', reason: 'decommissioning' })
  await assert.rejects(registry.transition(TENANT, 'd1', 'active', BY), hasCode('ILLEGAL_TRANSITION'))
  await registry.transition(TENANT, 'd1', 'decommissioned', BY)
  for (const to of ['registered', 'provisioned', 'active', 'suspended'] as const) {
    await assert.rejects(registry.transition(TENANT, 'd1', to, BY), hasCode('ILLEGAL_TRANSITION'))
  }
  assert.deepEqual(await registry.ensureRegistered(TENANT, 'd1', undefined, BY), { status: 'refused', reason: 'decommissioned' })
  assert.deepEqual(await registry.markProvisioned(TENANT, 'd1', BY), { status: 'refused', reason: 'decommissioned' })
})

it('takes a held device back to where it was, not further along its life', async (t) => {
  const registry = await startRegistry(await openStores(t))
  await registry.ensureRegistered(TENANT, 'd1', undefined, BY)
  await registry.transition(TENANT, 'd1', 'suspended', BY)
  await assert.rejects(registry.transition(TENANT, 'd1', 'provisioned', BY), /was registered before and goes back there/)
  assert.equal((await registry.transition(TENANT, 'd1', 'active', BY)).state, 'registered')
  await registry.transition(TENANT, 'd1', 'quarantined', BY)
  assert.equal((await registry.markProvisioned(TENANT, 'd1', BY)).status, 'provisioned')
  await registry.markActive(TENANT, 'd1')
  assert.equal((await registry.getDevice(TENANT, 'd1')).state, 'quarantined')
  await registry.transition(TENANT, 'd1', 'suspended', BY)
  assert.equal((await registry.transition(TENANT, 'd1', 'active', BY)).state, 'active', 'what it did in quarantine counts')
})

it('keeps who, why and when of each step, as many as configured', async (t) => {
  const clock = new VirtualClock(1_700_000_000_000)
  const stores = { ...(await openStores(t)), clock, registryConfig: registryConfig({ historyMax: 3 }) }
  const registry = await startRegistry(stores)
  await registry.createDevice(TENANT, { id: 'd1', type: 'generic', labels: {} }, BY, { origin: '10.0.0.1' })
  await clock.advance(5)
  await registry.transition(TENANT, 'd1', 'suspended', 'user:ann', { why: 'stolen', origin: '10.0.0.2' })
  assert.deepEqual(await registry.history(TENANT, 'd1'), [
    { step: 2, from: 'registered', to: 'suspended', at: 1_700_000_000_005, by: 'user:ann', why: 'stolen', origin: '10.0.0.2' },
    { step: 1, from: null, to: 'registered', at: 1_700_000_000_000, by: BY, why: null, origin: '10.0.0.1' },
  ])
  await registry.transition(TENANT, 'd1', 'active', BY)
  await registry.transition(TENANT, 'd1', 'quarantined', BY)
  assert.deepEqual(
    (await registry.history(TENANT, 'd1')).map(({ step }) => step),
    [4, 3, 2],
  )
  await assert.rejects(registry.transition(TENANT, 'd1', 'active', BY, { why: 'x'.repeat(600) }), InvalidInputError)
  await assert.rejects(registry.history(TENANT, 'nobody'), NotFoundError)
})

it('of two transitions at once one wins and the other one is told', async (t) => {
  const registry = await startRegistry(await openStores(t))
  await registry.ensureRegistered(TENANT, 'd1', undefined, BY)
  const answers = await Promise.allSettled([
    registry.transition(TENANT, 'd1', 'suspended', 'user:a'),
    registry.transition(TENANT, 'd1', 'quarantined', 'user:b'),
  ])
  const lost = answers.filter((answer) => answer.status === 'rejected').map(({ reason }) => reason as FleetpulseError)
  assert.equal(lost.length, 1)
  assert.ok(lost[0] instanceof ConflictError && lost[0].code === 'CONFLICT', lost[0]?.message)
  assert.equal((await registry.history(TENANT, 'd1')).length, 2)
})

it('records every step in the audit trail, also what a failing trail did not take at once', async (t) => {
  const stores = await openStores(t)
  const trail = { acts: [] as AuditedAct[], failing: false }
  const auditTrail: AuditTrail = {
    record: (act) => {
      if (trail.failing) return Promise.reject(new Error('the trail takes nothing'))
      trail.acts.push(act)
      return Promise.resolve()
    },
  }
  const registry = await startRegistry({ ...stores, auditTrail })
  await registry.createDevice(TENANT, { id: 'd1', type: 'generic', labels: {} }, BY)
  await registry.transition(TENANT, 'd1', 'suspended', BY, { why: 'lost', origin: '::1' })
  assert.deepEqual(trail.acts.at(-1), {
    tenant: TENANT,
    actor: BY,
    action: 'device.suspend',
    subject: { kind: 'device', id: 'd1' },
    before: { state: 'registered' },
    after: { state: 'suspended', step: 2 },
    origin: '::1',
    why: 'lost',
  })
  trail.failing = true
  await assert.rejects(registry.transition(TENANT, 'd1', 'active', BY), /the trail takes nothing/)
  const told = (await deviceEvents(stores.eventLog)).filter((event) => 'state' in event).length
  assert.equal(told, 3, 'the doors are told all the same')
  await registry.stop()
  trail.failing = false
  await startRegistry({ ...stores, auditTrail })
  assert.deepEqual(
    trail.acts.map(({ action }) => action),
    ['device.register', 'device.suspend', 'device.resume'],
  )
})

it('registers once however many ask at a time', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  const answers = await Promise.all(Array.from({ length: 20 }, () => registry.ensureRegistered(TENANT, 'd1', undefined, BY)))
  assert.equal(answers.filter((answer) => answer.status === 'registered' && answer.created).length, 1)
  assert.equal(answers.filter((answer) => answer.status === 'registered').length, 20)
  const moves = await Promise.all(Array.from({ length: 20 }, () => registry.markProvisioned(TENANT, 'd1', BY)))
  assert.ok(moves.every(({ status }) => status === 'provisioned'))
  assert.equal((await registry.getDevice(TENANT, 'd1')).version, 2)
  assert.deepEqual(await registry.ensureRegistered(TENANT, 'd1', 'pump', BY), { status: 'refused', reason: 'other-type' })
  assert.deepEqual(await registry.ensureRegistered(TENANT, 'd2', 'pump', BY), { status: 'refused', reason: 'unknown-type' })
})

it('refuses what is no device or type, naming the field', async (t) => {
  const registry = await startRegistry(await openStores(t))
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`l${i}`, 'x']))
  await assert.rejects(registry.createDevice(TENANT, { id: '-bad', type: 'generic', labels: {} }, BY), InvalidInputError)
  await assert.rejects(registry.createDevice(TENANT, { id: 'd', type: 'none', labels: {} }, BY), /none/)
  await assert.rejects(registry.createDevice(TENANT, { id: 'd', type: 'generic', labels: many }, BY), /labels/)
  await assert.rejects(registry.createDevice(TENANT, { id: 'd', type: 'generic', labels: { x: 'y'.repeat(300) } }, BY), /labels\.x/)
  await assert.rejects(registry.ensureRegistered(TENANT, 'a/b', undefined, BY), InvalidInputError)
  await assert.rejects(registry.createType(TENANT, { ...type, metrics: { rpm: { kind: 'number', min: 5, max: 1 } } }), /metrics\.rpm/)
  await assert.rejects(registry.createType(TENANT, { ...type, metrics: { on: { kind: 'boolean', min: 5 } } }), /metrics\.on/)
  await assert.rejects(registry.createType(TENANT, { ...type, futureToleranceMs: -1 }), /futureToleranceMs/)
})

it('creates and replaces types by version', async (t) => {
  const registry = await startRegistry(await openStores(t))
  const created = await registry.createType(TENANT, type)
  assert.equal(created.version, 1)
  await assert.rejects(registry.createType(TENANT, type), ConflictError)
  const changed = await registry.updateType(TENANT, { ...type, open: true, metrics: {} }, 1)
  assert.deepEqual([changed.version, changed.open, changed.metrics], [2, true, {}])
  await assert.rejects(registry.updateType(TENANT, type, 1), hasCode('VERSION_MISMATCH'))
  await assert.rejects(registry.updateType(TENANT, { ...type, id: 'none' }, undefined), NotFoundError)
  await assert.rejects(registry.getType('other', 'pump'), NotFoundError)
})

it('announces every change after it is durable', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  await registry.createDevice(TENANT, { id: 'd1', type: 'generic', labels: {} }, BY)
  await registry.transition(TENANT, 'd1', 'suspended', BY)
  await registry.createType(TENANT, type)
  const events = await deviceEvents(stores.eventLog)
  assert.deepEqual(
    events.filter(({ event }) => event === 'device-changed').map((event) => ('state' in event ? event.state : '')),
    ['registered', 'suspended'],
  )
  assert.ok(events.some((event) => event.event === 'device-type-changed' && event.type === 'pump'))
  const devices = await stores.documents.collection<{ announced: boolean }>({ name: 'devices', indexes: [] })
  assert.equal(await devices.count({ announced: false }), 0)
})

it('announces later what it could not announce at once: by itself, and at the next start', async (t) => {
  const stores = await openStores(t)
  const broken = unreliable(stores.eventLog)
  const registry = await startRegistry({ ...stores, eventLog: broken.eventLog })
  await registry.createDevice(TENANT, { id: 'd1', type: 'generic', labels: {} }, BY)
  broken.failing = true
  await assert.rejects(registry.transition(TENANT, 'd1', 'suspended', BY), /the log takes nothing/)
  assert.equal((await registry.getDevice(TENANT, 'd1')).state, 'suspended')
  const suspended = async (): Promise<boolean> =>
    (await deviceEvents(stores.eventLog)).some((event) => 'state' in event && event.state === 'suspended')
  assert.equal(await suspended(), false)
  broken.failing = false
  await until('announced by itself', suspended)

  broken.failing = true
  await assert.rejects(registry.transition(TENANT, 'd1', 'decommissioning', BY))
  await registry.stop()
  const next = new Registry(stores)
  await next.start()
  stores.stopAtEnd(next)
  assert.ok((await deviceEvents(stores.eventLog)).some((event) => 'state' in event && event.state === 'decommissioning'))
})

it('does not take an older announcement for that of a newer change', async (t) => {
  const stores = await openStores(t)
  const broken = unreliable(stores.eventLog)
  const registry = await startRegistry({
    ...stores,
    eventLog: broken.eventLog,
    registryConfig: registryConfig({ announceRetryMs: 60_000 }),
  })
  await registry.createDevice(TENANT, { id: 'd1', type: 'generic', labels: {} }, BY)
  broken.afterNextAppend = async () => {
    broken.failing = true
    await assert.rejects(registry.transition(TENANT, 'd1', 'decommissioning', BY))
  }
  await registry.transition(TENANT, 'd1', 'suspended', BY)
  const devices = await stores.documents.collection<{ announced: boolean }>({ name: 'devices', indexes: [] })
  assert.deepEqual(
    (await devices.find({ announced: false })).map(({ _id }) => _id),
    ['default/d1'],
  )
})
