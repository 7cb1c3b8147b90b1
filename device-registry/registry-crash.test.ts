import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { integerBetween, seededRandom } from '../kernel/random.ts'
import { temporaryFolder } from '../storage/documents/testing/lmdb-fixture.ts'
import type { Device } from '../contracts/device.ts'
import { deviceEvents, openStores, startRegistry } from './testing/stores.ts'

const ROUNDS = 3

it('announces every change in the end, however often it is killed', async (t) => {
  const folder = await temporaryFolder(t)
  const seed = Number(process.env.TEST_SEED ?? 20_251_121)
  t.diagnostic(`seed ${seed} (TEST_SEED)`)
  const random = seededRandom(seed)
  const acknowledged: string[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const program = fileURLToPath(new URL('./testing/crash-child.js', import.meta.url))
    const child = spawn(process.execPath, [program, folder, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(child, 'exit')
    const count = integerBetween(random, 20, 200)
    let said = 0
    for await (const id of createInterface({ input: child.stdout })) {
      acknowledged.push(id)
      if (++said === count) child.kill('SIGKILL')
    }
    assert.equal(((await exited) as unknown[])[1], 'SIGKILL')
  }
  const stores = await openStores(t, folder)
  const devices = await stores.documents.collection<Device & { announced: boolean }>({ name: 'devices', indexes: [] })
  t.diagnostic(`${acknowledged.length} acknowledged, ${await devices.count({ announced: false })} left to announce after the last kill`)
  await startRegistry(stores)
  assert.equal(await devices.count({ announced: false }), 0)
  const announced = new Set(
    (await deviceEvents(stores.eventLog)).map((event) => ('state' in event ? `${event.device} ${event.state}` : '')),
  )
  const all = await devices.find({})
  for (const { id, state } of all) assert.ok(announced.has(`${id} ${state}`), `${id} became ${state} and nobody was told`)
  const stored = new Set(all.map(({ id }) => id))
  assert.deepEqual(
    acknowledged.filter((id) => !stored.has(id)),
    [],
  )
})
