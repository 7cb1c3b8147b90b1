import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EnvironmentError } from '../kernel/errors.ts'
import { silentLogger } from '../kernel/log.ts'
import { VirtualClock } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import { lmdbDocuments } from '../storage/documents/testing/lmdb-fixture.ts'
import { DeviceStates, type DeviceState } from './device-states.ts'
import type { CountedReading } from './ledger.ts'
import { bootsOfHour, LEDGER_GAPS, LEDGER_HOURS, LEDGER_SUMMARY } from './ledger-documents.ts'
import type { LedgerGapsDocument, LedgerHourDocument, LedgerSummary } from './ledger-documents.ts'
import { LedgerPublisher } from './ledger-publisher.ts'

const HOUR_MS = 3_600_000
const RECEIVED_AT = Math.floor(1_763_680_000_000 / HOUR_MS) * HOUR_MS
const BOUNDS = { bootsPerDeviceMax: 8, sequenceRangesMax: 64, devicesInMemoryMax: 8, devicesSpilledMax: 100 }

/** One process that counts: its states and its ledger, over documents that others may write too. */
async function counting(documents: Documents) {
  const clock = new VirtualClock()
  const states = new DeviceStates({ collection: 'device-states', documents, operators: [], clock, log: silentLogger, bounds: BOUNDS })
  await states.start()
  const ledger = new LedgerPublisher({ documents, clock, log: silentLogger, flushMs: 200 })
  await ledger.start()
  const load = (device = 'd'): Promise<DeviceState> => states.load('default', device, 'generic', 0)
  return { states, ledger, load }
}

type Counting = Awaited<ReturnType<typeof counting>>

/** A reading through the same steps as in the loop. */
function take(
  { ledger }: Counting,
  state: DeviceState,
  reading: CountedReading,
  outcome: 'stored' | 'duplicate' | 'rejected' = 'stored',
): void {
  if (outcome === 'rejected') {
    state.nextRejectedOffset++
    if (reading.seq !== undefined) state.identity.noteRejected(reading.boot ?? '', reading.seq)
  } else {
    state.nextOffset++
    state.identity.observe({
      tenant: 'default',
      device: 'd',
      type: 'generic',
      correlationId: '',
      ts: 0,
      tsAbsent: true,
      values: {},
      ...reading,
    })
  }
  state.changed = true
  ledger.count(state, reading, 'received')
  ledger.count(state, reading, outcome)
  if (outcome === 'stored') ledger.settled([{ tenant: 'default', partition: 0 }])
}

async function save({ states, ledger }: Counting): Promise<void> {
  await states.save({ exclusively: (run) => run(), settle: (slice) => ledger.flushDevices(slice) })
}

async function published(documents: Documents) {
  const hours = await (await documents.collection<LedgerHourDocument>(LEDGER_HOURS)).find({}, { sort: { hour: 1 } })
  const gaps = await (await documents.collection<LedgerGapsDocument>(LEDGER_GAPS)).find({})
  const summary = await (await documents.collection<LedgerSummary>(LEDGER_SUMMARY)).get('default/0')
  const boots = hours.map(({ spans }) => bootsOfHour(spans, (boot) => gaps[0]?.boots.find((known) => known.boot === boot)))
  return { hours, boots, summary }
}

test('what a failed write did not say is said by the next one', async (t) => {
  const real = await lmdbDocuments(t)
  let failing = false
  const documents: Documents = {
    ...{ name: real.name, start: () => real.start(), stop: () => real.stop() },
    collection: async (spec) => {
      const inner = await real.collection<never>(spec)
      return new Proxy(inner, {
        get: (target, property) => {
          const value = Reflect.get(target, property) as unknown
          if (typeof value !== 'function') return value
          return async (...args: unknown[]): Promise<unknown> => {
            if (failing) throw new EnvironmentError('STORE_UNUSABLE', 'on purpose')
            return Reflect.apply(value, target, args) as unknown
          }
        },
      })
    },
  }
  const one = await counting(documents)
  const state = await one.load()
  for (const seq of [1, 4]) take(one, state, { receivedAt: RECEIVED_AT, boot: 'b', seq })
  failing = true
  await assert.rejects(one.ledger.flush(), { code: 'STORE_UNUSABLE' })
  failing = false
  await one.ledger.flush()
  const { hours, boots, summary } = await published(real)
  assert.deepEqual(
    hours.map(({ device, stored }) => [device, stored]),
    [['d', 2]],
  )
  assert.deepEqual(boots[0]?.[0]?.missingRanges, [{ from: 2, to: 3 }])
  assert.deepEqual([summary?.received, summary?.stored, summary?.missing], [2, 2, 2])
})

