import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import type { ReadingOperator } from '../contracts/operator.ts'
import { READING, REJECTED_READING, type LoggedReading, type Reading } from '../contracts/reading.ts'
import { TOPICS } from '../contracts/topics.ts'
import { jsonBytes, utf8Text } from '../kernel/bytes.ts'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { integerBetween, seededRandom } from '../kernel/random.ts'
import { compileSchema } from '../kernel/schema.ts'
import { systemClock } from '../kernel/time.ts'
import { DocumentsConfigSchema, type DocumentsConfig } from '../storage/documents/config.ts'
import type { Documents } from '../storage/documents/documents.ts'
import { LmdbDocuments } from '../storage/documents/lmdb-documents.ts'
import { EventLogConfigSchema, type EventLogConfig } from '../storage/event-log/config.ts'
import type { Consumer, EventLog } from '../storage/event-log/event-log.ts'
import { LmdbEventLog } from '../storage/event-log/lmdb-event-log.ts'
import { SeriesConfigSchema, type SeriesConfig } from '../storage/series/config.ts'
import { DuckdbSeriesStore } from '../storage/series/duckdb-series-store.ts'
import type { SeriesStore } from '../storage/series/series-store.ts'
import type { LedgerEntry, LedgerSummary } from './ledger-publisher.ts'
import { ProcessingConfigSchema, type ProcessingConfig } from './config.ts'
import { ReadingsWorker } from './readings-worker.ts'

function defaults<T>(schema: Parameters<typeof compileSchema>[0]): T {
  const checked = compileSchema(schema)({})
  assert.equal(checked.status, 'valid')
  return (checked as { value: T }).value
}

// The platform's own timers do not keep a process alive: its sockets do, and here there are none.
const alive = setInterval(() => undefined, 1_000)
after(() => clearInterval(alive))

/** Counts readings per device and says so every tenth: its outputs show what was applied, how often, in which order. */
const counter: ReadingOperator<{ count: number; lastSeq: number }> = {
  name: 'counter',
  stateVersion: 1,
  create: () => ({ count: 0, lastSeq: -1 }),
  apply: (state, reading, out) => {
    state.count++
    state.lastSeq = reading.seq ?? -1
    if (state.count % 10 === 0) out.emit(TOPICS.windows, 'count/1', reading.tenant, reading.device, { device: reading.device, count: state.count, offset: reading.offset })
  },
  encode: (state) => jsonBytes(state),
  decode: (bytes) => JSON.parse(utf8Text(bytes)) as { count: number; lastSeq: number },
}

class Road {
  readonly folder = mkdtempSync(join(tmpdir(), 'processing-'))
  readonly eventLog = new LmdbEventLog({ directory: join(this.folder, 'log'), config: defaults<EventLogConfig>(EventLogConfigSchema), clock: systemClock, log: silentLogger, metrics: new Metrics(), topicPrefix: 't.' })
  readonly documents = new LmdbDocuments({ directory: join(this.folder, 'documents'), config: defaults<DocumentsConfig>(DocumentsConfigSchema), log: silentLogger, metrics: new Metrics() })
  readonly series = new DuckdbSeriesStore({ directory: join(this.folder, 'series'), config: defaults<SeriesConfig>(SeriesConfigSchema), clock: systemClock, log: silentLogger, metrics: new Metrics() })

  async start(): Promise<void> {
    for (const store of [this.eventLog, this.documents, this.series]) await store.start()
    await this.eventLog.ensureTopics(['readings', 'rejected', 'windows', 'late', 'readings.dlq', 'rejected.dlq'].map((topic) => ({ topic, partitions: 1, retentionBytes: 0, retentionMs: 0 })))
  }
  worker(options: { documents?: Documents; series?: SeriesStore; config?: Partial<ProcessingConfig>; onConsumer?: (consumer: Consumer) => void } = {}): ReadingsWorker {
    const config = { ...defaults<ProcessingConfig>(ProcessingConfigSchema), pollWaitMs: 20, seriesFlushMs: 5, ...options.config }
    const eventLog = new Proxy(this.eventLog, {
      get: (target, property) => {
        const value = Reflect.get(target, property) as unknown
        if (typeof value !== 'function') return value
        if (property !== 'consume') return value.bind(target) as unknown
        return async (...args: Parameters<EventLog['consume']>) => {
          const consumer = await target.consume(...args)
          options.onConsumer?.(consumer)
          return consumer
        }
      },
    })
    return new ReadingsWorker({ config, clock: systemClock, log: silentLogger, metrics: new Metrics(), eventLog, documents: options.documents ?? this.documents, series: options.series ?? this.series, operators: [counter] })
  }
  async append(readings: readonly Partial<Reading>[]): Promise<void> {
    const messages = readings.map((reading) => {
      const whole = { tenant: 'default', device: 'd', type: 'generic', receivedAt: 1_763_680_000_000, correlationId: 'c', ts: 1, values: { a: 1 }, ...reading }
      return { key: `default/${whole.device}`, schema: READING, value: jsonBytes(whole) }
    })
    await this.eventLog.append('readings', messages)
  }
  async stored(device: string): Promise<number[]> {
    const { items } = await this.series.range({ tenant: 'default', device, limit: 10_000 })
    return items.map((item) => item.seq ?? -1).reverse()
  }
  async outputs(): Promise<{ device: string; count: number; offset: number }[]> {
    const bounds = (await this.eventLog.bounds('windows')).get(0)
    return (await this.eventLog.read('windows', 0, 0, bounds?.next ?? 0)).map((record) => JSON.parse(utf8Text(record.value)) as { device: string; count: number; offset: number })
  }
  async summary(): Promise<LedgerSummary | null> {
    return (await this.documents.collection<LedgerSummary>({ name: 'ledger-summary', indexes: [] })).get('default/0')
  }
  async end(): Promise<void> {
    for (const store of [this.series, this.documents, this.eventLog]) await store.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + 20_000
  while (!(await condition())) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `waited in vain for ${what}`)
    await wait(10)
  }
}

