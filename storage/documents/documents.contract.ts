import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { ConflictError, InvalidInputError } from '../../kernel/errors.ts'
import { ID_BYTES_MAX, type Collection, type Documents, type Filter, type FindOptions, type Stored, type Update } from './documents.ts'

/** Opens a started store of its own for one test and stops it after it. A shared server gives each call a fresh database. */
export type DocumentsEngine = (t: TestContext) => Promise<Documents>

interface Device {
  tenant: string
  name: string
  state?: string
  seen?: number | null
  tags?: string[]
  place?: { floor: number; room?: string }
  parts?: { kind: string; count: number }[]
}
const DEVICES = 'devices'
const UNIQUE_NAME = { name: DEVICES, indexes: [{ name: 'name', paths: ['tenant', 'name'], unique: true }] } as const

const fleet: Record<string, Device> = {
  a: { tenant: 'x', name: 'pump', state: 'active', seen: 10, tags: ['red', 'big'], place: { floor: 1, room: 'A' } },
  b: { tenant: 'x', name: 'fan', state: 'active', seen: 30, tags: [], place: { floor: 2 } },
  c: { tenant: 'x', name: 'heater', state: 'suspended', seen: 20, parts: [{ kind: 'coil', count: 2 }] },
  d: { tenant: 'y', name: 'pump', seen: null, tags: ['red'] },
  e: {
    tenant: 'y',
    name: 'Fächer 🌀',
    parts: [
      { kind: 'blade', count: 3 },
      { kind: 'hub', count: 1 },
    ],
  },
}

/** Filters and the ids they find; each is asked without and with indexes. */
const filters: [Filter, string][] = [
  [{}, 'abcde'],
  [{ _id: 'c' }, 'c'],
  [{ _id: 'nobody' }, ''],
  [{ _id: { $in: ['e', 'a', 'zz', 'a'] } }, 'ae'],
  [{ _id: { $gt: 'b', $lte: 'd' } }, 'cd'],
  [{ tenant: 'x' }, 'abc'],
  [{ tenant: 'x', state: 'active' }, 'ab'],
  [{ $and: [{ tenant: 'x' }, { seen: { $gte: 20 } }] }, 'bc'],
  [{ $or: [{ tenant: 'y' }, { seen: 10 }] }, 'ade'],
  [{ $nor: [{ tenant: 'y' }, { seen: 10 }] }, 'bc'],
  [{ seen: { $gt: 10, $lt: 30 } }, 'c'],
  [{ seen: null }, 'de'],
  [{ seen: { $exists: false } }, 'e'],
  [{ seen: { $ne: 10 } }, 'bcde'],
  [{ seen: { $nin: [10, 20] } }, 'bde'],
  [{ seen: { $gte: 'text' } }, ''],
  [{ seen: { $not: { $gt: 10 } } }, 'ade'],
  [{ tags: 'red' }, 'ad'],
  [{ tags: { $all: ['red', 'big'] } }, 'a'],
  [{ tags: { $size: 0 } }, 'b'],
  [{ 'place.floor': { $gte: 2 } }, 'b'],
  [{ 'place.room': 'A' }, 'a'],
  [{ 'parts.kind': 'hub' }, 'e'],
  [{ parts: { $elemMatch: { kind: 'blade', count: { $gt: 2 } } } }, 'e'],
  [{ parts: { $elemMatch: { kind: 'blade', count: 1 } } }, ''],
  [{ name: { $regex: '^p' } }, 'ad'],
  [{ name: 'Fächer 🌀' }, 'e'],
  [{ seen: { $type: 'number' } }, 'abc'],
  [{ state: { $in: ['active', 'lost'] }, seen: { $lt: 30 } }, 'a'],
]

const orders: [Filter, FindOptions, string][] = [
  [{ tenant: 'x' }, { sort: { seen: 1 } }, 'acb'],
  [{ tenant: 'x' }, { sort: { seen: -1 }, limit: 2 }, 'bc'],
  [{ tenant: 'x' }, { sort: { seen: 1 }, skip: 1, limit: 1 }, 'c'],
  [{}, { sort: { tenant: -1, name: 1 } }, 'edbca'],
  [{}, { sort: { seen: 1, _id: 1 } }, 'deacb'],
  [{}, { sort: { _id: -1 }, limit: 3 }, 'edc'],
  [{ _id: { $gt: 'b' } }, { sort: { _id: 1 }, limit: 2 }, 'cd'],
  [{ tenant: 'x', _id: { $lt: 'c' } }, { sort: { _id: -1 } }, 'ba'],
  [{ seen: { $gte: 10 } }, { sort: { seen: -1, _id: -1 } }, 'bca'],
]

