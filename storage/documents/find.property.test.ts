import assert from 'node:assert/strict'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import fc from 'fast-check'
import { Query } from 'mingo'
import type { Filter, FindOptions, IndexSpec, Stored } from './documents.ts'
import { documentsIn, temporaryFolder } from './testing/lmdb-fixture.ts'
import { assertIndexesAgree } from './testing/index-agreement.ts'

const RUNS = 100
const PATHS = ['a', 'b', 'c.d', 'c.e']
const LONG = 'l'.repeat(300)

const scalar = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -0,
    1,
    2,
    -1.5,
    1e300,
    '',
    'x',
    'xy',
    'X',
    '\u0000',
    'x\u0000y',
    '\ud83c\udf00',
    '\uffee',
    LONG,
    `${LONG}m`,
  ),
  fc.integer({ min: -3, max: 3 }),
)
const few = fc.constantFrom<unknown>(null, 0, 1, 'x', true)
const value = fc.oneof(
  { weight: 12, arbitrary: scalar },
  { weight: 1, arbitrary: fc.array(scalar, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.record({ k: scalar }) },
)
const plainInner = fc.record({ d: scalar, e: value }, { requiredKeys: [] })
const inner = fc.oneof(
  { weight: 8, arbitrary: plainInner },
  { weight: 1, arbitrary: fc.array(plainInner, { maxLength: 2 }) },
  { weight: 1, arbitrary: scalar },
)
const mixed = fc.record({ a: value, b: scalar, c: inner }, { requiredKeys: [] })
const plain = fc.record(
  { a: fc.oneof(few, scalar), b: fc.oneof(few, scalar), c: fc.record({ d: scalar, e: scalar }, { requiredKeys: [] }) },
  { requiredKeys: [] },
)

const condition = fc.oneof(
  { weight: 4, arbitrary: scalar },
  { weight: 2, arbitrary: fc.record({ $in: fc.array(scalar, { maxLength: 4 }) }) },
  {
    weight: 4,
    arbitrary: fc
      .record({ $gt: scalar, $gte: scalar, $lt: scalar, $lte: scalar }, { requiredKeys: [] })
      .filter((bounds) => Object.keys(bounds).length > 0),
  },
  { weight: 1, arbitrary: fc.record({ $ne: scalar }) },
  { weight: 1, arbitrary: fc.record({ $exists: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ $eq: value }) },
)
const path = fc.constantFrom(...PATHS)
const ids = Array.from({ length: 25 }, (_, i) => `id${String.fromCharCode(97 + i)}`)
const idCondition = fc.oneof(
  fc.constantFrom(...ids),
  fc.record({ $gt: fc.constantFrom(...ids) }),
  fc.record({ $in: fc.subarray(ids) }),
  fc.record({ $gte: fc.constantFrom(...ids), $lt: fc.constantFrom(...ids) }),
)
const conditions = fc.dictionary(path, condition, { maxKeys: 3 })
const filter: fc.Arbitrary<Filter> = fc.oneof(
  { weight: 6, arbitrary: conditions },
  { weight: 2, arbitrary: fc.record({ $and: fc.array(conditions, { minLength: 1, maxLength: 2 }) }) },
  { weight: 1, arbitrary: fc.record({ $or: fc.array(conditions, { minLength: 1, maxLength: 2 }) }) },
  { weight: 2, arbitrary: fc.tuple(conditions, idCondition).map(([rest, _id]) => ({ ...rest, _id })) },
)
const sort = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...PATHS, '_id'), fc.constantFrom<1 | -1>(1, -1)), { maxLength: 3, selector: ([name]) => name })
  .map((keys) => Object.fromEntries(keys) as Record<string, 1 | -1>)
const options: fc.Arbitrary<FindOptions> = fc.record(
  { sort, limit: fc.integer({ min: 1, max: 12 }), skip: fc.integer({ min: 0, max: 4 }) },
  { requiredKeys: [] },
)
const indexes: fc.Arbitrary<IndexSpec[]> = fc
  .array(fc.uniqueArray(path, { minLength: 1, maxLength: 3 }), { maxLength: 4 })
  .map((lists) => lists.map((paths, i) => ({ name: `index-${i}`, paths })))

/** Searches that an index is made for: equality on its first paths, then perhaps a bound, an order and a limit. */
function aimedAt(index: IndexSpec): fc.Arbitrary<[Filter, FindOptions]> {
  return fc
    .record({
      fixed: fc.nat(index.paths.length),
      values: fc.array(
        fc.oneof(
          { weight: 3, arbitrary: few },
          { weight: 1, arbitrary: fc.record({ $in: fc.array(few, { minLength: 1, maxLength: 3 }) }) },
        ),
        { minLength: 3, maxLength: 3 },
      ),
      bounds: fc.record({ $gt: scalar, $gte: few, $lt: scalar, $lte: few }, { requiredKeys: [] }),
      ordered: fc.nat(4),
      direction: fc.constantFrom<1 | -1>(1, -1),
      other: fc.boolean(),
      limit: fc.integer({ min: 1, max: 6 }),
    })
    .map(({ fixed, values, bounds, ordered, direction, other, limit }) => {
      const asked: Record<string, unknown> = Object.fromEntries(index.paths.slice(0, fixed).map((name, i) => [name, values[i]]))
      const next = index.paths[fixed] ?? '_id'
      if (Object.keys(bounds).length > 0) asked[next] = next === '_id' ? { $gt: 'idh' } : bounds
      const names = [...index.paths.slice(fixed > 1 ? fixed - 1 : fixed), '_id'].slice(0, ordered)
      const keys = names.map((name, i): [string, 1 | -1] => [name, other && i === 1 ? (-direction as 1 | -1) : direction])
      return [asked, { sort: Object.fromEntries(keys), limit }]
    })
}

