import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { MongoClient } from 'mongodb'
import { ConflictError, describeError, InvalidInputError, StoreError } from '../../kernel/errors.ts'
import { serverAddress } from '../../test/testing/server-addresses.ts'
import { documentsContract } from './documents.contract.ts'
import type { Collection, Documents } from './documents.ts'
import { documentsOn, freshDatabase, mongodbDocuments } from './testing/mongodb-fixture.ts'
import { lmdbDocuments } from './testing/lmdb-fixture.ts'

documentsContract('MongoDB', (t) => mongodbDocuments(t, { url: serverAddress('mongodb') }))
documentsContract('MongoDB, in batches of two documents', (t) =>
  mongodbDocuments(t, { url: serverAddress('mongodb'), batchDocumentsMax: 2 }),
)

/** Both engines, for what must be the same on them. */
async function both(t: TestContext): Promise<Documents[]> {
  return [await lmdbDocuments(t), await mongodbDocuments(t, { url: serverAddress('mongodb') })]
}

/** Two processes on one database, as far as MongoDB can tell: two clients that know nothing of each other. */
async function twoOnOneDatabase(t: TestContext): Promise<[Documents, Documents]> {
  const url = serverAddress('mongodb')
  const database = freshDatabase(t, url)
  const [first, second] = [documentsOn({ url, database }), documentsOn({ url, database })]
  await Promise.all([first.start(), second.start()])
  t.after(() => Promise.all([first.stop(), second.stop()]))
  return [first, second]
}

/** Adds one by reading and replacing, until it is not overtaken. */
async function increment(counters: Collection<{ n: number }>, id: string): Promise<void> {
  for (;;) {
    const counter = await counters.get(id)
    assert.ok(counter !== null)
    if ((await counters.replace(id, counter.version, { n: counter.n + 1 })).status === 'written') return
  }
}

describe('what is the same on both engines', () => {
  it('odd names, texts and numbers come back, are found, and are sorted alike', async (t) => {
    const value = {
      $set: 1,
      'a.b': { $gt: 2 },
      _bsontype: 'ObjectId',
      half: '\ud800',
      nul: 'x\u0000y',
      numbers: [2 ** 31, -(2 ** 31) - 1, 2 ** 53 - 1, 2 ** 53 + 2, 1e300, 5e-324, -0, 0.1],
    }
    for (const documents of await both(t)) {
      const things = await documents.collection<Record<string, unknown>>({ name: 'things', indexes: [{ name: 'text', paths: ['text'] }] })
      await things.insert('odd', { ...value, _write: 'mine', text: '\ud800' })
      const found = await things.get('odd')
      const { _id, version, ...rest } = found ?? {}
      assert.equal(
        JSON.stringify(rest),
        JSON.stringify({ ...value, _write: 'mine', text: '\ud800' }),
        `${documents.constructor.name} ${String(_id)} ${String(version)}`,
      )
      assert.equal((await things.find({ text: '\ud800' })).length, 1)
      assert.equal((await things.find({ _write: 'mine' })).length, 1)
      assert.equal((await things.find({ numbers: 2 ** 53 - 1 })).length, 1)
      const texts = ['b', 'a', 'B', 'ä', 'aa', '', 'a\u0000', 'a ', 'Z', '_', '10', '9']
      await Promise.all(texts.map((text, i) => things.insert(`t${i}`, { text })))
      const sorted = (await things.find({ _id: { $ne: 'odd' } }, { sort: { text: 1 } })).map((document) => document.text)
      assert.deepEqual(sorted, [...texts].sort(), 'binary order')
    }
  })

  it('numbers stay numbers through updates that leave 32 and 53 bits', async (t) => {
    for (const documents of await both(t)) {
      const counters = await documents.collection<{ n: number }>({ name: 'counters', indexes: [] })
      await counters.insert('a', { n: 2 ** 31 - 1 })
      for (const by of [1, 2 ** 40, 2 ** 53]) await counters.update('a', { $inc: { n: by } })
      assert.equal((await counters.get('a'))?.n, 2 ** 31 + 2 ** 40 + 2 ** 53)
    }
  })

  it('an index over two arrays is refused', async (t) => {
    for (const documents of await both(t)) {
      const things = await documents.collection<{ a: number[]; b: number[] }>({
        name: 'things',
        indexes: [{ name: 'ab', paths: ['a', 'b'], unique: true }],
      })
      await assert.rejects(things.insert('x', { a: [1, 2], b: [1, 2] }), InvalidInputError)
      assert.equal(await things.get('x'), null)
    }
  })

  it('writes that are asked for together take effect in that order', async (t) => {
    for (const documents of await both(t)) {
      const things = await documents.collection<{ key: string }>({
        name: 'things',
        indexes: [{ name: 'key', paths: ['key'], unique: true }],
      })
      const answers = await Promise.all([
        things.insert('a', { key: '1' }),
        things.update('a', { $set: { key: '2' } }),
        things.insert('b', { key: '1' }),
        things.delete('a'),
        things.put('c', { key: '2' }),
        things.insert('c', { key: '3' }),
      ])
      assert.deepEqual(
        answers.map((answer) => ('status' in answer ? answer.status : answer.version)),
        ['written', 'written', 'written', 'deleted', 1, 'conflict'],
        documents.constructor.name,
      )
    }
  })
})

