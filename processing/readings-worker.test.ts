import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import type { ReadingOperator } from '../contracts/operator.ts'
import { READING, REJECTED_READING, type LoggedReading } from '../contracts/reading.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { Metrics } from '../kernel/metrics.ts'
import { integerBetween, seededRandom } from '../kernel/random.ts'
import { nextTurn } from '../kernel/time.ts'
import type { Consumer } from '../storage/event-log/event-log.ts'
import { LEDGER_HOURS, type LedgerHourDocument, type LedgerSummary } from './ledger-documents.ts'
import { crashable } from './testing/crashable.ts'
import { counter, Road, until } from './testing/road.ts'

// The platform's own timers do not keep a process alive: its sockets do, and here there are none.
const alive = setInterval(() => undefined, 1_000)
after(() => clearInterval(alive))

test('rows once, duplicates counted, missing numbers known, rejected ones not missing', async () => {
  const road = new Road()
  await road.start()
  const worker = road.worker()
  await worker.start()
  await road.append([0, 1, 2, 5, 2, 5].map((seq) => ({ boot: 'b', seq, ts: 1_000 + seq })))
  await road.eventLog.append('rejected', [
    {
      key: 'default/d',
      schema: REJECTED_READING,
      value: jsonBytes({ tenant: 'default', device: 'd', receivedAt: 1_763_680_000_000, reason: 'bad-value', boot: 'b', seq: 4 }),
    },
  ])
  await until(async () => (await road.summary())?.received === 7, 'the ledger')
  await until(async () => (await road.summary())?.stored === 4, 'stored rows')
  assert.deepEqual(await road.stored('d'), [0, 1, 2, 5])
  const { received, stored, duplicate, rejected, missing } = (await road.summary()) as LedgerSummary
  assert.deepEqual({ received, stored, duplicate, rejected, missing }, { received: 7, stored: 4, duplicate: 2, rejected: 1, missing: 1 })
  await worker.stop()
  await road.end()
})

test('readings without seq are known by their event time, also long after', async () => {
  const road = new Road()
  await road.start()
  const worker = road.worker()
  await worker.start()
  const recording = Array.from({ length: 500 }, (_, i) => ({ ts: 1_000 + i * 10 }))
  await road.append(recording)
  await road.append([...recording.slice(0, 50), { ts: 1_005 }, ...recording.slice(450)])
  await until(async () => (await road.summary())?.received === 601, 'all readings')
  await until(async () => (await road.series.count('default')) === 501, 'the rows')
  assert.equal((await road.summary())?.duplicate, 100)
  await worker.stop()
  await road.end()
})

test('a record that is no JSON goes to the dead letters, and the next readings flow', async () => {
  const road = new Road()
  await road.start()
  const worker = road.worker()
  await worker.start()
  await road.eventLog.append('readings', [{ key: 'default/x', schema: READING, value: Buffer.from('{broken') }])
  await road.append([{ boot: 'b', seq: 0, ts: 5 }])
  await until(async () => (await road.stored('d')).length === 1, 'the reading after it')
  await until(async () => ((await road.eventLog.bounds('readings.dlq')).get(0)?.next ?? 0) === 1, 'the dead letter')
  const [letter] = await road.eventLog.read('readings.dlq', 0, 0, 10)
  assert.match(letter?.headers.cause ?? '', /JSON/)
  await worker.stop()
  await road.end()
})

test('others have their turn after each slice of a batch, and every reading is applied once', async () => {
  const road = new Road()
  await road.start()
  let turn = 0
  let isCounting = true
  const turns = (async () => {
    for (; isCounting; turn++) await nextTurn()
  })()
  const appliedIn = new Map<number, number>()
  const counting: ReadingOperator<unknown> = { ...counter, apply: () => void appliedIn.set(turn, (appliedIn.get(turn) ?? 0) + 1) }
  await road.append(Array.from({ length: 500 }, (_, seq) => ({ boot: 'b', seq, ts: seq })))
  const worker = road.worker({ config: { sliceReadingsMax: 50 }, operators: [counting] })
  await worker.start()
  await until(async () => (await road.stored('d')).length === 500, 'all readings')
  isCounting = false
  await turns
  const sizes = [...appliedIn.values()]
  assert.ok(Math.max(...sizes) <= 50, `at most a slice in a turn: ${sizes.join(', ')}`)
  assert.equal(
    sizes.reduce((sum, size) => sum + size, 0),
    500,
  )
  await worker.stop()
  await road.end()
})

