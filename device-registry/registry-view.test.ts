import assert from 'node:assert/strict'
import { it } from 'node:test'
import { CERTIFICATES_COLLECTION, type CertificateRecord } from '../contracts/certificate.ts'
import { DEVICE_EVENT, type DeviceEvent } from '../contracts/device-event.ts'
import { DEVICE_MESSAGE } from '../contracts/device-message.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { systemClock } from '../kernel/time.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { FollowingRegistryView } from './registry-view.ts'
import { openStores, startRegistry, startView, until, type Stores } from './testing/stores.ts'

const TENANT = 'default'
const BY = 'user:tester'
const SERIAL = '0A1B2C'

async function revoke({ documents, clock }: Stores, serial: string, notAfter: number, isLast = false): Promise<void> {
  const certificates = await documents.collection<CertificateRecord>({ name: CERTIFICATES_COLLECTION, indexes: [] })
  const nowMs = clock.nowMs()
  const record = {
    serial,
    issuer: 'ca',
    tenant: TENANT,
    device: 'd1',
    notBefore: 0,
    notAfter,
    issuedAt: 0,
    revokedAt: nowMs,
    reason: 'keyCompromise',
  }
  await certificates.put(serial, { ...record, state: 'revoked', announced: true, isLast, pem: '', door: 'test' })
}

function announce(eventLog: EventLog, event: DeviceEvent, device = 'd1'): Promise<unknown> {
  return eventLog.append(TOPICS.deviceEvents, [{ key: deviceKey(TENANT, device), schema: DEVICE_EVENT, value: jsonBytes(event) }])
}

const revoked = (serial: string): DeviceEvent => ({
  event: 'certificate-revoked',
  tenant: TENANT,
  device: 'd1',
  serial,
  reason: 'keyCompromise',
  at: 1,
})

it('knows at its start what was there: devices, types, revoked certificates that have not expired', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  await registry.createDevice(TENANT, { id: 'd1', type: 'generic', labels: { site: 'a' } }, BY)
  await registry.createDevice(TENANT, { id: 'd2', type: 'generic', labels: {} }, BY)
  await registry.transition(TENANT, 'd2', 'suspended', BY)
  await revoke(stores, SERIAL, stores.clock.nowMs() + 60_000)
  await revoke(stores, 'EE', stores.clock.nowMs() - 60_000)
  const expelled: string[] = []
  const view = await startView(stores)
  view.onExpelled(({ device }) => expelled.push(device))
  assert.deepEqual(view.admit(TENANT, 'nobody', '01'), { status: 'refused', reason: 'unknown-device' })
  assert.deepEqual(view.admit('other', 'd1', '01'), { status: 'refused', reason: 'unknown-device' })
  assert.deepEqual(view.admit(TENANT, 'd2', '01'), { status: 'refused', reason: 'suspended' })
  assert.deepEqual(view.admit(TENANT, 'd1', SERIAL), { status: 'refused', reason: 'certificate-revoked' })
  assert.equal(view.admit(TENANT, 'd1', 'EE').status, 'admitted', 'an expired certificate is not the view’s business')
  const admission = view.admit(TENANT, 'd1', '01')
  assert.deepEqual(admission.status === 'admitted' && admission.device.labels, { site: 'a' })
  assert.deepEqual(Object.keys(admission.status === 'admitted' ? admission.device : {}).sort(), [
    'createdAt',
    'id',
    'labels',
    'state',
    'tenant',
    'type',
    'updatedAt',
  ])
  assert.equal(view.typeOf(TENANT, 'd1')?.open, true)
  assert.equal(view.typeOf(TENANT, 'nobody'), undefined)
  // Old events are not replayed upon the doors.
  await registry.createDevice(TENANT, { id: 'd3', type: 'generic', labels: {} }, BY)
  await until('d3 is known', () => view.admit(TENANT, 'd3', '01').status === 'admitted')
  assert.deepEqual(expelled, [])
})

