import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { describeError, FleetpulseError } from '../../kernel/errors.ts'
import { serverAddress } from '../../test/testing/server-addresses.ts'
import type { Collection, Filter, Update } from './documents.ts'
import { lmdbDocuments } from './testing/lmdb-fixture.ts'
import { mongodbDocuments } from './testing/mongodb-fixture.ts'

const RUNS = 60
type Thing = Record<string, unknown>

const scalar = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, 0, 1, 2, -1.5, 2 ** 40, '', 'x', 'xy', 'X', 'x\u0000y', 'ä', '\ud800'),
  fc.integer({ min: -3, max: 3 }),
)
const value = fc.oneof(
  { weight: 8, arbitrary: scalar },
  { weight: 2, arbitrary: fc.array(scalar, { maxLength: 3 }) },
  { weight: 2, arbitrary: fc.record({ k: scalar }) },
  { weight: 1, arbitrary: fc.array(fc.record({ k: scalar, m: scalar }, { requiredKeys: [] }), { maxLength: 2 }) },
)
const thing = fc.record<Thing>({ a: value, b: scalar, c: fc.record({ d: value, $e: scalar }, { requiredKeys: [] }) }, { requiredKeys: [] })
const id = fc.constantFrom('i', 'j', 'k', 'l', 'm', 'n')
const path = fc.constantFrom('a', 'b', 'c.d', 'a.k', 'c.d.k')

const update: fc.Arbitrary<Update> = fc.oneof(
  fc.tuple(path, value).map(([at, to]) => ({ $set: { [at]: to } })),
  fc.tuple(path, fc.integer({ min: -5, max: 5 })).map(([at, by]) => ({ $inc: { [at]: by } })),
  path.map((at) => ({ $unset: { [at]: '' } })),
  fc.tuple(path, scalar).map(([at, item]) => ({ $push: { [at]: item } })),
  fc.tuple(path, scalar).map(([at, item]) => ({ $addToSet: { [at]: item } })),
  fc.tuple(path, scalar).map(([at, item]) => ({ $pull: { [at]: item } })),
)
const step = fc.oneof(
  fc.record({ do: fc.constant('insert' as const), id, document: thing }),
  fc.record({ do: fc.constant('put' as const), id, document: thing }),
  fc.record({ do: fc.constant('replace' as const), id, version: fc.integer({ min: 1, max: 3 }), document: thing }),
  fc.record({ do: fc.constant('update' as const), id, update, version: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }) }),
  fc.record({ do: fc.constant('delete' as const), id, version: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }) }),
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

const comparison = fc.oneof(
  { weight: 4, arbitrary: scalar },
  { weight: 2, arbitrary: fc.record({ $in: fc.array(scalar, { maxLength: 3 }) }) },
  { weight: 3, arbitrary: fc.oneof(fc.record({ $gt: scalar }), fc.record({ $lte: scalar })) },
)
const condition = fc.oneof(
  { weight: 5, arbitrary: comparison },
  { weight: 1, arbitrary: fc.record({ $ne: scalar }) },
  { weight: 1, arbitrary: fc.record({ $nin: fc.array(scalar, { maxLength: 2 }) }) },
  { weight: 1, arbitrary: fc.record({ $exists: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ $size: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ $not: fc.record({ $gt: scalar }) }) },
  { weight: 1, arbitrary: fc.record({ $all: fc.array(scalar, { minLength: 1, maxLength: 2 }) }) },
)
/**
 * mingo and the stand-in each differ from MongoDB's documentation in corners: `$type`, `$regex` and `$elemMatch` with a field on arrays of
 * other things, null and `$exists` below
 * arrays, two bounds on an array. Those are left to the contract's cases.
 */
const asked = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom('a', 'b', 'c.d'), condition) },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constantFrom('a.k', 'c.d.k'),
      scalar.filter((each) => each !== null),
    ),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constant('b'), fc.record({ $regex: fc.constantFrom('^x', 'y$', 'X') })) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('b'), fc.record({ $gt: scalar, $lte: scalar })) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('b'), fc.record({ $type: fc.constantFrom('number', 'string', 'bool', 'null') })) },
)
const conditions = fc.array(asked, { maxLength: 2 }).map((pairs) => Object.fromEntries<unknown>(pairs))
const filter: fc.Arbitrary<Filter> = fc.oneof(
  { weight: 6, arbitrary: conditions },
  { weight: 1, arbitrary: fc.record({ $or: fc.array(conditions, { minLength: 1, maxLength: 2 }) }) },
  { weight: 1, arbitrary: fc.record({ $nor: fc.array(conditions, { minLength: 1, maxLength: 2 }) }) },
)

async function apply(things: Collection<Thing>, each: Step): Promise<unknown> {
  try {
    switch (each.do) {
      case 'insert':
        return await things.insert(each.id, each.document)
      case 'put':
        return await things.put(each.id, each.document)
      case 'replace':
        return await things.replace(each.id, each.version, each.document)
      case 'update':
        return await things.update(each.id, each.update, each.version)
      case 'delete':
        return await things.delete(each.id, each.version)
    }
  } catch (error) {
    if (error instanceof FleetpulseError) return error.code
    throw new Error(`${each.do}: ${describeError(error)}`, { cause: error })
  }
}

it('answers any writes and searches as the embedded engine does', async (t) => {
  const engines = [await lmdbDocuments(t), await mongodbDocuments(t, { url: serverAddress('mongodb') })]
  const seed = Number(process.env.TEST_SEED ?? 20_251_121)
  t.diagnostic(`seed ${seed} (TEST_SEED)`)
  let run = 0
  const world = fc.record({
    together: fc.boolean(),
    steps: fc.array(step, { minLength: 1, maxLength: 20 }),
    filters: fc.array(filter, { minLength: 1, maxLength: 10 }),
  })
  const property = fc.asyncProperty(world, async ({ together, steps, filters }) => {
    const name = `things-${run++}`
    const spec = { name, indexes: [{ name: 'b', paths: ['b'], unique: true }] }
    const [lmdb, mongodb] = await Promise.all(engines.map((engine) => engine.collection<Thing>(spec)))
    assert.ok(lmdb !== undefined && mongodb !== undefined)
    const answersOf = async (things: Collection<Thing>): Promise<unknown[]> => {
      if (together) return Promise.all(steps.map((each) => apply(things, each)))
      const answers: unknown[] = []
      for (const each of steps) answers.push(await apply(things, each))
      return answers
    }
    assert.deepEqual(await answersOf(mongodb), await answersOf(lmdb))
    for (const each of filters) {
      const expected: unknown[] = await lmdb.find(each, { sort: { _id: 1 } })
      assert.deepEqual(await mongodb.find(each, { sort: { _id: 1 } }), expected, JSON.stringify(each))
      assert.equal(await mongodb.count(each), expected.length)
    }
  })
  await fc.assert(property, { numRuns: RUNS, seed })
})
