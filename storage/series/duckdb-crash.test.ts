import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { integerBetween, seededRandom } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { StoreChild } from './testing/child.ts'
import { allPages } from './testing/contract-engine.ts'
import { openStore } from './testing/store.ts'

const ROUNDS = 6
const SEED = process.env['TEST_SEED'] ?? 'kill-9'
/** A checkpoint every few writes, so that kills fall into checkpoints too. */
const config = { checkpointThresholdMb: 1, columnsMax: 4096, openColumnsMax: 8192 }

test('after kill -9 at any moment the rows are exactly those before the remembered positions, each once', async (t) => {
  t.diagnostic(`seed ${SEED}`)
  const random = seededRandom(SEED)
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-series-'))
  t.after(() => rm(directory, { recursive: true }))
  let total = 0
  for (let round = 0; round < ROUNDS; round++) {
    const child = new StoreChild({ directory, config })
    t.after(() => child.kill())
    child.process.send({ order: 'write-for-ever', rows: integerBetween(random, 50, 3_000) })
    await child.next()
    await sleep(systemClock, integerBetween(random, 0, 200))
    await child.kill()
    total = await assertConsistent(directory, child.stored)
  }
  t.diagnostic(`${total} rows after ${ROUNDS} rounds`)
})

/** Returns how many rows there are. */
async function assertConsistent(directory: string, acknowledged: number): Promise<number> {
  const store = await openStore(directory, { config })
  const positions = [...(await store.positions())]
  const remembered = positions.reduce((sum, [, next]) => sum + next, 0)
  assert.ok(remembered >= acknowledged, `${acknowledged} rows were acknowledged, ${remembered} are remembered`)
  const { items } = await allPages(store, { tenant: 'default', limit: 10_000 })
  const numbers = items.map(({ seq }) => Number(seq)).sort((a, b) => a - b)
  assert.deepEqual(
    numbers,
    Array.from({ length: remembered }, (_, number) => number),
  )
  await store.stop()
  return remembered
}