test('crashes at any moment: every row once and in order, every output once', async () => {
  const seed = Number(process.env.TEST_SEED ?? 7)
  const random = seededRandom(seed)
  const road = new Road()
  await road.start()
  const devices = ['d1', 'd2', 'd3']
  const sent: LoggedReading[] = []
  let seq = 0
  for (let round = 0; round < 6; round++) {
    const documents = crashable(road.documents)
    const consumers: Consumer[] = []
    const worker = road.worker({
      documents,
      onConsumer: (consumer) => consumers.push(consumer),
      config: { checkpointMs: 100 + integerBetween(random, 0, 100), pollRecordsMax: integerBetween(random, 1, 50) },
    })
    await worker.start()
    for (let batch = integerBetween(random, 2, 8); batch > 0; batch--) {
      const readings = Array.from({ length: integerBetween(random, 1, 40) }, () => ({
        device: devices[integerBetween(random, 0, 2)] as string,
        boot: 'b',
        seq: seq++,
        ts: 1_000 + seq,
      }))
      await road.append(readings)
      sent.push(...(readings as LoggedReading[]))
      await wait(integerBetween(random, 0, 60))
    }
    documents.crashed = true
    // It never ends, or fails on what it lost: its documents hang, as after a crash; what it does until then is what a dying process might have done.
    worker.stop().catch(() => undefined)
    await wait(100)
    for (const consumer of consumers) await consumer.close()
  }
  const survivor = road.worker()
  await survivor.start()
  await until(async () => (await road.series.count('default')) >= sent.length, `all rows (seed ${seed})`)
  await until(async () => (await road.summary())?.stored === sent.length, `the ledger (seed ${seed})`)
  for (const device of devices)
    assert.deepEqual(
      await road.stored(device),
      sent.filter((reading) => reading.device === device).map((reading) => reading.seq),
      `seed ${seed}`,
    )
  await survivor.stop()
  const outputs = await road.outputs()
  for (const device of devices) {
    const expected = Math.floor(sent.filter((reading) => reading.device === device).length / 10)
    assert.deepEqual(
      outputs.filter((output) => output.device === device).map((output) => output.count),
      Array.from({ length: expected }, (_, i) => (i + 1) * 10),
      `outputs of ${device}, seed ${seed}`,
    )
  }
  await road.end()
})

test('a checkpoint writes the ledger before the states: a restart that has nothing to replay finds it whole', async () => {
  const road = new Road()
  await road.start()
  const worker = road.worker({ config: { ledgerFlushMs: 3_600_000, checkpointMs: 3_600_000 } })
  await worker.start()
  await road.append([0, 1, 2].map((seq) => ({ boot: 'b', seq, ts: 1_000 + seq })))
  await until(async () => (await road.series.count('default')) === 3, 'the rows')
  await worker.checkpoint()
  const { received, stored } = (await road.summary()) as LedgerSummary
  assert.deepEqual({ received, stored }, { received: 3, stored: 3 })
  const hours = await (await road.documents.collection<LedgerHourDocument>(LEDGER_HOURS)).find({})
  assert.deepEqual(
    hours.map((hour) => [hour.device, hour.stored, Object.values(hour.spans).map(({ firstSeq, lastSeq }) => [firstSeq, lastSeq])]),
    [['d', 3, [[0, 2]]]],
  )
  await worker.stop()
  await road.end()
})

