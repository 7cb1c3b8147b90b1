import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { TENANT } from '../testing/station.ts'
import { RotationWorld } from '../testing/rotation-world.ts'

/* A certificate from its issue to its end, on a clock that is moved: due after 66 h, late after 85 h, over after 100 h. */

let world: RotationWorld
beforeEach(async () => {
  world = await RotationWorld.open({ graceMs: 10 * 3_600_000 })
})
afterEach(() => world.close())

/** As alerts see it: what comes twice under one id is one. */
async function phases(device: string): Promise<string[]> {
  const once = new Map((await world.anomalies(device)).map((anomaly) => [anomaly.id, anomaly]))
  return [...once.values()].map(({ phase, severity }) => `${phase} ${severity}`)
}

test('a device is told when it is due, operators when it is late and when it is over; each once, whatever happens between', async () => {
  const { certificate } = await world.enrol('d1')
  await world.pass(65)
  assert.deepEqual([await world.notices('d1'), await phases('d1')], [[], []])
  await world.pass(2)
  await world.pass(1)
  const [due, ...more] = await world.notices('d1')
  assert.deepEqual(more, [])
  assert.deepEqual(
    [due?.status, due?.status === 'due' && due.serial, due?.status === 'due' && due.notAfter],
    ['due', certificate.serial, certificate.notAfter],
  )
  await world.restart()
  await world.pass(18)
  await world.pass(1)
  await world.restart()
  await world.pass(1)
  assert.deepEqual(await phases('d1'), ['raised warning'])
  await world.pass(13)
  await world.pass(500)
  const told = await world.anomalies('d1')
  assert.deepEqual(
    told.map(({ phase, severity, cause }) => [phase, severity, cause]),
    [
      ['raised', 'warning', 'certificate'],
      ['raised', 'critical', 'certificate'],
    ],
  )
  assert.equal(told[0]?.explanation.parameters.serial, certificate.serial)
  assert.match(told[0]?.explanation.text ?? '', /was due for renewal on 20.*ends on 20/)
  assert.ok((told[0]?.score ?? 0) > 0.5 && told[1]?.score === 1)
  assert.equal((await world.notices('d1')).length, 1)
})

test('a device that enrols again ends its alert, also when the process stopped in between', async () => {
  await world.enrol('d1')
  await world.pass(67)
  await world.pass(19)
  await world.restart()
  const { certificate } = await world.enrol('d1')
  await world.pass(1)
  const told = await world.anomalies('d1')
  assert.deepEqual(
    told.map(({ phase }) => phase),
    ['raised', 'cleared'],
  )
  assert.match(told[1]?.explanation.text ?? '', new RegExp(certificate.serial))
  await world.pass(40)
  assert.equal((await world.anomalies('d1')).length, 2, 'the earlier certificate ends, and nobody cares')
})

test('with a later certificate an earlier one is nobody’s concern, and stays valid: it was not renewed', async () => {
  const first = await world.enrol('d1')
  await world.pass(30)
  await world.enrol('d1')
  await world.pass(50)
  assert.equal(await world.stateOf(first.certificate.serial), 'valid')
  await world.pass(30)
  assert.deepEqual(await phases('d1'), [])
})

test('revoking a late certificate, or the end of its device, ends the alert', async () => {
  const revoked = await world.enrol('d1')
  await world.enrol('d2')
  for (const hours of [67, 19]) await world.pass(hours)
  assert.deepEqual([await phases('d1'), await phases('d2')], [['raised warning'], ['raised warning']])
  await world.certificates.revoke(TENANT, revoked.certificate.serial, 'keyCompromise')
  world.registrar.setState(TENANT, 'd2', 'decommissioned')
  await world.changed('d2', 'decommissioned')
  await world.settled(async () => (await phases('d1')).length === 2 && (await phases('d2')).length === 2)
  await world.pass(300)
  assert.deepEqual(
    [await phases('d1'), await phases('d2')],
    [
      ['raised warning', 'cleared warning'],
      ['raised warning', 'cleared warning'],
    ],
  )
})

test('a suspended device may not renew and raises no alert; resumed, it does', async () => {
  await world.enrol('d1')
  await world.pass(67)
  world.registrar.setState(TENANT, 'd1', 'suspended')
  await world.pass(20)
  assert.deepEqual(await phases('d1'), [])
  world.registrar.setState(TENANT, 'd1', 'active')
  await world.pass(2)
  assert.deepEqual(await phases('d1'), ['raised warning'])
})

test('a crash between an alert and its record repeats the alert under the same id', async () => {
  await world.enrol('d1')
  await world.pass(67)
  await world.restart(failingOnce(world.stores.documents))
  await world.pass(19)
  await world.pass(1)
  const told = await world.anomalies('d1')
  assert.equal(told.length, 2, 'the write failed after the alert went out')
  assert.equal(told[0]?.id, told[1]?.id)
  await world.pass(1)
  assert.equal((await world.anomalies('d1')).length, 2)
})

test('certificates of an earlier version are followed too', async () => {
  const { certificate } = await world.enrol('d1')
  const collection = await world.stores.documents.collection<{ serial: string }>({ name: 'certificates', indexes: [] })
  await collection.update(certificate.serial, { $unset: { rotation: '', replaces: '' } })
  await world.restart()
  for (const hours of [67, 19]) await world.pass(hours)
  assert.deepEqual(await phases('d1'), ['raised warning'])
})

/** The documents, whose next update of a stage to `late` fails. */
function failingOnce(documents: Documents): Documents {
  let isOver = false
  return new Proxy(documents, {
    get: (target, property) => {
      const value: unknown = Reflect.get(target, property)
      if (property !== 'collection') return typeof value === 'function' ? (value.bind(target) as unknown) : value
      return async (spec: Parameters<Documents['collection']>[0]) => {
        const collection = await target.collection<{ serial: string }>(spec)
        const update: Collection<{ serial: string }>['update'] = (id, change, version) => {
          if (isOver || !JSON.stringify(change).includes('"late"')) return collection.update(id, change, version)
          isOver = true
          return Promise.reject(new Error('the disk is full'))
        }
        return Object.assign(Object.create(collection) as typeof collection, {
          get: collection.get.bind(collection),
          find: collection.find.bind(collection),
          count: collection.count.bind(collection),
          update,
        })
      }
    },
  })
}