const indexes = [
  { name: 'tenant-seen', paths: ['tenant', 'seen'] },
  { name: 'seen', paths: ['seen'] },
  { name: 'state-seen', paths: ['state', 'seen'] },
  { name: 'tags', paths: ['tags'] },
  { name: 'floor', paths: ['place.floor'] },
  { name: 'kinds', paths: ['parts.kind'] },
  { name: 'name', paths: ['tenant', 'name'], unique: true },
]

async function withFleet(documents: Documents, indexed: boolean): Promise<Collection<Device>> {
  const devices = await documents.collection<Device>({ name: DEVICES, indexes: indexed ? indexes : [] })
  await Promise.all(Object.entries(fleet).map(([id, device]) => devices.insert(id, device)))
  return devices
}

const ids = (found: readonly Stored[]): string => found.map((document) => document._id).join('')

/** What every engine of the documents port must do. Needs no transactions, partial indexes, pipeline updates or change streams. */
export function documentsContract(engineName: string, open: DocumentsEngine): void {
  describe(`documents contract on ${engineName}`, () => {
    describe('one document', () => singleDocumentCases(open))
    describe('unique keys and races', () => uniqueCases(open))
    describe('search', () => searchCases(open))
    describe('what is refused', () => refusedCases(open))
  })
}

