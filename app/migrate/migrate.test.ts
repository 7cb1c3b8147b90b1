import assert from 'node:assert/strict'
import { it, type TestContext } from 'node:test'
import { ConflictError, EnvironmentError } from '../../kernel/errors.ts'
import { systemClock, VirtualClock } from '../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents } from '../../storage/documents/documents.ts'
import { message } from '../../storage/event-log/temporary-log.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import { allPages } from '../../storage/series/testing/contract-engine.ts'
import { migrate, type MoveReport } from './migrate.ts'
import { DEVICES, embeddedStores, fill, READINGS, type EmbeddedStores } from './testing/embedded.ts'

const PARTITIONS = 12

async function filledAndEmpty(t: TestContext): Promise<[EmbeddedStores, EmbeddedStores]> {
  const [source, target] = await Promise.all([embeddedStores(t), embeddedStores(t)])
  await fill(source)
  return [source, target]
}

function move(source: EmbeddedStores, target: { documents: Documents; series: SeriesStore }, pageRows?: number): Promise<MoveReport> {
  return migrate({
    source,
    target,
    partitions: PARTITIONS,
    clock: systemClock,
    onProgress: () => undefined,
    ...(pageRows === undefined ? {} : { seriesPageRows: pageRows }),
  })
}

async function documentOf(documents: Documents, collection: string, id: string): Promise<Record<string, unknown> | null> {
  return (await documents.collection<Record<string, unknown>>({ name: collection, indexes: [] })).get(id)
}

it('moves documents and readings, counts both sides, and does nothing the second time', async (t) => {
  const [source, target] = await filledAndEmpty(t)
  const seen: string[] = []
  const options = { source, target, partitions: PARTITIONS, clock: systemClock }
  const report = await migrate({ ...options, onProgress: (what, done, total) => seen.push(`${what} ${done}/${total}`) })
  assert.equal(report.status, 'moved')
  assert.ok(report.agrees, JSON.stringify(report.counts))
  assert.ok(seen.includes(`devices 0/${DEVICES}`) && seen.includes(`readings ${READINGS}/${READINGS}`), seen.join())
  const count = (what: string): unknown => report.counts.find((each) => each.what === what)
  assert.deepEqual(count('devices'), { what: 'devices', source: DEVICES, left: 0, target: DEVICES, agrees: true })
  assert.deepEqual(count('broker-queues'), { what: 'broker-queues', source: 2, left: 1, target: 2, agrees: true })
  assert.deepEqual(count('readings of other'), {
    what: 'readings of other',
    source: READINGS / 5,
    left: 0,
    target: READINGS / 5,
    agrees: true,
  })

  const device = await documentOf(source.documents, 'devices', 'default/pump-7')
  assert.deepEqual(await documentOf(target.documents, 'devices', 'default/pump-7'), { ...device, version: 1 })
  for (const tenant of ['default', 'other']) {
    const asked = { tenant, limit: 500 }
    assert.deepEqual((await allPages(target.series, asked)).items, (await allPages(source.series, asked)).items)
  }
  const again = await migrate({ ...options, onProgress: () => assert.fail('nothing is to be done') })
  assert.deepEqual({ ...again, status: 'moved' }, report)
  assert.equal(again.status, 'again')
  assert.equal(await target.series.count('other'), READINGS / 5)
})

it('leaves behind what names places in the old log, and keeps what makes duplicates known', async (t) => {
  const [source, target] = await filledAndEmpty(t)
  await move(source, target)
  const partitions = new Set<unknown>()
  for (let i = 0; i < DEVICES; i++) {
    for (const collection of ['device-states', 'device-states-anomaly']) {
      const state = await documentOf(target.documents, collection, `default/pump-${i}`)
      assert.deepEqual([state?.nextOffset, state?.nextRejectedOffset], [0, 0])
      assert.deepEqual(state?.identity, { boots: [{ boot: 'b', bounds: [0, 9] }] })
      partitions.add(state?.partition)
    }
    const gaps = await documentOf(target.documents, 'ledger-gaps', `default/pump-${i}`)
    assert.deepEqual([gaps?.position, partitions.has(gaps?.partition)], [0, true])
  }
  assert.ok(
    partitions.size > 5 && [...partitions].every((partition) => Number(partition) < PARTITIONS),
    'spread as the new log spreads devices',
  )
  for (const [collection, id] of [
    ['checkpoints', 'processing/0'],
    ['ledger-summary', 'default/0'],
    ['broker-edges', 'e1'],
  ] as const)
    assert.equal(await documentOf(target.documents, collection, id), null, collection)
  const alert = await documentOf(target.documents, 'alerts', 'a1')
  assert.deepEqual(alert?.position, { partition: 0, offset: -1 })
  assert.deepEqual(alert?.outbox, [{ alertId: 'a1', sequence: 2, change: 'acknowledged', position: null }])
  const queued = await documentOf(target.documents, 'broker-queues', 'default:pump-1/00000000002')
  assert.deepEqual([queued?.place, queued?.brokerId, queued?.order], [undefined, 'moved', 2])
  assert.equal((await documentOf(target.documents, 'broker-queues', 'default:pump-1/00000000001'))?.brokerId, 'run-1')

  // The new log begins at 0, in any partition: a reading that comes again is known, and a new one is stored.
  assert.deepEqual(
    [...(await target.series.positions())].filter(([partition]) => partition < PARTITIONS),
    [],
  )
  const known = { tenant: 'default', device: 'pump-1', ts: 1_763_683_200_000 + 1_000, boot: 'b', seq: 1, partition: 3, offset: 0 }
  assert.deepEqual(await target.series.contains([known, { ...known, seq: 2 }]), [true, false])
})

