import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { Metrics } from '../../kernel/metrics.ts'
import { integerBetween, seededRandom, systemRandom } from '../../kernel/random.ts'
import type { QuestdbConfig } from './questdb-config.ts'
import type { QuestdbSeriesStore } from './questdb-series-store.ts'
import { DAY_MS, MIDNIGHT, offsetsAfter, ReadingSource } from './testing/contract-engine.ts'
import { dropTables, newPrefix, openQuestdbStore, runSql, sharedQuestdb } from './testing/questdb.ts'

const { httpUrl, pgUrl } = sharedQuestdb()
const MINUTE_MS = 60_000
/** Answers asked for until one comes from a roll-up: QuestDB makes and refreshes it meanwhile. */
const TRIES_MAX = 500

interface Opened {
  store: QuestdbSeriesStore
  /** How many answers came from a roll-up. */
  fromRollups: () => Promise<number>
}

function opener(t: TestContext): { prefix: string; open: (changes?: Partial<QuestdbConfig>) => Promise<Opened> } {
  const prefix = newPrefix()
  const stores: QuestdbSeriesStore[] = []
  t.after(async () => {
    for (const store of stores) await store.stop()
    await dropTables(pgUrl, prefix)
  })
  return {
    prefix,
    open: async (changes = {}) => {
      const metrics = new Metrics()
      const config = {
        httpUrl,
        pgUrl,
        tablePrefix: prefix,
        catalogueMaxAgeMs: 0,
        rollupMinRangeMs: MINUTE_MS,
        rollupWaitMs: 20_000,
        ...changes,
      }
      const store = await openQuestdbStore(config, { metrics })
      stores.push(store)
      const fromRollups = async (): Promise<number> => {
        const counted = await metrics.registry.getSingleMetric('fleetpulse_series_downsamples_total')?.get()
        return counted?.values.find(({ labels }) => labels['source'] === 'roll-up')?.value ?? 0
      }
      return { store, fromRollups }
    },
  }
}

test('a roll-up answers as the readings do, through late readings, replays, new metrics and retention', async (t) => {
  const seed = Number(process.env['TEST_SEED'] ?? integerBetween(systemRandom, 1, 2 ** 31 - 1))
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const { open } = opener(t)
  const rolled = await open()
  const plain = await open({ rollups: false })
  const source = new ReadingSource()
  const between = (min: number, max: number): number => integerBetween(random, min, max)
  for (let round = 0; round < 12; round++) {
    const readings = source.many(between(1, 400), () => ({
      device: `d${between(0, 2)}`,
      type: between(0, 9) === 0 ? 'old' : 'pump',
      // Some days late, some at one instant with others.
      ts: MIDNIGHT + between(0, 9) * 20 * MINUTE_MS - (between(0, 9) === 0 ? DAY_MS : 0) + between(0, 59_999),
      receivedAt: MIDNIGHT + round * 1000,
      ...(between(0, 1) === 0 ? { boot: 'b', seq: between(0, 1_000_000) } : {}),
      values: { temperature: between(-1000, 1000) / 4, ...(round > 5 ? { later: between(0, 9) } : {}) },
    }))
    await rolled.store.write(readings, offsetsAfter(readings))
    await rolled.store.settle()
    if (round % 5 === 4) assert.equal((await rolled.store.retain(MIDNIGHT + (round - 2) * 1000)) > 0, true)
    for (const metric of ['temperature', 'later']) {
      const asked = {
        tenant: 'default',
        device: `d${between(0, 2)}`,
        metric,
        fromTs: MIDNIGHT - DAY_MS + between(-MINUTE_MS, MINUTE_MS),
        toTs: MIDNIGHT + DAY_MS + between(-MINUTE_MS, MINUTE_MS),
        intervalMs: between(1, 90) * MINUTE_MS,
      }
      const expected = await plain.store.downsample(asked)
      // The first answer may make the roll-up, the next may use it.
      for (let again = 0; again < 2; again++) assert.deepEqual(await rolled.store.downsample(asked), expected)
    }
  }
  assert.ok((await rolled.fromRollups()) >= 5, `${await rolled.fromRollups()} answers came from roll-ups`)
  assert.equal(await plain.fromRollups(), 0)
})

