import assert from 'node:assert/strict'
import { it, type TestContext } from 'node:test'
import { Metrics } from '../../kernel/metrics.ts'
import type { Collection, Filter, FindOptions } from './documents.ts'
import { lmdbDocuments } from './testing/lmdb-fixture.ts'

interface Thing {
  tenant: string
  n: number
  serial: string
  even: boolean
  tags?: number[]
}
const COUNT = 500

async function things(t: TestContext): Promise<{ collection: Collection<Thing>; examined: () => Promise<number> }> {
  const metrics = new Metrics()
  const documents = await lmdbDocuments(t, {}, metrics)
  const collection = await documents.collection<Thing>({
    name: 'things',
    indexes: [
      { name: 'by-tenant', paths: ['tenant'] },
      { name: 'by-number', paths: ['tenant', 'n'] },
      { name: 'n', paths: ['n'] },
      { name: 'serial', paths: ['serial'], unique: true },
      { name: 'tags', paths: ['tags'] },
    ],
  })
  const insert = (n: number): Promise<unknown> =>
    collection.insert(`id-${String(n).padStart(4, '0')}`, { tenant: n % 2 ? 'x' : 'y', n, serial: `s${n}`, even: n % 2 === 0 })
  await Promise.all(Array.from({ length: COUNT }, (_, n) => insert(n)))
  let before = 0
  const examined = async (): Promise<number> => {
    const total = (await metrics.registry.getSingleMetric('fleetpulse_documents_examined_documents_total')?.get())?.values[0]?.value ?? 0
    const since = total - before
    before = total
    return since
  }
  return { collection, examined }
}

/** Search, documents found, documents that may be read at most. */
const searches: [string, Filter, FindOptions, number, number][] = [
  ['the id', { _id: 'id-0007' }, {}, 1, 1],
  ['some ids', { _id: { $in: ['id-0007', 'id-0009', 'none'] }, even: false }, {}, 2, 2],
  ['a unique key', { serial: 's44', tenant: 'y' }, {}, 1, 1],
  ['equality on two paths', { tenant: 'x', n: 7 }, {}, 1, 1],
  ['equality and a bound', { tenant: 'x', n: { $gte: 10, $lt: 20 } }, {}, 5, 5],
  ['alternatives of one path', { n: { $in: [1, 2, 3] } }, {}, 3, 3],
  ['a bound alone', { n: { $gt: 489 } }, {}, 10, 10],
  ['order and limit on an indexed path', {}, { sort: { n: -1 }, limit: 5 }, 5, 5],
  ['order below an equal path', { tenant: 'x' }, { sort: { n: -1 }, limit: 5 }, 5, 5],
  ['order, limit and a bound', { tenant: 'x', n: { $gt: 100 } }, { sort: { n: 1 }, limit: 5 }, 5, 5],
  ['order by a path that is fixed', { tenant: 'x' }, { sort: { tenant: 1, n: 1 }, limit: 5 }, 5, 5],
  ['order by id with a limit', {}, { sort: { _id: -1 }, limit: 5 }, 5, 5],
  ['a page by id', { _id: { $gt: 'id-0100' } }, { sort: { _id: 1 }, limit: 5 }, 5, 5],
  ['a page by id below an equal path', { tenant: 'x', _id: { $gt: 'id-0100' } }, { sort: { _id: 1 }, limit: 5 }, 5, 5],
  ['order with a filter no index serves', { even: true }, { sort: { n: 1 }, limit: 5 }, 5, 10],
  ['no alternatives at all', { n: { $in: [] } }, {}, 0, 0],
  ['an impossible bound', { n: { $gt: 10, $lt: 5 } }, {}, 0, 0],
  ['nothing indexed', { even: true }, {}, 250, COUNT],
  ['an order no index gives', { even: true }, { sort: { even: 1, n: 1 }, limit: 3 }, 3, COUNT],
]

it('reads no more documents than the best index leads to', async (t) => {
  const { collection, examined } = await things(t)
  for (const [name, filter, options, found, most] of searches) {
    const result = await collection.find(filter, options)
    assert.equal(result.length, found, name)
    const read = await examined()
    assert.ok(read <= most, `${name}: read ${read}, at most ${most}`)
  }
})

it('counts a whole collection without reading it', async (t) => {
  const { collection, examined } = await things(t)
  assert.equal(await collection.count({}), COUNT)
  assert.equal(await examined(), 0)
})

it('uses an index of arrays for equality only', async (t) => {
  const { collection, examined } = await things(t)
  await collection.update('id-0003', { $set: { tags: [0, 5] } })
  await collection.update('id-0004', { $set: { tags: [2, 2, 9] } })
  assert.deepEqual(
    (await collection.find({ tags: { $gte: 1, $lte: 3 } })).map((thing) => thing.n),
    [3, 4],
    'each bound may be met by another element, as in MongoDB',
  )
  await examined()
  assert.deepEqual(
    (await collection.find({ tags: 2 })).map((thing) => thing.n),
    [4],
  )
  assert.equal(await examined(), 1)
  assert.deepEqual(
    (await collection.find({ tags: { $in: [0, 5, 9] } })).map((thing) => thing.n),
    [3, 4],
  )
})
