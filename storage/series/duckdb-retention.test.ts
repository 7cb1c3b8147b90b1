import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { allPages, MIDNIGHT, offsetsAfter, ReadingSource } from './testing/contract-engine.ts'
import { openStore } from './testing/store.ts'

const ROUND_ROWS = 60_000
const ROUNDS = 10
/** Rows kept, in rounds. */
const KEPT_ROUNDS = 2

test('under retention the files stop growing, while writes and queries go on', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-series-'))
  const store = await openStore(directory, { config: { retentionSliceRows: 25_000, checkpointThresholdMb: 1024 } })
  t.after(async () => {
    await store.stop()
    await rm(directory, { recursive: true })
  })
  const random = seededRandom('retention')
  const source = new ReadingSource()
  const sizes: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const rows = source.many(ROUND_ROWS, () => ({ values: { noise: gaussian(random) } }))
    const half = rows.slice(0, ROUND_ROWS / 2)
    const rest = rows.slice(ROUND_ROWS / 2)
    await store.write(half, offsetsAfter(half))
    const receivedBefore = MIDNIGHT + (round + 1 - KEPT_ROUNDS) * ROUND_ROWS * 1000 + 5
    const [removed] = await Promise.all([
      store.retain(receivedBefore),
      store.write(rest, offsetsAfter(rest)),
      store.range({ tenant: 'default', limit: 1_000 }),
      store.latest('default', 'pump-1'),
    ])
    assert.equal(removed, round < KEPT_ROUNDS ? 0 : ROUND_ROWS)
    assert.equal(await store.count('default'), Math.min(round + 1, KEPT_ROUNDS) * ROUND_ROWS)
    sizes.push(await sizeBytes(directory))
  }
  t.diagnostic(`sizes in KiB: ${sizes.map((bytes) => bytes >> 10).join(' ')}`)
  const settled = Math.max(...sizes.slice(KEPT_ROUNDS + 1, ROUNDS / 2 + 1))
  assert.ok(Math.max(...sizes.slice(ROUNDS / 2 + 1)) <= settled * 1.25, `the files grew after they had settled: ${sizes.join(' ')}`)
  const { items } = await allPages(store, { tenant: 'default', limit: 10_000 })
  const expected = Array.from({ length: KEPT_ROUNDS * ROUND_ROWS }, (_, index) => MIDNIGHT + (ROUNDS * ROUND_ROWS - 1 - index) * 1000)
  assert.deepEqual(
    items.map(({ ts }) => ts),
    expected,
  )
})

/** The database file and its write-ahead log. */
async function sizeBytes(directory: string): Promise<number> {
  const sizes = (await readdir(directory)).map(async (name) => (await stat(join(directory, name))).size)
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}