test('rows once, duplicates counted, missing numbers known, rejected ones not missing', async () => {
  const road = new Road()
  await road.start()
  const worker = road.worker()
  await worker.start()
  await road.append([0, 1, 2, 5, 2, 5].map((seq) => ({ boot: 'b', seq, ts: 1_000 + seq })))
  await road.eventLog.append('rejected', [
    { key: 'default/d', schema: REJECTED_READING, value: jsonBytes({ tenant: 'default', device: 'd', receivedAt: 1_763_680_000_000, reason: 'bad-value', boot: 'b', seq: 4 }) },
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

/** Documents that stop accepting device states: a worker on them crashes with whatever it had saved by then. */
function crashable(documents: Documents): Documents & { crashed: boolean } {
  const wrapper = {
    name: documents.name,
    crashed: false,
    start: () => documents.start(),
    stop: () => documents.stop(),
    collection: async (spec: Parameters<Documents['collection']>[0]) => {
      const inner = await documents.collection(spec)
      return new Proxy(inner, {
        get: (target, property) => {
          const value = Reflect.get(target, property) as unknown
          if (typeof value !== 'function') return value
          return property === 'put' ? (...args: unknown[]) => (wrapper.crashed ? new Promise(() => undefined) : (value.apply(target, args) as unknown)) : (value.bind(target) as unknown)
        },
      })
    },
  }
  return wrapper as unknown as Documents & { crashed: boolean }
}

test('crashes at any moment: every row once and in order, every output once', async () => {
  const seed = Number(process.env.CRASH_SEED ?? 7)
  const random = seededRandom(seed)
  const road = new Road()
  await road.start()
  const devices = ['d1', 'd2', 'd3']
  const sent: LoggedReading[] = []
  let seq = 0
  for (let round = 0; round < 6; round++) {
    const documents = crashable(road.documents)
    const consumers: Consumer[] = []
    const worker = road.worker({ documents, onConsumer: (consumer) => consumers.push(consumer), config: { checkpointMs: 100 + integerBetween(random, 0, 100), pollRecordsMax: integerBetween(random, 1, 50) } })
    await worker.start()
    for (let batch = integerBetween(random, 2, 8); batch > 0; batch--) {
      const readings = Array.from({ length: integerBetween(random, 1, 40) }, () => ({ device: devices[integerBetween(random, 0, 2)] as string, boot: 'b', seq: seq++, ts: 1_000 + seq }))
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
  for (const device of devices) assert.deepEqual(await road.stored(device), sent.filter((reading) => reading.device === device).map((reading) => reading.seq), `seed ${seed}`)
  await survivor.stop()
  const outputs = await road.outputs()
  for (const device of devices) {
    const expected = Math.floor(sent.filter((reading) => reading.device === device).length / 10)
    assert.deepEqual(outputs.filter((output) => output.device === device).map((output) => output.count), Array.from({ length: expected }, (_, i) => (i + 1) * 10), `outputs of ${device}, seed ${seed}`)
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
  const hours = await (await road.documents.collection<LedgerEntry>({ name: 'ledger', indexes: [] })).find({})
  assert.deepEqual(hours.map((hour) => [hour.device, hour.received, hour.stored]), [['d', 3, 3]])
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
  await until(async () => (await (await road.documents.collection({ name: 'device-states', indexes: [] })).count({})) === 2, 'the first checkpoint')
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