/** Lets so many calls of one method through and fails then, as a cut connection does. */
function failing<T extends object>(inner: T, method: keyof T, callsLeft: { n: number }): T {
  return new Proxy(inner, {
    get: (of, name) => {
      const value: unknown = Reflect.get(of, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        if (name === method && callsLeft.n-- <= 0) return Promise.reject(new EnvironmentError('CUT', 'cut'))
        return Reflect.apply(value, of, args) as unknown
      }
    },
  })
}

/** Documents whose collections fail after so many inserts. */
function failingDocuments(documents: Documents, insertsLeft: { n: number }): Documents {
  return {
    name: documents.name,
    start: () => documents.start(),
    stop: () => documents.stop(),
    collection: async <T extends object>(spec: CollectionSpec): Promise<Collection<T>> =>
      failing(await documents.collection<T>(spec), 'insert', insertsLeft),
  }
}

it('goes on where it was cut short, and doubles nothing', async (t) => {
  const [source, target] = await filledAndEmpty(t)
  for (const inserts of [0, 1, 25, 40, 70]) {
    await assert.rejects(move(source, { ...target, documents: failingDocuments(target.documents, { n: inserts }) }), { code: 'CUT' })
  }
  for (const writes of [0, 1, 3]) {
    await assert.rejects(move(source, { ...target, series: failing<SeriesStore>(target.series, 'write', { n: writes }) }, 700), {
      code: 'CUT',
    })
  }
  assert.ok((await target.series.count('default')) > 0 && (await target.series.count('default')) < READINGS * 0.8, 'cut in the middle')
  const report = await move(source, target)
  assert.ok(report.agrees, JSON.stringify(report.counts))
  assert.equal((await target.series.count('default')) + (await target.series.count('other')), READINGS)
})

it('refuses what a cluster holds already, another data folder, and a log that is not drained; nothing is moved then', async (t) => {
  const [source, target] = await filledAndEmpty(t)
  const devices = await target.documents.collection<object>({ name: 'devices', indexes: [] })
  await devices.put('default/mine', { tenant: 'default' })
  await assert.rejects(
    move(source, target),
    (error: unknown) => error instanceof ConflictError && /holds data already: 1 documents of devices/.test(error.message),
  )
  await devices.delete('default/mine')

  await source.eventLog.append('readings', [message('default/pump-1', '{}')])
  await source.eventLog.append('anomalies', [message('default/pump-1', '{}')])
  await assert.rejects(
    move(source, target),
    (error: unknown) =>
      error instanceof ConflictError &&
      /1 of readings are not in the saved states; 1 of readings were not read by processing; 1 of anomalies were not read by anomaly-archive; 1 of anomalies were not read by alerts/.test(
        error.message,
      ) &&
      /Start the embedded platform once/.test(error.remedy ?? ''),
  )
  assert.equal(await devices.count({}), 0)

  const [other, full] = await filledAndEmpty(t)
  await move(other, full)
  await assert.rejects(move(source, full), (error: unknown) => error instanceof ConflictError && /another data folder/.test(error.message))
})

it('says when the counts do not agree, and may then be run again', async (t) => {
  const [source, target] = await filledAndEmpty(t)
  const clock = new VirtualClock()
  let lost = 1
  const series = new Proxy<SeriesStore>(target.series, {
    get: (of, name) => {
      if (name === 'count')
        return async (tenant: string) => (await of.count(tenant)) - (tenant === 'other' && (await of.positions()).size > 0 ? lost : 0)
      const value: unknown = Reflect.get(of, name)
      return typeof value === 'function' ? (value.bind(of) as unknown) : value
    },
  })
  const options = { source, target: { ...target, series }, partitions: PARTITIONS, clock, onProgress: () => undefined }
  let ended = false
  const moving = migrate(options).finally(() => (ended = true))
  while (!ended) await clock.advance(10_000)
  const report = await moving
  assert.equal(report.agrees, false)
  assert.deepEqual(
    report.counts.filter((count) => !count.agrees).map((count) => count.what),
    ['readings of other'],
  )
  lost = 0
  assert.equal((await migrate(options)).agrees, true)
})