it('follows changes, and expels within milliseconds', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  const view = await startView(stores)
  await registry.ensureRegistered(TENANT, 'd1', undefined, BY)
  await until('d1 is known', () => view.admit(TENANT, 'd1', '01').status === 'admitted')
  const latenciesMs: number[] = []
  for (let round = 0; round < 20; round++) {
    let expelledAtMs = 0
    let admission: unknown
    const stopListening = view.onExpelled(({ device, reason }) => {
      assert.deepEqual([device, reason], ['d1', 'suspended'])
      expelledAtMs = systemClock.monotonicMs()
      admission = view.admit(TENANT, 'd1', '01')
    })
    const changing = registry.transition(TENANT, 'd1', 'suspended', BY)
    const startedAtMs = systemClock.monotonicMs()
    await until('expelled', () => expelledAtMs > 0)
    latenciesMs.push(expelledAtMs - startedAtMs)
    assert.deepEqual(admission, { status: 'refused', reason: 'suspended' }, 'who is expelled is not let in again')
    await changing
    stopListening()
    await registry.transition(TENANT, 'd1', 'active', BY)
    await until('admitted again', () => view.admit(TENANT, 'd1', '01').status === 'admitted')
  }
  latenciesMs.sort((a, b) => a - b)
  t.diagnostic(`from the call to the callback: median ${latenciesMs[10]?.toFixed(1)} ms, longest ${latenciesMs[19]?.toFixed(1)} ms`)
  assert.ok((latenciesMs[10] as number) < 500)

  await registry.createType(TENANT, { id: 'pump', open: false, metrics: {}, silenceAfterMs: 0, futureToleranceMs: 0, earliestTs: 0 })
  await until('type known', () => view.type(TENANT, 'pump') !== undefined)
  await registry.updateDevice(TENANT, 'd1', { labels: { site: 'b' } }, undefined)
  await until('labels known', () => {
    const admission = view.admit(TENANT, 'd1', '01')
    return admission.status === 'admitted' && admission.device.labels.site === 'b'
  })
})

it('a device is cut off when its last certificate is revoked, also over a restart, until it has another one', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  await registry.ensureRegistered(TENANT, 'd1', undefined, BY)
  const view = await startView(stores)
  await announce(stores.eventLog, { ...revoked('AA'), isLast: false } as DeviceEvent)
  await announce(stores.eventLog, revoked('BB'))
  await until('both revoked', () => view.admit(TENANT, 'd1', 'BB').status === 'refused')
  assert.equal(await view.isCutOff(TENANT, 'd1'), false)
  await announce(stores.eventLog, { ...revoked('CC'), isLast: true } as DeviceEvent)
  await until('revoked', () => view.admit(TENANT, 'd1', 'CC').status === 'refused')
  assert.equal(await view.isCutOff(TENANT, 'd1'), true)
  assert.equal(await view.isCutOff('other', 'd1'), false)
  await revoke(stores, 'CC', stores.clock.nowMs() + 60_000, true)
  const restarted = await startView(stores)
  assert.equal(await restarted.isCutOff(TENANT, 'd1'), true)
  const certificates = await stores.documents.collection<CertificateRecord>({ name: CERTIFICATES_COLLECTION, indexes: [] })
  const { _id, version, ...record } = (await certificates.get('CC')) ?? assert.fail()
  await certificates.put('DD', { ...record, serial: 'DD', state: 'valid', revokedAt: null, reason: null, isLast: false })
  assert.deepEqual([await view.isCutOff(TENANT, 'd1'), await restarted.isCutOff(TENANT, 'd1')], [false, false])
})

it('expels for a revoked certificate, and refuses it from then on', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  await registry.ensureRegistered(TENANT, 'd1', undefined, BY)
  const view = await startView(stores)
  const expelled: unknown[] = []
  view.onExpelled(() => {
    throw new Error('a door that fails')
  })
  view.onExpelled((who) => expelled.push({ ...who, now: view.admit(TENANT, 'd1', SERIAL).status }))
  await announce(stores.eventLog, revoked(SERIAL))
  await until('expelled', () => expelled.length > 0)
  assert.deepEqual(expelled, [
    { tenant: TENANT, device: 'd1', serial: SERIAL, reason: 'keyCompromise', at: 1, isLast: false, now: 'refused' },
  ])
  assert.equal(view.admit(TENANT, 'd1', '01').status, 'admitted', 'the device may connect with another one')
})

it('tells certificates apart by issuer and serial: another CA may have given the same serial (RFC 5280 §4.1.2.2)', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  await registry.ensureRegistered(TENANT, 'd1', undefined, BY)
  await revoke(stores, 'AA', stores.clock.nowMs() + 60_000)
  const view = await startView(stores)
  const stands = (serial: string, issuer?: string): string => view.admit(TENANT, 'd1', serial, issuer).status
  assert.deepEqual([stands('AA', 'ca'), stands('AA', 'other'), stands('AA')], ['refused', 'admitted', 'refused'])
  const expelled: unknown[] = []
  view.onExpelled(({ serial, issuer }) => expelled.push([serial, issuer]))
  await announce(stores.eventLog, { ...revoked('AA'), issuer: 'other' } as DeviceEvent)
  await until('the other one, too', () => stands('AA', 'other') === 'refused')
  assert.deepEqual([stands('AA', 'ca'), stands('AA', 'third')], ['refused', 'admitted'])
  await announce(stores.eventLog, revoked('BB'))
  await until('an event of before there were issuers counts for all', () => stands('BB', 'third') === 'refused')
  assert.deepEqual(expelled, [
    ['AA', 'other'],
    ['BB', undefined],
  ])
})

