import assert from 'node:assert/strict'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { describe, test, type TestContext } from 'node:test'
import { LimitError, TimeoutError } from '../../kernel/errors.ts'
import { systemClock, VirtualClock, type Clock } from '../../kernel/time.ts'
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
