import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { MongodbServer } from '../../deploy/servers/mongodb-server.ts'
import { StoreError } from '../../kernel/errors.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { serverAddress } from '../../test/testing/server-addresses.ts'
import type { Collection } from './documents.ts'
import { documentsOn, freshDatabase } from './testing/mongodb-fixture.ts'
import { answerLoser, type AnswerLoser } from './testing/mongodb-proxy.ts'

interface Counter {
  n: number
}

async function withLostAnswers(
  t: TestContext,
): Promise<{ loser: AnswerLoser; counters: Collection<Counter>; retried: () => Promise<number> }> {
  const url = serverAddress('mongodb')
  const loser = await answerLoser(t, url)
  const metrics = new Metrics()
  const documents = documentsOn({ url: loser.url, database: freshDatabase(t, url), retryDelayMs: 1 }, metrics)
  await documents.start()
  t.after(() => documents.stop())
  const counters = await documents.collection<Counter>({ name: 'counters', indexes: [{ name: 'n', paths: ['n'], unique: true }] })
  const retried = async (): Promise<number> => {
    const family = await metrics.registry.getSingleMetric('fleetpulse_documents_retried_requests_total')?.get()
    return family?.values[0]?.value ?? 0
  }
  return { loser, counters, retried }
}

describe('an answer that was lost', () => {
  it('does not make a write happen twice, or be told as lost', async (t) => {
    const { loser, counters, retried } = await withLostAnswers(t)
    loser.loseNextAnswer('update')
    assert.deepEqual(await counters.insert('a', { n: 1 }), { status: 'written', document: { _id: 'a', version: 1, n: 1 } })
    loser.loseNextAnswer('update')
    assert.deepEqual(await counters.update('a', { $inc: { n: 10 } }), { status: 'written', document: { _id: 'a', version: 2, n: 11 } })
    loser.loseNextAnswer('update')
    assert.equal((await counters.replace('a', 2, { n: 12 })).status, 'written')
    loser.loseNextAnswer('update')
    assert.deepEqual(await counters.put('a', { n: 13 }), { _id: 'a', version: 4, n: 13 })
    loser.loseNextAnswer('update')
    const many = await Promise.all(Array.from({ length: 20 }, (_, i) => counters.insert(`many-${i}`, { n: 100 + i })))
    assert.ok(many.every((answer) => answer.status === 'written'))
    assert.deepEqual(await counters.get('a'), { _id: 'a', version: 4, n: 13 })
    assert.equal(loser.lost(), 5)
    assert.equal(await retried(), 5)
  })

  it('of a delete is told as not known, retryable', async (t) => {
    const { loser, counters } = await withLostAnswers(t)
    await counters.insert('a', { n: 1 })
    loser.loseNextAnswer('delete')
    await assert.rejects(counters.delete('a'), (error: unknown) => error instanceof StoreError && error.retryable)
    assert.deepEqual(await counters.delete('a'), { status: 'missing' })
  })

  it('of a search is asked for again', async (t) => {
    const { loser, counters } = await withLostAnswers(t)
    await counters.insert('a', { n: 1 })
    loser.loseNextAnswer('find')
    assert.equal((await counters.find({ n: 1 })).length, 1)
    assert.equal(loser.lost(), 1)
  })
})

it(
  'keeps what it acknowledged while the server stops and starts, rejects the rest as retryable, and says how it is',
  { timeout: 300_000 },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'fleetpulse-mongodb-'))
    const server = new MongodbServer({ folder })
    await server.start()
    t.after(async () => {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    })
    const documents = documentsOn({ url: server.address, serverSelectionTimeoutMs: 2_000, attemptsMax: 2, heartbeatMs: 500 })
    await documents.start()
    t.after(() => documents.stop())
    const counters = await documents.collection<Counter>({ name: 'counters', indexes: [] })
    const acknowledged = new Map<string, number>()
    const rejected: unknown[] = []
    let writing = true
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let n = 0; writing; n++) {
        const id = `${writer}-${n % 50}`
        await counters.put(id, { n }).then(
          () => acknowledged.set(id, n),
          (error: unknown) => rejected.push(error),
        )
      }
    })
    const until = async (condition: () => boolean): Promise<void> => {
      while (!condition()) await sleep(systemClock, 10)
    }
    for (let round = 0; round < 2; round++) {
      const before = { acknowledged: acknowledged.size, rejected: rejected.length }
      await until(() => acknowledged.size > before.acknowledged + 50 || acknowledged.size === 400)
      await server.stop()
      await until(() => rejected.length > before.rejected && documents.failing !== null)
      assert.match(documents.failing ?? '', /^MongoDB at mongodb:\/\/127\.0\.0\.1:\d+ does not answer/)
      await server.start()
      await until(() => documents.failing === null)
    }
    writing = false
    await Promise.all(writers)
    assert.ok(rejected.length > 0)
    for (const error of rejected) assert.ok(error instanceof StoreError && error.retryable, String(error))
    const stored = new Map((await counters.find({})).map((document) => [document._id, document.n]))
    for (const [id, n] of acknowledged) assert.ok((stored.get(id) ?? -1) >= n, `${id} is at ${stored.get(id)}, acknowledged ${n}`)
    t.diagnostic(`${acknowledged.size} documents acknowledged, ${rejected.length} writes rejected`)
  },
)
