import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { QuestdbServer } from '../../deploy/servers/questdb-server.ts'
import { FleetpulseError, TimeoutError } from '../../kernel/errors.ts'
import { integerBetween, seededRandom, systemRandom } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import type { QuestdbSeriesStore } from './questdb-series-store.ts'
import { allPages, MIDNIGHT, offsetsAfter, ReadingSource } from './testing/contract-engine.ts'
import { makeQuestdbStore, newPrefix, openQuestdbStore, runSql } from './testing/questdb.ts'

const KILLS = 3
const RETRY_MS = 50
const PATIENCE_MS = 90_000

/** What must not be done to the server that other tests use. */
describe('a QuestDB of its own', () => {
  let folder: string
  let server: QuestdbServer
  // While no server runs nothing else keeps this process from ending: the timers of a clock do not.
  const holder = createServer()
  const config = (): { httpUrl: string; pgUrl: string; tablePrefix: string } => ({
    httpUrl: server.address,
    pgUrl: server.pgAddress,
    tablePrefix: newPrefix(),
  })
  before(async () => {
    holder.listen(0, '127.0.0.1')
    folder = await mkdtemp(join(tmpdir(), 'fleetpulse-questdb-'))
    // Only a server for development lets a table be suspended by a statement.
    process.env['QDB_DEV_MODE_ENABLED'] = 'true'
    server = new QuestdbServer({ folder })
    await server.start()
  })
  after(async () => {
    holder.close()
    await server.kill()
    await rm(folder, { recursive: true })
  })

  /** As the road does: for as long as it takes, here within a bound. */
  async function untilDone<T>(run: () => Promise<T>): Promise<T> {
    const deadlineMs = systemClock.monotonicMs() + PATIENCE_MS
    for (;;) {
      try {
        return await run()
      } catch (error) {
        assert.ok(error instanceof FleetpulseError && error.retryable && systemClock.monotonicMs() < deadlineMs, String(error))
        await sleep(systemClock, RETRY_MS)
      }
    }
  }

  test('killed again and again while it is written to, it has every resolved reading once', async (t) => {
    const seed = Number(process.env['TEST_SEED'] ?? integerBetween(systemRandom, 1, 2 ** 31 - 1))
    t.diagnostic(`seed ${seed}`)
    const random = seededRandom(seed)
    const own = { ...config(), writeAttemptsMax: 1, requestTimeoutMs: 2_000 }
    let store = await openQuestdbStore(own)
    const source = new ReadingSource()
    const resolved: LoggedReading[] = []
    let killing = true
    const writer = async (): Promise<void> => {
      for (let round = 0; killing || round < 20; round++) {
        const batch = source.many(500, (index) => ({
          partition: index % 3,
          type: `t${index % 2}`,
          ...(index % 4 === 0 ? {} : { boot: 'b', seq: round * 500 + index }),
          values: { temperature: index, [`metric-${Math.floor(round / 15)}`]: true },
        }))
        await untilDone(() => store.write(batch, offsetsAfter(batch)))
        resolved.push(...batch)
        if (round % 10 === 9) {
          // Our own process may die, too.
          await store.stop()
          store = makeQuestdbStore(own)
          await untilDone(() => store.start())
        }
      }
    }
    const killer = async (): Promise<void> => {
      for (let kill = 0; kill < KILLS; kill++) {
        await sleep(systemClock, integerBetween(random, 50, 700))
        await server.kill()
        await server.start()
      }
      killing = false
    }
    await Promise.all([writer(), killer()])
    await untilDone(() => store.settle())
    t.diagnostic(`${resolved.length} readings`)
    assert.equal(await store.count('default'), resolved.length)
    const { items } = await allPages(store, { tenant: 'default', limit: 10_000 })
    const keys = (readings: readonly { type: string; ts: number; seq?: number | null; values: object }[]): string[] =>
      readings.map(({ type, ts, seq, values }) => JSON.stringify([type, ts, seq ?? null, values])).sort()
    assert.deepEqual(keys(items), keys(resolved))
    assert.deepEqual(await store.positions(), offsetsAfter(resolved))
    await store.stop()
  })

  test('killed in the middle of making tables, it gets them anew', async () => {
    const own = config()
    await (await openQuestdbStore(own)).stop()
    await server.kill()
    const database = join(folder, 'root', 'db')
    const made = (await readdir(database)).filter((name) => name.startsWith(own.tablePrefix))
    assert.equal(made.length, 2)
    for (const name of made) await rm(join(database, name, 'txn_seq'), { recursive: true })
    await server.start()
    const store = await openQuestdbStore(own)
    const rows = new ReadingSource().many(5)
    await store.write(rows, offsetsAfter(rows))
    await store.settle()
    assert.equal(await store.count('default'), 5)
    await store.stop()
  })

  test('while it is away, writes and questions fail as retryable, naming it; a stop waits for nothing', async () => {
    const store = await openQuestdbStore({ ...config(), writeAttemptsMax: 2, writeRetryInitialMs: 1, healthMs: 50 })
    const rows = new ReadingSource().many(2)
    await store.write(rows, offsetsAfter(rows))
    await server.kill()
    for (const ask of [() => store.write(rows, new Map([[0, 9]])), () => store.count('default'), () => store.positions()]) {
      await assert.rejects(ask, (error: unknown) => {
        assert.ok(error instanceof FleetpulseError && error.retryable)
        assert.match(error.message, /QuestDB at (http:\/\/)?127\.0\.0\.1:\d+ does not answer/)
        return true
      })
    }
    assert.match(String(store.failing), /does not answer.*nothing is dropped/)
    await server.start()
    await untilDone(() => store.write(rows, new Map([[0, 9]])))
    await untilDone(() => (store.failing === null ? Promise.resolve() : Promise.reject(new TimeoutError(String(store.failing)))))
    assert.equal(await store.count('default'), 2)
    await store.stop()
  })

  test('a suspended table takes writes, is shown, makes identities uncertain, and is well after the remedy', async () => {
    const own = { ...config(), appliedTimeoutMs: 60_000 }
    const store: QuestdbSeriesStore = await openQuestdbStore(own)
    const source = new ReadingSource()
    const first = source.many(3, () => ({ ts: MIDNIGHT, boot: 'b', seq: 1 })).slice(0, 1)
    await store.write(first, offsetsAfter(first))
    await store.settle()
    const [row] = await runSql(own.pgUrl, `SELECT table_name FROM ${own.tablePrefix}catalogue LIMIT 1`)
    const table = String(row?.[0])
    await runSql(own.pgUrl, `ALTER TABLE ${table} SUSPEND WAL`)
    const second = [source.reading({ ts: MIDNIGHT, boot: 'b', seq: 2 })]
    await store.write(second, offsetsAfter(second))
    const identity = { tenant: 'default', device: 'pump-1', ts: MIDNIGHT, boot: 'b', seq: 2, partition: 0, offset: 99 }
    await assert.rejects(store.contains([identity]), { retryable: true, message: new RegExp(`suspended table ${table}`) })
    // Other questions are answered with what can be read.
    assert.equal(await store.count('default'), 1)
    await store.checkHealth()
    assert.match(String(store.failing), new RegExp(`QuestDB suspended table ${table}.*ALTER TABLE ${table} RESUME WAL`))
    await runSql(own.pgUrl, `ALTER TABLE ${table} RESUME WAL`)
    assert.deepEqual(await store.contains([identity, { ...identity, seq: 3 }]), [true, false])
    await store.checkHealth()
    assert.equal(store.failing, null)
    assert.equal(await store.count('default'), 2)
    await store.stop()
  })
})
