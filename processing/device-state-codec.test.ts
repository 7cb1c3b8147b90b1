import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ReadingOperator } from '../contracts/operator.ts'
import { ByteWriter } from '../kernel/byte-stream.ts'
import { silentLogger } from '../kernel/log.ts'
import { VirtualClock } from '../kernel/time.ts'
import { lmdbDocuments } from '../storage/documents/testing/lmdb-fixture.ts'
import { readState, writeOperator, writeState } from './device-state-codec.ts'
import { DeviceStates } from './device-states.ts'
import { DeviceIdentity } from './identity.ts'
import { DeviceLedger } from './ledger.ts'

const BOUNDS = { bootsPerDeviceMax: 3, sequenceRangesMax: 4, devicesInMemoryMax: 100, devicesSpilledMax: 100 }
const HOUR_MS = 3_600_000

/** Counts, and writes its count as one byte. */
const counter: ReadingOperator<{ count: number }> = {
  name: 'counter',
  stateVersion: 4,
  create: () => ({ count: 0 }),
  apply: (state) => void state.count++,
  encode: (state, into) => into.integer(state.count),
  decode: (bytes, version) => ({ count: version === 4 ? (bytes[0] ?? 0) : 0 }),
}

test('what is read is what was written, for any history of a device', () => {
  const seq = fc.oneof(fc.nat(40), fc.constantFrom(Number.MAX_SAFE_INTEGER, -3))
  const step = fc.record({
    boot: fc.constantFrom('', 'b', 'ö/$x', '__proto__', 'e'),
    seq: fc.option(seq),
    ts: fc.nat(60),
    hour: fc.nat(3),
    rejected: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.string(), fc.uint8Array(), (steps, type, bytes) => {
      const identity = new DeviceIdentity(BOUNDS)
      const ledger = new DeviceLedger()
      for (const { boot, seq, ts, hour, rejected } of steps) {
        const entry = ledger.hourOf(hour * HOUR_MS, rejected ? 'rejected' : 'readings')
        const reading = { tenant: 't', device: 'd', type, receivedAt: 0, correlationId: '', ts, values: {}, boot }
        if (rejected) {
          entry.rejectedByReason[`for ${boot}`] = (entry.rejectedByReason[`for ${boot}`] ?? 0) + 1
          if (seq !== null) identity.noteRejected(boot, seq)
        } else identity.observe(seq === null ? reading : { ...reading, seq })
        if (seq !== null) ledger.noteSeq(entry, boot, seq)
        ledger.totals[rejected ? 'rejected' : 'stored']++
        entry[rejected ? 'rejected' : 'stored']++
      }
      const writer = new ByteWriter()
      writer.text('before')
      const begin = writer.length
      writeState({ type, identity, ledger }, writer)
      writeOperator('one', 7, () => writer.bytes(bytes), writer)
      writeOperator('two', 1, () => undefined, writer)
      const read = readState(writer.view(begin))
      assert.equal(read.type, type)
      assert.deepEqual(new DeviceIdentity(BOUNDS, read.identity).toData(), identity.toData())
      assert.deepEqual(read.totals, ledger.totals)
      assert.deepEqual(read.hours, ledger.hours)
      assert.deepEqual([...(read.operators.get('one')?.bytes ?? [])], [...bytes])
      assert.deepEqual([read.operators.get('one')?.stateVersion, read.operators.get('two')?.bytes.length], [7, 0])
    }),
  )
})

test('bytes that end early or are of a newer layout are refused, whatever they are', () => {
  const writer = new ByteWriter()
  writeState({ type: 'pump', identity: new DeviceIdentity(BOUNDS), ledger: new DeviceLedger() }, writer)
  writeOperator('one', 1, () => writer.integer(5), writer)
  const whole = Uint8Array.from(writer.view())
  for (let length = 0; length < whole.length; length++) {
    const part = whole.subarray(0, length)
    // Operators come last: bytes that end between two of them say less, and are not damaged in themselves.
    if (length === whole.length - 10) continue
    assert.throws(() => readState(part), { code: 'STORE_CORRUPT' }, `${length} of ${whole.length} bytes`)
  }
  assert.throws(() => readState(Uint8Array.of(2, ...whole.subarray(1))), { code: 'STORE_NEWER' })
})

test('states saved as JSON by an earlier build are read', async (t) => {
  const documents = await lmdbDocuments(t)
  const collection = await documents.collection({ name: 'device-states', indexes: [] })
  const common = { tenant: 't', type: 'pump', partition: 0, nextOffset: 9, nextRejectedOffset: 1 }
  const identity = { boots: [{ boot: 'b', bounds: [0, 8], joinedGaps: 0 }], bootsDropped: false, recentTimes: [], timesDropped: false }
  const totals = { received: 9, stored: 8, rejected: 1, late: 0, duplicate: 0 }
  const rest = { ...common, identity: { ...identity, missingOfDroppedBoots: 0 }, totals, hours: [] }
  const base64 = Buffer.of(5).toString('base64')
  await collection.put('t/old', { ...rest, device: 'old', operators: [{ name: 'counter', stateVersion: 4, base64 }] })
  const operators = [{ name: 'counter', stateVersion: 4, sizeBytes: 1 }]
  await collection.put('t/newer', { ...rest, device: 'newer', operators, states: Uint8Array.of(6) })
  const states = new DeviceStates({
    collection: 'device-states',
    documents,
    operators: [counter],
    bounds: BOUNDS,
    clock: new VirtualClock(),
    log: silentLogger,
  })
  await states.start()
  for (const [device, count] of [
    ['old', 5],
    ['newer', 6],
  ] as const) {
    const state = await states.load('t', device, '', 0)
    assert.deepEqual([state.type, state.nextOffset, state.ledger.totals.stored, state.operatorStates[0]], ['pump', 9, 8, { count }])
    state.changed = true
  }
  await states.save({ exclusively: (run) => run(), settle: () => Promise.resolve() })
  states.dropPartition(0)
  assert.deepEqual((await states.load('t', 'old', '', 0)).operatorStates[0], { count: 5 })
})

test('a save rests after each slice but the last, and saves every state', async (t) => {
  const documents = await lmdbDocuments(t)
  const options = { collection: 'device-states', documents, operators: [counter], clock: new VirtualClock(), log: silentLogger }
  const states = new DeviceStates({ ...options, bounds: { ...BOUNDS, devicesInMemoryMax: 10_000 } })
  await states.start()
  for (let i = 0; i < 2_500; i++) (await states.load('t', `d${i}`, '', 0)).changed = true
  const settled: number[] = []
  let rests = 0
  const saved = await states.save({
    exclusively: (run) => run(),
    settle: async (slice) => void settled.push(slice.length),
    rest: async () => void rests++,
  })
  assert.deepEqual([saved, settled, rests], [2_500, [1_000, 1_000, 500], 2])
  assert.equal(await (await documents.collection({ name: 'device-states', indexes: [] })).count({}), 2_500)
})
