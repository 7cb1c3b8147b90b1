import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { MessageChannel } from 'node:worker_threads'
import { TimeoutError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { systemClock } from '../../kernel/time.ts'
import { startStation, TENANT, testConfig, type Station } from '../testing/station.ts'
import { csrDerOf } from './csr-text.ts'
import { newDeviceRequest } from './device-bundle.ts'
import { LocalOperatorDoor, OperatorDesk, RemoteOperatorDoor } from './operator-door.ts'

/* An operator's door from a process that has no CA, to the desk of the one that has it. */

const hold = new MessageChannel()
let station: Station
before(async () => {
  hold.port1.on('message', () => undefined)
  station = await startStation()
})
after(async () => {
  await station.stop()
  hold.port1.close()
})

async function requestOf(device: string): Promise<Buffer> {
  return csrDerOf(Buffer.from((await newDeviceRequest(device)).csrPem)) as Buffer
}

test('a request is answered through the documents, a refusal with its rule; nothing is left behind', async () => {
  const { documents } = station.stores
  const config = testConfig({ signingPollMs: 10 })
  const desk = new OperatorDesk({ documents, door: new LocalOperatorDoor(station), config, clock: systemClock, log: silentLogger })
  const remote = new RemoteOperatorDoor({ documents, config, clock: systemClock })
  await station.registrar.ensureRegistered(TENANT, 'op-1', undefined)
  await desk.start()
  const answers = await Promise.all([
    remote.enrol({ tenant: TENANT, device: 'op-1' }, await requestOf('op-1'), 'user:ana'),
    remote.enrol({ tenant: TENANT, device: 'op-1' }, await requestOf('op-2'), 'user:ana'),
    remote.enrol({ tenant: TENANT, device: 'op-9' }, await requestOf('op-9'), 'user:ana'),
    remote.enrol({ tenant: TENANT, device: 'op-1' }, Buffer.from('300100', 'hex'), 'user:ana'),
  ])
  await desk.stop()
  assert.deepEqual(
    answers.map((answer) => (answer.status === 'refused' ? answer.reason : answer.status)),
    ['issued', 'other-identity', 'device-refused', 'malformed'],
  )
  const { items } = await station.certificates.list({ tenant: TENANT, device: 'op-1', limit: 10 })
  assert.deepEqual(
    items.map(({ door }) => door),
    ['operator'],
  )
  assert.equal(await (await documents.collection({ name: 'operator-requests', indexes: [] })).count({}), 0)
})

test('where nobody answers the operator is told, and a desk that comes later issues nothing', async () => {
  const { documents } = station.stores
  const config = testConfig({ signingPollMs: 10, signingTimeoutMs: 100 })
  const remote = new RemoteOperatorDoor({ documents, config, clock: systemClock })
  await station.registrar.ensureRegistered(TENANT, 'op-3', undefined)
  await assert.rejects(remote.enrol({ tenant: TENANT, device: 'op-3' }, await requestOf('op-3'), 'user:ana'), TimeoutError)
  const left = {
    tenant: TENANT,
    device: 'op-3',
    csrBase64: (await requestOf('op-3')).toString('base64'),
    by: 'user:ana',
    requestedAt: systemClock.nowMs() - 1_000,
    answer: null,
  }
  const requests = await documents.collection<typeof left>({ name: 'operator-requests', indexes: [] })
  await requests.insert('left-behind', left)
  const desk = new OperatorDesk({ documents, door: new LocalOperatorDoor(station), config, clock: systemClock, log: silentLogger })
  await desk.start()
  for (let looks = 0; looks < 200 && (await requests.count({})) > 0; looks++)
    await new Promise<void>((resolve) => systemClock.after(10, resolve))
  await desk.stop()
  assert.equal(await requests.count({}), 0)
  assert.deepEqual((await station.certificates.list({ tenant: TENANT, device: 'op-3', limit: 10 })).items, [])
})
