import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { LimitError, TimeoutError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { questdbAddress } from './questdb-address.ts'
import type { QuestdbConfig } from './questdb-config.ts'
import { QuestdbSql } from './questdb-sql.ts'
import { questdbConfig, sharedQuestdb } from './testing/questdb.ts'

const ENDLESS = 'SELECT sum(a.x * b.x) FROM long_sequence(1000000) a CROSS JOIN long_sequence(1000000) b'
const UNWANTED = 'SELECT max(a.x * b.x) FROM long_sequence(1000000) a CROSS JOIN long_sequence(1000000) b'

function openSql(t: TestContext, changes: Partial<QuestdbConfig>): QuestdbSql {
  const config = questdbConfig({ ...sharedQuestdb(), ...changes })
  const sql = new QuestdbSql({ config, address: questdbAddress(config), clock: systemClock, log: silentLogger })
  sql.open()
  t.after(() => sql.close())
  return sql
}

test('a query is given up by QuestDB after queryTimeoutMs, and the next one is answered', async (t) => {
  const sql = openSql(t, { queryTimeoutMs: 100 })
  await assert.rejects(sql.rows('add up', ENDLESS), (error: unknown) => {
    assert.ok(error instanceof TimeoutError && error.retryable)
    assert.match(error.message, /QuestDB at .* took too long to add up/)
    return true
  })
  assert.deepEqual(await sql.rows('ask', 'SELECT $1::VARCHAR, $2::LONG', ["'; DROP TABLE x; --", 42]), [["'; DROP TABLE x; --", 42]])
})

test('statements beyond readQueueMax are refused while the others go on', async (t) => {
  const sql = openSql(t, { queryTimeoutMs: 300, readConnections: 1, readQueueMax: 2 })
  const asked = [ENDLESS, 'SELECT 1::LONG', 'SELECT 2::LONG', 'SELECT 3::LONG', 'SELECT 4::LONG'].map((text) => sql.rows('ask', text))
  const outcomes = await Promise.allSettled(asked)
  const refused = outcomes
    .filter(({ status }) => status === 'rejected')
    .map((outcome) => (outcome as PromiseRejectedResult).reason as Error)
  assert.ok(refused[0] instanceof TimeoutError)
  assert.ok(refused.length > 1 && refused.slice(1).every((error) => error instanceof LimitError))
  assert.deepEqual((outcomes[1] as PromiseFulfilledResult<unknown>).value, [[1]])
})

test('a statement that nobody waits for any more ends in QuestDB too, and one that waits never begins', async (t) => {
  const sql = openSql(t, { queryTimeoutMs: 60_000, readConnections: 1 })
  const watcher = openSql(t, {})
  const isRunning = async (): Promise<boolean> => {
    const running = await watcher.rows('watch', 'SELECT query FROM query_activity()')
    return running.some(([text]) => String(text).startsWith(UNWANTED))
  }
  const until = async (wanted: boolean): Promise<void> => {
    while ((await isRunning()) !== wanted) await sleep(systemClock, 20)
  }
  const given = new AbortController()
  const running = sql.until(given.signal).rows('add up', UNWANTED)
  const waiting = sql.until(given.signal).rows('ask', 'SELECT 1::LONG')
  const gone = (error: unknown): boolean => error instanceof TimeoutError && /who asked waits no longer/.test(error.message)
  const ends = Promise.all([assert.rejects(running, gone), assert.rejects(waiting, gone)])
  await until(true)
  given.abort()
  await ends
  assert.deepEqual(await sql.rows('ask', 'SELECT 2::LONG'), [[2]], 'its place in the pool is free')
  await until(false)
  await assert.rejects(sql.until(given.signal).rows('ask', 'SELECT 3::LONG'), gone)
})