function singleDocumentCases(open: DocumentsEngine): void {
  it('inserts once, with version 1', async (t) => {
    const devices = await (await open(t)).collection<Device>(UNIQUE_NAME)
    assert.equal(await devices.get('a'), null)
    const result = await devices.insert('a', { tenant: 'x', name: 'pump' })
    assert.deepEqual(result, { status: 'written', document: { _id: 'a', version: 1, tenant: 'x', name: 'pump' } })
    assert.deepEqual(await devices.insert('a', { tenant: 'x', name: 'other' }), { status: 'conflict' })
    assert.deepEqual(await devices.get('a'), { _id: 'a', version: 1, tenant: 'x', name: 'pump' })
  })

  it('gives back exactly what JSON can say, without what is undefined, and keeps no hold of what it was given', async (t) => {
    const values = await (await open(t)).collection<{ value: unknown; more?: undefined }>({ name: 'values', indexes: [] })
    const value = {
      text: 'ä€🌀\u0000"',
      empty: '',
      zero: 0,
      big: 9_007_199_254_740_991,
      small: -1.5e-7,
      yes: true,
      none: null,
      list: [1, [2], {}],
      deep: { a: { b: 1 } },
    }
    await values.insert('v', { value, more: undefined })
    value.deep.a.b = 2
    const first = await values.get('v')
    assert.deepEqual(first, { _id: 'v', version: 1, value: { ...value, deep: { a: { b: 1 } } } })
    ;(first?.value).deep.a.b = 3
    assert.equal(((await values.get('v'))?.value as typeof value).deep.a.b, 1)
  })

  it('keeps bytes that are a property of the document itself', async (t) => {
    const states = await (
      await open(t)
    ).collection<{ name: string; bytes: Uint8Array; none?: Uint8Array }>({
      name: 'states',
      indexes: [{ name: 'name', paths: ['name'] }],
    })
    const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i % 251)
    const given = Uint8Array.from(bytes)
    await states.insert('a', { name: 'x', bytes: given, none: new Uint8Array(0) })
    given.fill(0)
    const shown = async (): Promise<unknown> =>
      (await states.find({ name: 'x' })).map((state) => ({ ...state, bytes: Buffer.from(state.bytes), none: state.none?.byteLength }))
    assert.deepEqual(await shown(), [{ _id: 'a', version: 1, name: 'x', bytes: Buffer.from(bytes), none: 0 }])
    await states.update('a', { $set: { name: 'y' } })
    assert.deepEqual(Buffer.from((await states.get('a'))?.bytes ?? []), Buffer.from(bytes), 'an update leaves them')
    assert.equal((await states.replace('a', 2, { name: 'x', bytes: Buffer.from('b') })).status, 'written')
    assert.deepEqual(await shown(), [{ _id: 'a', version: 3, name: 'x', bytes: Buffer.from('b'), none: undefined }])
  })

  it('saves many, each by compare-and-set and by itself', async (t) => {
    const devices = await (await open(t)).collection<Device>(UNIQUE_NAME)
    await devices.insert('a', { tenant: 'x', name: 'pump' })
    await devices.insert('b', { tenant: 'x', name: 'fan' })
    const answers = await devices.saveMany([
      { id: 'a', version: 1, document: { tenant: 'x', name: 'pump', seen: 1 } },
      { id: 'b', version: 7, document: { tenant: 'x', name: 'fan', seen: 1 } },
      { id: 'c', version: 0, document: { tenant: 'x', name: 'heater' } },
      { id: 'd', version: 1, document: { tenant: 'x', name: 'nobody' } },
      { id: 'e', version: 0, document: { tenant: 'x', name: 'fan' } },
    ])
    assert.deepEqual(answers, ['written', 'conflict', 'written', 'conflict', 'conflict'])
    assert.deepEqual(
      (await devices.find({}, { sort: { _id: 1 } })).map(({ _id, version, name, seen }) => [_id, version, name, seen]),
      [
        ['a', 2, 'pump', 1],
        ['b', 1, 'fan', undefined],
        ['c', 1, 'heater', undefined],
      ],
    )
    assert.deepEqual(ids(await devices.find({ tenant: 'x', name: 'heater' })), 'c', 'indexes know of it')
    assert.deepEqual(await devices.saveMany([]), [])
  })

  it('replaces by compare-and-set', async (t) => {
    const devices = await (await open(t)).collection<Device>(UNIQUE_NAME)
    assert.deepEqual(await devices.replace('a', 1, { tenant: 'x', name: 'pump' }), { status: 'missing' })
    await devices.insert('a', { tenant: 'x', name: 'pump', state: 'active' })
    assert.deepEqual(await devices.replace('a', 2, { tenant: 'x', name: 'fan' }), { status: 'conflict' })
    const result = await devices.replace('a', 1, { tenant: 'x', name: 'fan' })
    assert.deepEqual(result, { status: 'written', document: { _id: 'a', version: 2, tenant: 'x', name: 'fan' } })
    assert.deepEqual(await devices.replace('a', 1, { tenant: 'x', name: 'late' }), { status: 'conflict' })
    assert.deepEqual(await devices.get('a'), { _id: 'a', version: 2, tenant: 'x', name: 'fan' })
  })

  it('updates with operators, with and without a version', async (t) => {
    const things = await (await open(t)).collection<Record<string, unknown>>({ name: 'things', indexes: [] })
    assert.deepEqual(await things.update('a', { $set: { n: 1 } }), { status: 'missing' })
    await things.insert('a', { n: 1, list: [1, 2, 2, 3], old: 'o', low: 5 })
    const update: Update = {
      $inc: { n: 2, fresh: 1 },
      $set: { 'deep.er': 'x' },
      $unset: { gone: '' },
      $push: { made: { $each: [1, 2, 3], $slice: -2 } },
      $pull: { list: 2 },
      $min: { low: 3 },
      $rename: { old: 'new' },
    }
    const result = await things.update('a', update, 1)
    const expected = { _id: 'a', version: 2, n: 3, fresh: 1, deep: { er: 'x' }, made: [2, 3], list: [1, 3], low: 3, new: 'o' }
    assert.deepEqual(result, { status: 'written', document: expected })
    assert.deepEqual(await things.update('a', { $set: { n: 0 } }, 1), { status: 'conflict' })
    assert.deepEqual(await things.get('a'), expected)
    await things.update('a', { $addToSet: { list: 1 }, $mul: { n: 4 }, $max: { low: 9 }, $pop: { made: -1 } })
    assert.deepEqual(await things.get('a'), { ...expected, version: 3, n: 12, low: 9, made: [3] })
  })

  it('puts whatever the version, and deletes with or without one', async (t) => {
    const devices = await (await open(t)).collection<Device>(UNIQUE_NAME)
    assert.equal((await devices.put('a', { tenant: 'x', name: 'pump' })).version, 1)
    assert.deepEqual(await devices.put('a', { tenant: 'x', name: 'fan' }), { _id: 'a', version: 2, tenant: 'x', name: 'fan' })
    assert.deepEqual(await devices.delete('b'), { status: 'missing' })
    assert.deepEqual(await devices.delete('a', 1), { status: 'conflict' })
    assert.deepEqual(await devices.delete('a', 2), { status: 'deleted' })
    assert.equal(await devices.get('a'), null)
    await devices.insert('a', { tenant: 'x', name: 'pump' })
    assert.deepEqual(await devices.delete('a'), { status: 'deleted' })
  })

  it('keeps collections apart, and opening one again changes nothing', async (t) => {
    const documents = await open(t)
    const first = await documents.collection<Device>(UNIQUE_NAME)
    const second = await documents.collection<Device>({ ...UNIQUE_NAME, name: 'others' })
    await first.insert('a', { tenant: 'x', name: 'pump' })
    assert.equal((await second.insert('a', { tenant: 'x', name: 'pump' })).status, 'written')
    await second.delete('a')
    assert.equal((await (await documents.collection<Device>(UNIQUE_NAME)).get('a'))?.name, 'pump')
    assert.equal(await second.count({}), 0)
  })
}

