import assert from 'node:assert/strict'
import { it } from 'node:test'
import { DEVICE_MESSAGE } from '../contracts/device-message.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { createLogger } from '../kernel/log.ts'
import { Activation } from './activation.ts'
import { openStores, startRegistry, until } from './testing/stores.ts'

const TENANT = 'default'

it('makes a provisioned device active with its first connection, whatever lies between, and again after a restart', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  const message = (device: string, value: Uint8Array): Promise<unknown> =>
    stores.eventLog.append(TOPICS.deviceEvents, [{ key: deviceKey(TENANT, device), schema: DEVICE_MESSAGE, value }])
  const connected = (device: string): Promise<unknown> =>
    message(device, jsonBytes({ tenant: TENANT, device, kind: 'connected', receivedAt: 1, correlationId: 'c' }))
  const provision = async (device: string): Promise<void> => {
    await registry.ensureRegistered(TENANT, device, undefined, 'user:t')
    await registry.markProvisioned(TENANT, device, 'user:t')
  }
  const isActive = (device: string) => async (): Promise<boolean> => (await registry.getDevice(TENANT, device)).state === 'active'
  for (const device of ['d1', 'd2', 'd3']) await provision(device)
  await registry.ensureRegistered(TENANT, 'd4', undefined, 'user:t')
  await connected('d1')

  const activation = new Activation({ ...stores, registry })
  await activation.start()
  stores.stopAtEnd(activation)
  await until('d1 is active', isActive('d1'))
  await message('d2', Buffer.from('not json'))
  await message('d2', jsonBytes({ kind: 'connected' }))
  await connected('nobody')
  await connected('d4')
  await connected('d2')
  await until('d2 is active', isActive('d2'))
  assert.equal((await registry.getDevice(TENANT, 'd4')).state, 'registered')

  await activation.stop()
  await connected('d3')
  await activation.start()
  await until('d3 is active', isActive('d3'))
})

it('notes a connection later when the registry could not take it', async (t) => {
  const stores = await openStores(t)
  const registry = await startRegistry(stores)
  await registry.ensureRegistered(TENANT, 'd1', undefined, 'user:t')
  await registry.markProvisioned(TENANT, 'd1', 'user:t')
  let complaints = 0
  const log = createLogger({ level: 'error', destination: { write: () => complaints++ } })
  const activation = new Activation({ ...stores, registry, log })
  await registry.stop()
  await activation.start()
  stores.stopAtEnd(activation)
  await stores.eventLog.append(TOPICS.deviceEvents, [
    { key: deviceKey(TENANT, 'd1'), schema: DEVICE_MESSAGE, value: jsonBytes({ tenant: TENANT, device: 'd1', kind: 'connected' }) },
  ])
  await until('it failed', () => complaints > 0)
  await registry.start()
  await until('active', async () => (await registry.getDevice(TENANT, 'd1')).state === 'active')
})