/** What MongoDB's documentation says of order, written down a second time. */
const KINDS = ['null', 'number', 'string', 'object', 'boolean']
function kindOf(item: unknown): number {
  return KINDS.indexOf(item === null || item === undefined ? 'null' : typeof item)
}
function order(a: unknown, b: unknown): number {
  if (kindOf(a) !== kindOf(b)) return kindOf(a) - kindOf(b)
  if (typeof a === 'object' && a !== null) return order((a as { k: unknown }).k, (b as { k: unknown }).k)
  return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0
}
function sortKey(document: unknown, dotted: string, direction: number): unknown {
  const reach = (from: unknown, parts: readonly string[]): unknown[] => {
    if (Array.isArray(from)) return from.length === 0 ? [null] : from.flatMap((item) => reach(item, parts))
    const [part, ...rest] = parts
    if (part === undefined) return [from]
    return typeof from === 'object' && from !== null && part in from ? reach((from as Record<string, unknown>)[part], rest) : [null]
  }
  return reach(document, dotted.split('.')).sort((a, b) => order(a, b) * direction)[0] ?? null
}

function check(found: readonly Stored[], all: readonly Stored[], asked: Filter, wanted: FindOptions): void {
  const query = new Query(asked)
  const matching = all.filter((document) => query.test(document as unknown as Record<string, unknown>))
  const keys = Object.entries(wanted.sort ?? {})
  const compare = (a: Stored, b: Stored): number =>
    keys.reduce((decided, [name, direction]) => decided || order(sortKey(a, name, direction), sortKey(b, name, direction)) * direction, 0)
  const skip = wanted.skip ?? 0
  const expected = [...matching].sort(compare).slice(skip, skip + (wanted.limit ?? Infinity))
  const expectedIds = new Set(matching.map((document) => document._id))
  assert.equal(found.length, expected.length, 'number of documents')
  assert.equal(new Set(found.map((document) => document._id)).size, found.length, 'no document twice')
  assert.ok(
    found.every((document) => expectedIds.has(document._id)),
    'only what matches',
  )
  // Documents that are equal in order may change places, so the keys are compared.
  const shown = (documents: readonly Stored[]): unknown[] =>
    documents.map((document) => keys.map(([name, direction]) => sortKey(document, name, direction)))
  assert.deepEqual(shown(found), shown(expected), 'order')
}

async function run(t: TestContext, documentArbitrary: fc.Arbitrary<object>): Promise<void> {
  const folder = await temporaryFolder(t)
  let number = 0
  const world = indexes.chain((drawn) =>
    fc.record({
      documents: fc.array(documentArbitrary, { minLength: 1, maxLength: 25 }),
      replaced: fc.array(fc.tuple(fc.nat(24), documentArbitrary), { maxLength: 5 }),
      deleted: fc.array(fc.nat(24), { maxLength: 3 }),
      indexes: fc.constant(drawn),
      searches: fc.array(fc.oneof(fc.tuple(filter, options), ...drawn.map(aimedAt)), { minLength: 1, maxLength: 12 }),
    }),
  )
  const property = fc.asyncProperty(world, async (drawn) => {
    const directory = join(folder, `world-${number++}`)
    const documents = documentsIn(directory, { scanSliceDocuments: 3 })
    await documents.start()
    try {
      const things = await documents.collection<object>({ name: 'things', indexes: drawn.indexes })
      let parallel = 0
      const insert = async (at: number, document: object): Promise<void> => {
        // Two paths of one index through arrays are refused, here and by MongoDB.
        await things.put(ids[at] as string, document).catch(() => parallel++)
      }
      await Promise.all(drawn.documents.map((document, i) => insert(i, document)))
      for (const [at, document] of drawn.replaced) await insert(at, document)
      for (const at of drawn.deleted) await things.delete(ids[at] as string)
      assert.ok(documentArbitrary !== plain || parallel === 0)
      const all = await things.find({})
      for (const [asked, wanted] of drawn.searches) {
        check(await things.find(asked, wanted), all, asked, wanted)
        assert.equal(await things.count(asked), (await things.find(asked)).length)
      }
    } finally {
      await documents.stop()
    }
    await assertIndexesAgree(directory, 'things')
  })
  const seed = Number(process.env.TEST_SEED ?? 20_251_121)
  t.diagnostic(`seed ${seed} (TEST_SEED)`)
  await fc.assert(property, { numRuns: RUNS, seed })
}

it('finds, sorts and pages as a filter over an array does, on plain documents with random indexes', (t) => run(t, plain))
it('… and on documents with arrays, objects and very long texts', (t) => run(t, mixed))