function uniqueCases(open: DocumentsEngine): void {
  it('refuses a taken key in every way of writing, and changes nothing then', async (t) => {
    const devices = await (await open(t)).collection<Device>(UNIQUE_NAME)
    await devices.insert('a', { tenant: 'x', name: 'pump' })
    await devices.insert('b', { tenant: 'x', name: 'fan' })
    assert.deepEqual(await devices.insert('c', { tenant: 'x', name: 'pump' }), { status: 'conflict' })
    assert.deepEqual(await devices.replace('b', 1, { tenant: 'x', name: 'pump' }), { status: 'conflict' })
    assert.deepEqual(await devices.update('b', { $set: { name: 'pump' } }), { status: 'conflict' })
    await assert.rejects(devices.put('b', { tenant: 'x', name: 'pump' }), ConflictError)
    assert.equal((await devices.insert('d', { tenant: 'y', name: 'pump' })).status, 'written')
    assert.deepEqual(await devices.get('b'), { _id: 'b', version: 1, tenant: 'x', name: 'fan' })
    assert.equal(ids(await devices.find({ tenant: 'x', name: 'pump' })), 'a')
  })

  it('frees a key that was changed or deleted, and lets a document keep its own', async (t) => {
    const devices = await (await open(t)).collection<Device>(UNIQUE_NAME)
    await devices.insert('a', { tenant: 'x', name: 'pump' })
    assert.equal((await devices.update('a', { $set: { state: 'active' } })).status, 'written')
    assert.equal((await devices.replace('a', 2, { tenant: 'x', name: 'fan' })).status, 'written')
    assert.equal((await devices.insert('b', { tenant: 'x', name: 'pump' })).status, 'written')
    await devices.delete('a')
    assert.equal((await devices.insert('c', { tenant: 'x', name: 'fan' })).status, 'written')
  })

  it('counts a missing value as null in a unique index', async (t) => {
    const things = await (
      await open(t)
    ).collection<{ serial?: string }>({
      name: 'things',
      indexes: [{ name: 'serial', paths: ['serial'], unique: true }],
    })
    assert.equal((await things.insert('a', {})).status, 'written')
    assert.equal((await things.insert('b', {})).status, 'conflict')
    assert.equal((await things.insert('c', { serial: '1' })).status, 'written')
  })

  it('lets exactly one of many simultaneous inserts have a unique key', async (t) => {
    const devices = await (await open(t)).collection<Device>(UNIQUE_NAME)
    const results = await Promise.all(Array.from({ length: 50 }, (_, i) => devices.insert(`id-${i}`, { tenant: 'x', name: 'pump' })))
    assert.equal(results.filter((result) => result.status === 'written').length, 1)
    assert.equal(await devices.count({}), 1)
  })

  it('loses no simultaneous update, and lets one writer per version win', async (t) => {
    const counters = await (await open(t)).collection<{ n: number }>({ name: 'counters', indexes: [{ name: 'n', paths: ['n'] }] })
    await counters.insert('a', { n: 0 })
    await Promise.all(Array.from({ length: 50 }, () => counters.update('a', { $inc: { n: 1 } })))
    assert.deepEqual(await counters.find({ n: 50 }), [{ _id: 'a', version: 51, n: 50 }])
    const rivals = await Promise.all(Array.from({ length: 20 }, (_, i) => counters.replace('a', 51, { n: i })))
    assert.equal(rivals.filter((result) => result.status === 'written').length, 1)
    assert.equal((await counters.get('a'))?.version, 52)
  })

  it('reads a document as one write left it, while it is written', async (t) => {
    const [writes, readers, rows] = [400, 4, 100]
    const tables = await (await open(t)).collection<{ first: number; rows: { n: number }[]; last: number }>({ name: 'tables', indexes: [] })
    const table = (n: number): { first: number; rows: { n: number }[]; last: number } => ({
      first: n,
      rows: Array.from({ length: rows }, () => ({ n })),
      last: n,
    })
    await tables.insert('a', table(1))
    let isWriting = true
    const read = async (): Promise<void> => {
      while (isWriting) {
        const found = [await tables.get('a'), ...(await tables.find({ _id: 'a' }))]
        for (const each of found) assert.deepEqual(each, { _id: 'a', version: each?.first, ...table(each?.first ?? 0) })
        // An engine may answer at once: the writer wants its turn.
        await setImmediate()
      }
    }
    const write = async (): Promise<void> => {
      try {
        for (let version = 1; version <= writes; version++) {
          assert.equal((await tables.replace('a', version, table(version + 1))).status, 'written')
        }
      } finally {
        isWriting = false
      }
    }
    await Promise.all([write(), ...Array.from({ length: readers }, read)])
  })

  it('indexes what is already there when an index is declared later; a unique one it breaks is refused', async (t) => {
    const documents = await open(t)
    const devices = await withFleet(documents, false)
    await documents.collection<Device>({ name: DEVICES, indexes: [{ name: 'seen', paths: ['seen'] }] })
    assert.equal(ids(await devices.find({ seen: { $gte: 20 } }, { sort: { seen: 1 } })), 'cb')
    await assert.rejects(
      documents.collection<Device>({ name: DEVICES, indexes: [{ name: 'only', paths: ['tenant'], unique: true }] }),
      (error: unknown) => error instanceof ConflictError,
    )
    assert.equal((await devices.insert('f', { tenant: 'x', name: 'new' })).status, 'written')
  })
}

