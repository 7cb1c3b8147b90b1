import assert from 'node:assert/strict'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { describe, test, type TestContext } from 'node:test'
import { LimitError, TimeoutError } from '../../kernel/errors.ts'
import { seededRandom } from '../../kernel/random.ts'
import { nextTurn, systemClock, VirtualClock, type Clock } from '../../kernel/time.ts'
import { Readers } from './duckdb-readers.ts'

/** Runs for hours. */
const ENDLESS = 'SELECT sum(hash(a.range + b.range))::DOUBLE FROM range(10000000) a, range(10000000) b'

async function makeReaders(
  t: TestContext,
  options: { connections: number; clock: Clock; queryTimeoutMs: number; readQueueMax: number },
): Promise<Readers> {
  const instance = await DuckDBInstance.create(':memory:', { threads: '2' })
  const connections: DuckDBConnection[] = []
  for (let i = 0; i < options.connections; i++) connections.push(await instance.connect())
  const readers = new Readers(connections, options)
  t.after(async () => {
    await readers.close()
    for (const connection of connections) connection.closeSync()
    instance.closeSync()
  })
  return readers
}

const one = (readers: Readers): Promise<unknown> => readers.run('one', (query) => query.rows('SELECT 1::DOUBLE WHERE $1 = 1', [1]))

describe('queries', () => {
  test('that take too long are interrupted, and their connection serves on', async (t) => {
    const readers = await makeReaders(t, { connections: 1, clock: systemClock, queryTimeoutMs: 50, readQueueMax: 5 })
    await assert.rejects(
      readers.run('count for ever', (query) => query.rows(ENDLESS, [])),
      (error: unknown) => error instanceof TimeoutError && /count for ever.*50 ms.*queryTimeoutMs/.test(error.message),
    )
    assert.deepEqual(await one(readers), [[1]])
  })

  test('whose time runs out between two statements do not begin the second', async (t) => {
    const clock = new VirtualClock()
    const readers = await makeReaders(t, { connections: 1, clock, queryTimeoutMs: 50, readQueueMax: 5 })
    const slow = readers.run('two steps', async (query) => {
      await query.rows('SELECT 1', [])
      await clock.advance(51)
      return await query.rows('SELECT 2', [])
    })
    await assert.rejects(slow, TimeoutError)
    assert.deepEqual(await one(readers), [[1]])
  })

  test('beyond the connections wait in order, and are refused beyond readQueueMax', async (t) => {
    const readers = await makeReaders(t, { connections: 2, clock: systemClock, queryTimeoutMs: 60_000, readQueueMax: 3 })
    const order: number[] = []
    const runs = [0, 1, 2, 3, 4, 5].map((number) =>
      readers.run('query', async (query) => {
        order.push(number)
        await query.rows('SELECT 1', [])
      }),
    )
    const outcomes = await Promise.allSettled(runs)
    assert.ok((outcomes[5] as PromiseRejectedResult).reason instanceof LimitError)
    assert.deepEqual(order, [0, 1, 2, 3, 4])
    assert.deepEqual(await one(readers), [[1]])
  })

  test('that nobody waits for any more free their connection, running or waiting', async (t) => {
    const readers = await makeReaders(t, { connections: 1, clock: systemClock, queryTimeoutMs: 60_000, readQueueMax: 1 })
    const given = new AbortController()
    const running = readers.run('count for ever', (query) => query.rows(ENDLESS, []), given.signal)
    const waiting = readers.run('wait for ever', (query) => query.rows('SELECT 2', []), given.signal)
    await assert.rejects(one(readers), LimitError, 'the queue is full')
    given.abort()
    const gone = (error: unknown): boolean => error instanceof TimeoutError && /who asked waits no longer/.test(error.message)
    await assert.rejects(waiting, gone)
    // Its place is free at once; the connection as soon as DuckDB has ended the statement.
    const next = one(readers)
    await assert.rejects(running, gone)
    assert.deepEqual(await next, [[1]])
    await assert.rejects(
      readers.run('never begun', () => Promise.reject(new TypeError('it began')), given.signal),
      gone,
    )
  })

  test('given up at any moment leave the connection and the queue as they were', async (t) => {
    const readers = await makeReaders(t, { connections: 2, clock: systemClock, queryTimeoutMs: 60_000, readQueueMax: 50 })
    const random = seededRandom(7)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 40 }, async (_, n) => {
        const given = new AbortController()
        const isEndless = n % 3 === 0
        const answer = readers.run('add', (query) => query.rows(isEndless ? ENDLESS : `SELECT ${n}::DOUBLE`, []), given.signal)
        if (isEndless || random.next() < 0.5) {
          for (let turns = Math.floor(random.next() * 20); turns > 0; turns--) await nextTurn()
          given.abort()
        }
        return [n, (await answer)[0]?.[0]]
      }),
    )
    for (const [n, outcome] of outcomes.entries()) {
      if (outcome.status === 'fulfilled') assert.deepEqual(outcome.value, [n, n], 'an answer is that of its own question')
      else assert.ok(outcome.reason instanceof TimeoutError, String(outcome.reason))
      if (n % 3 === 0) assert.equal(outcome.status, 'rejected')
    }
    assert.deepEqual(await Promise.all([one(readers), one(readers), one(readers)]), [[[1]], [[1]], [[1]]])
  })

  test('end when the readers close', async (t) => {
    const readers = await makeReaders(t, { connections: 1, clock: systemClock, queryTimeoutMs: 60_000, readQueueMax: 3 })
    const running = assert.rejects(
      readers.run('count for ever', (query) => query.rows(ENDLESS, [])),
      /INTERRUPT/,
    )
    const waiting = assert.rejects(one(readers), { code: 'STORE_STOPPED' })
    await readers.close()
    await Promise.all([running, waiting])
  })
})