test('a checkpoint in the middle of a batch does not make a crash lose what was acknowledged', async () => {
  const road = new Road()
  await road.start()
  const consumers: Consumer[] = []
  const documents = crashable(road.documents)
  let asked = (): void => undefined
  const asking = new Promise<void>((resolve) => (asked = resolve))
  // The store takes for ever to say what it has: a batch stands still after the states have seen its readings.
  const series = new Proxy(road.series, {
    get: (target, property) => {
      const value = Reflect.get(target, property) as unknown
      if (typeof value !== 'function') return value
      if (property !== 'contains') return value.bind(target) as unknown
      return () => {
        asked()
        return new Promise(() => undefined)
      }
    },
  })
  const worker = road.worker({ documents, series, config: { checkpointMs: 600_000 }, onConsumer: (consumer) => consumers.push(consumer) })
  await worker.start()
  await road.append([{ ts: 1_000 }, { device: 'e', boot: 'b', seq: 0, ts: 1 }])
  await until(async () => (await road.series.count('default')) === 2, 'the first rows')
  void worker.checkpoint()
  await until(
    async () => (await (await road.documents.collection({ name: 'device-states', indexes: [] })).count({})) === 2,
    'the first checkpoint',
  )
  // Makes the state of `d` one that is to be saved, and then the batch: new readings of `d`, and a repeat of `e` that only the store can judge.
  await road.append([{ ts: 1_500 }])
  await until(async () => (await road.series.count('default')) === 3, 'the row between')
  await road.append([{ ts: 2_000 }, { ts: 3_000 }, { device: 'e', boot: 'b', seq: 0, ts: 1 }])
  await asking
  void worker.checkpoint().catch(() => undefined)
  await wait(100)
  documents.crashed = true
  worker.stop().catch(() => undefined) // as above
  for (const consumer of consumers) await consumer.close()
  const survivor = road.worker()
  await survivor.start()
  await until(async () => (await road.summary())?.received === 6, 'all readings')
  await until(async () => (await road.series.count('default')) === 5, 'every new reading stored, the repeat not')
  await survivor.stop()
  await road.end()
})

test('more devices than fit in memory: states are saved and dropped, and nothing differs', async () => {
  const road = new Road()
  await road.start()
  const devices = 60
  const rounds = 25
  const memory = { devicesInMemoryMax: 10, pollRecordsMax: 7 }
  const metrics = new Metrics()
  const worker = road.worker({ config: memory, metrics })
  await worker.start()
  let most = 0
  for (let round = 0; round < rounds; round++) {
    await road.append(Array.from({ length: devices }, (_, i) => ({ device: `d${i}`, boot: 'b', seq: round, ts: 1_000 + round })))
    const gauge = (await metrics.families()).find(({ name }) => name.endsWith('processing_device_states'))
    most = Math.max(most, gauge?.values[0]?.value ?? NaN)
  }
  // The first half comes again: what was dropped still knows it.
  await road.append(Array.from({ length: devices }, (_, i) => ({ device: `d${i}`, boot: 'b', seq: 3, ts: 1_003 })))
  await until(async () => (await road.storedByLedger()) === devices * rounds, 'all readings')
  await until(async () => (await road.summary())?.duplicate === devices, 'the duplicates')
  await worker.stop()
  for (let i = 0; i < devices; i++) {
    const seqs = Array.from({ length: rounds }, (_, seq) => seq)
    assert.deepEqual(await road.stored(`d${i}`), seqs, `d${i}`)
  }
  const counts = new Map((await road.outputs()).map((output) => [output.device, output.count]))
  for (let i = 0; i < devices; i++) assert.equal(counts.get(`d${i}`), Math.floor(rounds / 10) * 10, `d${i} counted through being dropped`)
  assert.ok(most <= memory.devicesInMemoryMax + memory.pollRecordsMax, `${most} states were in memory`)
  await road.end()
})

test('a checkpoint that rests between two slices is finished at once by a stop, and nothing is read again', async () => {
  const devices = 1_500
  const road = new Road()
  await road.start()
  // After the first slice it would rest for a thousand times as long as that took.
  const worker = road.worker({ config: { checkpointMs: 100, checkpointShareMax: 0.001 } })
  await worker.start()
  await road.append(Array.from({ length: devices }, (_, i) => ({ device: `d${i}`, boot: 'b', seq: 0, ts: 1_000 })))
  const states = await road.documents.collection<{ nextOffset: number }>({ name: 'device-states', indexes: [] })
  const savedStates = (): Promise<number> => states.count({ nextOffset: { $gt: 0 } })
  await until(async () => (await savedStates()) > 0, 'a first slice')
  await worker.stop()
  assert.equal(await savedStates(), devices)
  const checkpoints = await road.documents.collection<{ readings: number }>({ name: 'checkpoints', indexes: [] })
  assert.equal((await checkpoints.get('processing/0'))?.readings, devices)
  await road.end()
})