function searchCases(open: DocumentsEngine): void {
  for (const indexed of [false, true]) {
    const how = indexed ? 'with indexes' : 'without indexes'

    it(`answers every filter ${how}`, async (t) => {
      const devices = await withFleet(await open(t), indexed)
      for (const [filter, expected] of filters) {
        const shown = JSON.stringify(filter)
        assert.equal(ids(await devices.find(filter, { sort: { _id: 1 } })), expected, shown)
        assert.equal(ids((await devices.find(filter)).sort((a, b) => (a._id < b._id ? -1 : 1))), expected, `${shown} unsorted`)
        assert.equal(await devices.count(filter), expected.length, `count of ${shown}`)
      }
    })

    it(`sorts, skips and limits ${how}`, async (t) => {
      const devices = await withFleet(await open(t), indexed)
      for (const [filter, options, expected] of orders) {
        assert.equal(ids(await devices.find(filter, options)), expected, `${JSON.stringify(filter)} ${JSON.stringify(options)}`)
      }
    })

    it(`finds what changes left behind ${how}`, async (t) => {
      const devices = await withFleet(await open(t), indexed)
      await devices.update('a', { $set: { state: 'suspended', seen: 99 }, $push: { tags: 'new' } })
      await devices.delete('c')
      assert.equal(ids(await devices.find({ state: 'suspended' })), 'a')
      assert.equal(ids(await devices.find({ seen: 10 })), '')
      assert.equal(ids(await devices.find({ tags: 'new' })), 'a')
      assert.equal(ids(await devices.find({ tenant: 'x' }, { sort: { seen: -1 } })), 'ab')
    })

    it(`deletes all that match ${how}`, async (t) => {
      const devices = await withFleet(await open(t), indexed)
      assert.equal(await devices.deleteMany({ tenant: 'x', seen: { $lt: 30 } }), 2)
      assert.equal(await devices.deleteMany({ tenant: 'z' }), 0)
      assert.equal(ids(await devices.find({}, { sort: { _id: 1 } })), 'bde')
    })
  }

  it('pages through a collection by id without losing or repeating', async (t) => {
    const things = await (await open(t)).collection<{ n: number }>({ name: 'things', indexes: [] })
    const expected = Array.from({ length: 57 }, (_, n) => `id-${String(n).padStart(3, '0')}`)
    await Promise.all(expected.map((id, n) => things.insert(id, { n })))
    const seen: string[] = []
    for (;;) {
      const last = seen.at(-1)
      const page = await things.find(last === undefined ? {} : { _id: { $gt: last } }, { sort: { _id: 1 }, limit: 10 })
      seen.push(...page.map((document) => document._id))
      if (page.length < 10) break
    }
    assert.deepEqual(seen, expected)
  })

  it('orders values of different kinds: null, numbers, text, objects, booleans', async (t) => {
    const things = await (await open(t)).collection<{ v?: unknown }>({ name: 'things', indexes: [] })
    const values: Record<string, unknown> = { a: true, b: 'text', c: 7, d: { x: 1 }, e: null, f: -7, g: '', h: false }
    for (const [id, v] of Object.entries(values)) await things.insert(id, { v })
    assert.equal(ids(await things.find({}, { sort: { v: 1 } })), 'efcgbdha')
    assert.equal(ids(await things.find({}, { sort: { v: -1 } })), 'ahdbgcfe')
  })
}