test('per hour: first and last number of each boot, reasons, and each gap once, in the hour that saw it', async (t) => {
  const documents = await lmdbDocuments(t)
  const one = await counting(documents)
  const state = await one.load()
  const at = (hour: number): number => RECEIVED_AT + hour * HOUR_MS
  for (const seq of [3, 4, 7]) take(one, state, { receivedAt: at(0), boot: 'b.1', seq })
  take(one, state, { receivedAt: at(0), boot: 'b.1', seq: 4 }, 'duplicate')
  for (const seq of [12, 13]) take(one, state, { receivedAt: at(1), boot: 'b.1', seq })
  take(one, state, { receivedAt: at(1), boot: 'b.1', seq: 11, reason: 'out-of-range' }, 'rejected')
  take(one, state, { receivedAt: at(1), boot: '$x', seq: 0 })
  await one.ledger.flush()
  const before = await published(documents)
  assert.deepEqual(
    before.hours.map(({ stored, duplicate, rejected }) => [stored, duplicate, rejected]),
    [
      [3, 1, 0],
      [3, 0, 1],
    ],
  )
  assert.deepEqual(before.hours[1]?.rejectedByReason, { 'out-of-range': 1 })
  const shown = (boots: (typeof before.boots)[number] | undefined) =>
    boots?.map(({ boot, firstSeq, lastSeq, missingRanges }) => [
      boot,
      firstSeq,
      lastSeq,
      missingRanges.map(({ from, to }) => `${from}-${to}`).join(),
    ])
  assert.deepEqual(shown(before.boots[0]), [['b.1', 3, 7, '5-6']])
  assert.deepEqual(shown(before.boots[1]), [
    ['b.1', 11, 13, '8-10'],
    ['$x', 0, 0, ''],
  ])
  take(one, state, { receivedAt: at(5), boot: 'b.1', seq: 5 })
  await one.ledger.flush()
  const after = await published(documents)
  assert.deepEqual(shown(after.boots[0]), [['b.1', 3, 7, '6-6']], 'a gap filled hours later is gone from the hour that had it')
  assert.equal(after.summary?.missing, 1 + 3)
})

test('an hour that only the rejected readings have reached keeps what the readings had counted there, and the other way round', async (t) => {
  const documents = await lmdbDocuments(t)
  const one = await counting(documents)
  const state = await one.load()
  for (let hour = 0; hour < 30; hour++) take(one, state, { receivedAt: RECEIVED_AT + hour * HOUR_MS })
  await save(one)
  const next = await counting(documents)
  const restored = await next.load()
  for (let hour = 0; hour < 30; hour++) take(next, restored, { receivedAt: RECEIVED_AT + hour * HOUR_MS, reason: 'bad-value' }, 'rejected')
  await save(next)
  const { hours } = await published(documents)
  assert.deepEqual(
    hours.map(({ stored, rejected }) => `${stored} ${rejected}`),
    Array(30).fill('1 1'),
  )
})

test('a process that lost the device takes nothing away from its successor, in whatever order they write', async (t) => {
  const documents = await lmdbDocuments(t)
  const old = await counting(documents)
  const state = await old.load()
  take(old, state, { receivedAt: RECEIVED_AT, boot: 'b', seq: 1 })
  await save(old)
  // The old one counts on for a moment; the new one starts from the saved state, and gets further.
  take(old, state, { receivedAt: RECEIVED_AT, boot: 'b', seq: 4 })
  const successor = await counting(documents)
  const taken = await successor.load()
  successor.ledger.include(taken)
  for (const seq of [4, 3, 8]) take(successor, taken, { receivedAt: RECEIVED_AT, boot: 'b', seq })
  await successor.ledger.flush()
  await old.ledger.flush()
  const { hours, boots, summary } = await published(documents)
  assert.equal(hours[0]?.stored, 4)
  assert.deepEqual(boots[0]?.[0]?.missingRanges, [
    { from: 2, to: 2 },
    { from: 5, to: 7 },
  ])
  assert.deepEqual([boots[0]?.[0]?.lastSeq, summary?.received, summary?.missing], [8, 4, 4])
  old.ledger.dropPartition(0)
})

test('a saved state does not hold what was counted after it was taken', async (t) => {
  const one = await counting(await lmdbDocuments(t))
  const state = await one.load()
  take(one, state, { receivedAt: RECEIVED_AT, boot: 'b', seq: 1 })
  await one.states.save({
    exclusively: (run) => run(),
    settle: async () => take(one, state, { receivedAt: RECEIVED_AT, boot: 'b', seq: 2 }),
  })
  one.states.dropPartition(0)
  const saved = await one.load()
  assert.deepEqual(
    saved.ledger.hours.map(({ stored, spans }) => [stored, spans[0]?.lastSeq]),
    [[1, 1]],
  )
})

test('any order of numbers over hours: the gaps of all hours together are what is missing, none twice', async (t) => {
  const documents = await lmdbDocuments(t)
  let run = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 20 }), { minLength: 1, maxLength: 5 }),
      async (numbersOfHours) => {
        const device = `any-${run++}`
        const one = await counting(documents)
        const state = await one.load(device)
        for (const [hour, numbers] of numbersOfHours.entries()) {
          for (const seq of numbers) take(one, state, { receivedAt: RECEIVED_AT + hour * HOUR_MS, boot: 'b', seq })
          state.ledger.prune()
        }
        await one.ledger.flush()
        const hours = await (await documents.collection<LedgerHourDocument>(LEDGER_HOURS)).find({ device })
        const gaps = await (await documents.collection<LedgerGapsDocument>(LEDGER_GAPS)).get(`default/${device}`)
        const shown = hours.flatMap(({ spans }) => bootsOfHour(spans, () => gaps?.boots[0]).flatMap(({ missingRanges }) => missingRanges))
        const expected = state.identity.boots.get('b')?.gaps() ?? []
        assert.deepEqual(
          shown.toSorted((a, b) => a.from - b.from),
          expected,
        )
      },
    ),
    { numRuns: 100 },
  )
})
