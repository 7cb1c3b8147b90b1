import assert from 'node:assert/strict'
import { DuckDBInstance, type DuckDBConnection, type DuckDBPreparedStatement, type DuckDBValue } from '@duckdb/node-api'
import { describe, test, type TestContext } from 'node:test'
import { PreparedStatements } from './duckdb-prepared.ts'

/** Two connections of one database; what the first prepares is counted. */
async function connections(t: TestContext): Promise<{ sql: DuckDBConnection; other: DuckDBConnection; texts: string[] }> {
  const instance = await DuckDBInstance.create(':memory:')
  const [sql, other] = [await instance.connect(), await instance.connect()]
  const texts: string[] = []
  const prepare = sql.prepare.bind(sql)
  sql.prepare = (text) => {
    texts.push(text)
    return prepare(text)
  }
  t.after(() => {
    for (const each of [sql, other]) each.closeSync()
    instance.closeSync()
  })
  return { sql, other, texts }
}

async function firstRow(statement: DuckDBPreparedStatement): Promise<readonly DuckDBValue[] | undefined> {
  const result = await statement.run()
  return result.chunkCount === 0 ? undefined : result.getChunk(0).getRows()[0]
}

describe('prepared statements', () => {
  test('are prepared once, and see rows and columns that others added since', async (t) => {
    const { sql, other, texts } = await connections(t)
    await other.run('CREATE TABLE r (a DOUBLE); INSERT INTO r VALUES (1)')
    const statements = new PreparedStatements(sql, 4)
    const sum = (): Promise<unknown> =>
      statements.using('SELECT sum(a) FROM r WHERE a > $1', (each) => (each.bindBigInt(1, 0n), firstRow(each)))
    assert.deepEqual(await sum(), [1])
    await other.run('ALTER TABLE r ADD COLUMN b VARCHAR')
    await other.run(`INSERT INTO r VALUES (2, 'x')`)
    assert.deepEqual(await sum(), [3])
    assert.deepEqual(await statements.using('SELECT b FROM r WHERE a = 2', firstRow), ['x'])
    assert.equal(texts.length, 2)
    statements.close()
  })

  test('are forgotten when there are too many, the least recently used first, and when their use failed', async (t) => {
    const { sql, texts } = await connections(t)
    const statements = new PreparedStatements(sql, 2)
    const ask = (text: string): Promise<unknown> => statements.using(text, firstRow)
    for (const text of ['SELECT 1', 'SELECT 2', 'SELECT 1', 'SELECT 3', 'SELECT 1', 'SELECT 2'])
      assert.deepEqual(await ask(text), [Number(text.at(-1))])
    assert.deepEqual(texts, ['SELECT 1', 'SELECT 2', 'SELECT 3', 'SELECT 2'])
    await assert.rejects(ask(`SELECT error('on purpose')`), /on purpose/)
    await assert.rejects(ask(`SELECT error('on purpose')`), /on purpose/)
    assert.equal(texts.length, 6)
    statements.close()
    assert.deepEqual(await ask('SELECT 1'), [1], 'closed, it begins anew')
    statements.close()
  })
})