function refusedCases(open: DocumentsEngine): void {
  it('refuses filters that run code, are no filters, or say undefined', async (t) => {
    const devices = await withFleet(await open(t), true)
    const wrong: Filter[] = [
      { $where: 'true' },
      { $where: () => true },
      { $expr: { $eq: ['$tenant', 'x'] } },
      { tenant: { $function: {} } },
      { tenant: { $nonsense: 1 } },
      { tenant: undefined },
      { $and: [{ tenant: undefined }] },
    ]
    for (const filter of wrong) {
      await assert.rejects(devices.find(filter), InvalidInputError, JSON.stringify(filter))
      await assert.rejects(devices.count(filter), InvalidInputError)
      await assert.rejects(devices.deleteMany(filter), InvalidInputError)
    }
    assert.equal(await devices.count({}), 5)
  })

  it('refuses updates that do not fit, touch what is the engine’s, or are pipelines; nothing changes', async (t) => {
    const devices = await withFleet(await open(t), true)
    const wrong: Update[] = [
      {},
      { name: 'replacement' },
      { $set: { _id: 'z' } },
      { $set: { version: 9 } },
      { $rename: { name: 'version' } },
      { $inc: { name: 1 } },
      { $push: { name: 1 } },
      { $set: { 'name.first': 1 } },
      { $set: { state: undefined } },
      { $nonsense: { name: 1 } },
      [{ $set: { name: 'x' } }] as unknown as Update,
    ]
    for (const update of wrong) await assert.rejects(devices.update('a', update), InvalidInputError, JSON.stringify(update))
    assert.deepEqual(await devices.get('a'), { _id: 'a', version: 1, ...fleet.a })
  })

  it('refuses what JSON cannot say', async (t) => {
    const things = await (await open(t)).collection<{ v: unknown }>({ name: 'things', indexes: [] })
    for (const v of [
      NaN,
      Infinity,
      1n,
      () => 1,
      Symbol('s'),
      [Buffer.from('b')],
      { deep: Buffer.from('b') },
      new Map(),
      [undefined],
      { deep: [NaN] },
    ]) {
      await assert.rejects(things.insert('a', { v }), InvalidInputError, String(v))
    }
    assert.equal(await things.count({}), 0)
  })

  it('refuses ids out of bounds and wrong declarations', async (t) => {
    const documents = await open(t)
    const things = await documents.collection<{ n: number }>({ name: 'things', indexes: [] })
    await assert.rejects(things.insert('', { n: 1 }), InvalidInputError)
    await assert.rejects(things.get('x'.repeat(ID_BYTES_MAX + 1)), InvalidInputError)
    const longest = 'ä'.repeat(ID_BYTES_MAX / 2)
    assert.equal((await things.insert(longest, { n: 1 })).status, 'written')
    assert.equal((await things.get(longest))?.n, 1)
    const declare = (paths: string[], name = 'i'): Promise<unknown> => documents.collection({ name: 'others', indexes: [{ name, paths }] })
    for (const paths of [[], ['a', 'a'], ['a..b'], ['a.0'], ['$a'], ['a', 'b', 'c', 'd', 'e', 'f']])
      await assert.rejects(declare(paths), InvalidInputError)
    await assert.rejects(declare(['a'], ''), InvalidInputError)
    await assert.rejects(documents.collection({ name: 'no spaces', indexes: [] }), InvalidInputError)
  })
}