test('a roll-up is asked only for whole minutes, long times and numbers, and there are no more than allowed', async (t) => {
  const { prefix, open } = opener(t)
  const { store, fromRollups } = await open({ rollupsMax: 1, rollupMinRangeMs: 10 * MINUTE_MS })
  const source = new ReadingSource()
  const readings = source.many(100, (index) => ({ ts: MIDNIGHT + index * 30_000, values: { a: index, b: index } }))
  await store.write(readings, offsetsAfter(readings))
  await store.settle()
  const asked = {
    tenant: 'default',
    device: 'pump-1',
    metric: 'a',
    fromTs: MIDNIGHT,
    toTs: MIDNIGHT + 60 * MINUTE_MS,
    intervalMs: 2 * MINUTE_MS,
  }
  await store.downsample({ ...asked, intervalMs: MINUTE_MS - 1 })
  await store.downsample({ ...asked, toTs: MIDNIGHT + 9 * MINUTE_MS })
  const views = async (): Promise<unknown[][]> =>
    (await runSql(pgUrl, 'SELECT view_name, refresh_type, view_status FROM materialized_views()')).filter(([name]) =>
      String(name).startsWith(prefix),
    )
  assert.deepEqual(await views(), [])
  for (let tries = 0; (await fromRollups()) < 2; tries++) {
    assert.ok(tries < TRIES_MAX)
    const buckets = await store.downsample(asked)
    assert.deepEqual(buckets[1], { ts: MIDNIGHT + 2 * MINUTE_MS, count: 4, min: 4, max: 7, mean: 5.5, first: 4, last: 7 })
    assert.equal(buckets.length, 25)
    await store.downsample({ ...asked, metric: 'b' })
  }
  assert.deepEqual(
    (await views()).map(([, ...rest]) => rest),
    [['timer', 'valid']],
  )
})

test('an invalid roll-up is not used, is shown, and is well again after the remedy', async (t) => {
  const { prefix, open } = opener(t)
  const { store, fromRollups } = await open()
  const source = new ReadingSource()
  const readings = source.many(10, (index) => ({ ts: MIDNIGHT + index * 30_000 }))
  await store.write(readings, offsetsAfter(readings))
  await store.settle()
  const asked = {
    tenant: 'default',
    device: 'pump-1',
    metric: 'temperature',
    fromTs: MIDNIGHT,
    toTs: MIDNIGHT + 60 * MINUTE_MS,
    intervalMs: 5 * MINUTE_MS,
  }
  const expected = await store.downsample(asked)
  for (let tries = 0; (await fromRollups()) < 1; tries++) {
    assert.ok(tries < TRIES_MAX)
    assert.deepEqual(await store.downsample(asked), expected)
  }
  await store.checkHealth()
  assert.equal(store.failing, null)
  const [row] = await runSql(pgUrl, `SELECT table_name FROM ${prefix}catalogue LIMIT 1`)
  const table = String(row?.[0])
  await runSql(pgUrl, `UPDATE ${table} SET m_temperature = m_temperature + 1`)
  await store.settle()
  const isInvalid = async (): Promise<boolean> => {
    await store.checkHealth()
    return store.failing !== null
  }
  for (let tries = 0; tries < 500 && !(await isInvalid()); tries++) await runSql(pgUrl, 'SELECT 1')
  const remedy = /REFRESH MATERIALIZED VIEW \S+ FULL/.exec(String(store.failing))?.[0]
  assert.ok(remedy !== undefined, String(store.failing))
  assert.equal((await store.downsample(asked))[0]?.first, 21)
  assert.equal(await fromRollups(), 1)
  await runSql(pgUrl, remedy)
  for (let tries = 0; tries < 500 && (await isInvalid()); tries++) await runSql(pgUrl, 'SELECT 1')
  assert.equal(store.failing, null)
  for (let tries = 0; (await fromRollups()) < 2; tries++) {
    assert.ok(tries < TRIES_MAX)
    assert.equal((await store.downsample(asked))[0]?.first, 21)
  }
})
