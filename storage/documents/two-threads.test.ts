import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { it } from 'node:test'
import { Worker } from 'node:worker_threads'
import { assertIndexesAgree } from './testing/index-agreement.ts'
import { documentsIn, temporaryFolder } from './testing/lmdb-fixture.ts'
import type { Race, RaceResult } from './testing/race-worker.ts'

const THREADS = 2

it('holds unique keys, compare-and-set and indexes against two threads at once', async (t) => {
  const directory = join(await temporaryFolder(t), 'store')
  const documents = documentsIn(directory)
  await documents.start()
  t.after(() => documents.stop())
  const counters = await documents.collection<{ n: number }>({ name: 'counters', indexes: [] })
  await counters.insert('c', { n: 0 })

  const gate = new Int32Array(new SharedArrayBuffer(4))
  const results = await Promise.all(
    Array.from({ length: THREADS }, async (_, thread) => {
      const race: Race = { directory, thread, inserts: 100, increments: 100, gate, threads: THREADS }
      const worker = new Worker(new URL('./testing/race-worker.js', import.meta.url), { workerData: race })
      const [result] = (await once(worker, 'message')) as [RaceResult]
      await once(worker, 'exit')
      return result
    }),
  )
  t.diagnostic(JSON.stringify(results))
  const sum = (of: (result: RaceResult) => number): number => results.reduce((total, result) => total + of(result), 0)
  assert.equal(
    sum((result) => result.inserted),
    1,
  )
  assert.equal(
    sum((result) => result.incremented),
    200,
  )
  assert.ok(sum((result) => result.overtaken) > 0, 'there was a race')
  assert.deepEqual(await counters.get('c'), { _id: 'c', version: 201, n: 200 })
  const slots = await documents.collection<{ key: string }>({ name: 'slots', indexes: [] })
  assert.equal((await slots.find({ key: 'the one' })).length, 1)
  await documents.stop()
  assert.equal(await assertIndexesAgree(directory, 'slots'), 1)
  assert.equal(await assertIndexesAgree(directory, 'counters'), 1)
})

it('shows at once what another handle has written, within one turn too', async (t) => {
  const directory = join(await temporaryFolder(t), 'store')
  const [first, second] = [documentsIn(directory), documentsIn(directory)]
  await Promise.all([first.start(), second.start()])
  t.after(() => Promise.all([first.stop(), second.stop()]))
  const written = await first.collection<{ n: number }>({ name: 'things', indexes: [] })
  const read = await second.collection<{ n: number }>({ name: 'things', indexes: [] })
  await written.insert('a', { n: 0 })
  for (let n = 1; n <= 50; n++) {
    const seen = read.get('a')
    await written.update('a', { $set: { n } })
    assert.equal((await read.get('a'))?.n, n)
    await seen
  }
})