it('passes over what it cannot read, so that a revocation behind it is not held up', async (t) => {
  const stores = await openStores(t)
  const view = await startView(stores)
  const key = deviceKey(TENANT, 'd1')
  await stores.eventLog.append(TOPICS.deviceEvents, [
    { key, schema: DEVICE_EVENT, value: Buffer.from('{not json') },
    { key, schema: DEVICE_EVENT, value: jsonBytes({ event: 'device-changed' }) },
    { key, schema: DEVICE_EVENT, value: jsonBytes(null) },
    { key, schema: DEVICE_MESSAGE, value: jsonBytes({ kind: 'connected', tenant: TENANT, device: 'd1' }) },
    { key, schema: 'other/9', value: Buffer.alloc(3) },
    { key, schema: DEVICE_EVENT, value: jsonBytes(revoked(SERIAL)) },
  ])
  await until(
    'refused',
    () => view.admit(TENANT, 'd1', SERIAL).status === 'refused' && view.admit(TENANT, 'd1', SERIAL).status !== 'admitted',
  )
  assert.deepEqual(view.admit(TENANT, 'd1', SERIAL), { status: 'refused', reason: 'certificate-revoked' })
})

it('misses nothing that happens while it loads', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  await Promise.all(Array.from({ length: 50 }, (_, i) => registry.ensureRegistered(TENANT, `d${i}`, undefined, BY)))
  // Everything the view asks of the stores may be overtaken by a change.
  let step = 0
  const overtaking = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(original, property) {
        const value: unknown = Reflect.get(original, property, original)
        if (typeof value !== 'function') return value
        return async (...parameters: unknown[]) => {
          const change = async (): Promise<void> => {
            const id = `d${step++}`
            if (step <= 40) await registry.transition(TENANT, id, 'suspended', BY)
          }
          await change()
          const answer: unknown = await Reflect.apply(value, original, parameters)
          await change()
          return property === 'collection' ? overtaking(answer as object) : answer
        }
      },
    })
  const view = new FollowingRegistryView({ ...stores, documents: overtaking(stores.documents), eventLog: overtaking(stores.eventLog) })
  await view.start()
  stores.stopAtEnd(view)
  await registry.transition(TENANT, 'd49', 'suspended', BY)
  await until('the last change is known', () => view.admit(TENANT, 'd49', '01').status === 'refused')
  assert.ok(step > 10, 'there were changes meanwhile')
  for (let i = 0; i < 50; i++) {
    const { state } = await registry.getDevice(TENANT, `d${i}`)
    await until(`d${i} is as it is (${state})`, () => (view.admit(TENANT, `d${i}`, '01').status === 'refused') === (state === 'suspended'))
  }
})

it('keeps several views, each with all events, and starts again after a stop', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  await registry.ensureRegistered(TENANT, 'd1', undefined, BY)
  const views = [await startView(stores), await startView(stores)]
  await registry.transition(TENANT, 'd1', 'suspended', BY)
  for (const view of views) await until('refused', () => view.admit(TENANT, 'd1', '01').status === 'refused')
  const [view] = views as [FollowingRegistryView]
  await view.stop()
  await registry.transition(TENANT, 'd1', 'active', BY)
  assert.deepEqual(view.admit(TENANT, 'd1', '01'), { status: 'refused', reason: 'unknown-device' }, 'a stopped view lets nobody in')
  await view.start()
  assert.equal(view.admit(TENANT, 'd1', '01').status, 'admitted')
  await registry.transition(TENANT, 'd1', 'suspended', BY)
  await until('refused again', () => view.admit(TENANT, 'd1', '01').status === 'refused')
})

it('takes a change at its word while documents cannot be read, and catches up after', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  await registry.ensureRegistered(TENANT, 'd1', undefined, BY)
  let failing = false
  const documents = new Proxy(stores.documents, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target)
      if (property !== 'collection') return typeof value === 'function' ? (value.bind(target) as unknown) : value
      return async (spec: never) => {
        const collection = await target.collection(spec)
        return {
          find: (...parameters: [never, never]) =>
            failing ? Promise.reject(new Error('the store is away')) : collection.find(...parameters),
        }
      }
    },
  })
  const view = await startView({ ...stores, documents })
  failing = true
  await registry.updateDevice(TENANT, 'd1', { labels: { site: 'x' } }, undefined)
  await registry.transition(TENANT, 'd1', 'suspended', BY)
  await until('refused', () => view.admit(TENANT, 'd1', '01').status === 'refused')
  await announce(stores.eventLog, revoked(SERIAL))
  await until('revoked', () => {
    const admission = view.admit(TENANT, 'd1', SERIAL)
    return admission.status === 'refused' && admission.reason === 'certificate-revoked'
  })
  await registry.transition(TENANT, 'd1', 'active', BY)
  failing = false
  await until('caught up', () => {
    const admission = view.admit(TENANT, 'd1', '01')
    return admission.status === 'admitted' && admission.device.labels.site === 'x'
  })
})