describe('two processes on one database', () => {
  it('one of many inserts has a unique key, no update is lost, and one writer per version wins', async (t) => {
    const pair = await twoOnOneDatabase(t)
    const slots = await Promise.all(
      pair.map((each) => each.collection<{ key: string }>({ name: 'slots', indexes: [{ name: 'key', paths: ['key'], unique: true }] })),
    )
    const counters = await Promise.all(pair.map((each) => each.collection<{ n: number }>({ name: 'counters', indexes: [] })))
    await counters[0]?.insert('c', { n: 0 })
    const inserts = slots.flatMap((each, who) => Array.from({ length: 30 }, (_, i) => each.insert(`${who}-${i}`, { key: 'the one' })))
    const updates = counters.flatMap((each) => Array.from({ length: 40 }, () => each.update('c', { $inc: { n: 1 } })))
    const [inserted] = await Promise.all([
      Promise.all(inserts),
      Promise.all(updates),
      Promise.all(counters.flatMap((each) => Array.from({ length: 20 }, () => increment(each, 'c')))),
    ])
    assert.equal(inserted.filter((answer) => answer.status === 'written').length, 1)
    assert.equal(await slots[0]?.count({ key: 'the one' }), 1)
    assert.deepEqual(await counters[1]?.get('c'), { _id: 'c', version: 121, n: 120 })
    const rivals = await Promise.all(
      counters.flatMap((each, who) => Array.from({ length: 10 }, (_, i) => each.replace('c', 121, { n: who * 100 + i }))),
    )
    assert.equal(rivals.filter((answer) => answer.status === 'written').length, 1)
    const puts = await Promise.all(counters.flatMap((each) => Array.from({ length: 10 }, (_, n) => each.put('p', { n }))))
    assert.deepEqual(
      puts.map((put) => put.version).sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, i) => i + 1),
    )
    const deletes = await Promise.all(counters.flatMap((each) => Array.from({ length: 5 }, () => each.delete('p'))))
    assert.equal(deletes.filter((answer) => answer.status === 'deleted').length, 1, 'one of them deleted it')
  })

  it('a read sees what the other has been told is written', async (t) => {
    const [first, second] = await twoOnOneDatabase(t)
    const written = await first.collection<{ n: number }>({ name: 'things', indexes: [] })
    const read = await second.collection<{ n: number }>({ name: 'things', indexes: [] })
    await written.insert('a', { n: 0 })
    for (let n = 1; n <= 30; n++) {
      await written.update('a', { $set: { n } })
      assert.equal((await read.get('a'))?.n, n)
    }
  })
})

describe('declaring', () => {
  it('makes indexes once under their names, anew when they are declared otherwise, and keeps those of others', async (t) => {
    const url = serverAddress('mongodb')
    const database = freshDatabase(t, url)
    const documents = documentsOn({ url, database })
    await documents.start()
    t.after(() => documents.stop())
    const declare = (name: string, paths: string[], unique: boolean): Promise<unknown> =>
      documents.collection({ name: 'things', indexes: [{ name, paths, unique }] })
    await declare('one', ['a'], false)
    await declare('two', ['b'], true)
    await declare('one', ['a', 'c'], true)
    await declare('one', ['a', 'c'], true)
    const client = new MongoClient(url)
    const indexes = await client.db(database).collection('things').indexes()
    await client.close()
    const shown = indexes.map(({ name, key, unique }) => `${name} ${Object.keys(key).join()} ${unique ?? false}`).sort()
    assert.deepEqual(shown, ['_id_ _id false', 'one a,c true', 'two b true'])
  })

  it('says in one sentence which documents keep a unique index from being made', async (t) => {
    const documents = await mongodbDocuments(t, { url: serverAddress('mongodb') })
    const things = await documents.collection<{ serial: string }>({ name: 'things', indexes: [] })
    await things.insert('a', { serial: '1' })
    await things.insert('b', { serial: '1' })
    await assert.rejects(
      documents.collection({ name: 'things', indexes: [{ name: 'serial', paths: ['serial'], unique: true }] }),
      (error: unknown) => {
        assert.ok(error instanceof ConflictError)
        assert.match(error.message, /^documents of things in database test-\w+ of MongoDB have the same serial, which must be unique$/)
        assert.match(describeError(error), /"1"/)
        assert.match(error.remedy ?? '', /Change or delete/)
        return true
      },
    )
  })
})

it('starts again after a stop, and refuses to work between', async (t) => {
  const documents = await mongodbDocuments(t, { url: serverAddress('mongodb') })
  const things: Collection<{ n: number }> = await documents.collection<{ n: number }>({ name: 'things', indexes: [] })
  const written = things.insert('a', { n: 1 })
  await documents.stop()
  assert.equal((await written).status, 'written', 'a stop lets writes under way end')
  await assert.rejects(things.get('a'), StoreError)
  await assert.rejects(things.insert('b', { n: 1 }), StoreError)
  await documents.start()
  await documents.start()
  assert.equal((await things.get('a'))?.n, 1)
  assert.equal(documents.failing, null)
})

it('bounds what waits', async (t) => {
  const documents = await mongodbDocuments(t, { url: serverAddress('mongodb'), waitingWritesMax: 100 })
  const things = await documents.collection<{ n: number }>({ name: 'things', indexes: [] })
  const answers = await Promise.allSettled(Array.from({ length: 150 }, (_, n) => things.put(`id-${n}`, { n })))
  const refused = answers.filter((answer) => answer.status === 'rejected').map((answer) => (answer.reason as { code?: string }).code)
  assert.deepEqual(
    refused,
    Array.from({ length: 50 }, () => 'LIMIT_REACHED'),
  )
  assert.equal(await things.count({}), 100)
})
