import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { ANOMALY, type Anomaly } from '../contracts/anomaly.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { EnvironmentError, NotFoundError } from '../kernel/errors.ts'
import { silentLogger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import { lmdbDocuments } from '../storage/documents/testing/lmdb-fixture.ts'
import type { Consumer, EventLog } from '../storage/event-log/event-log.ts'
import { openTemporaryLog } from '../storage/event-log/temporary-log.ts'
import { AnomalyArchive } from './anomaly-archive.ts'

function anomaly(changes: Partial<Anomaly> & { id: string }): Anomaly {
  return {
    ...{ tenant: 'default', device: 'd', type: 'generic', metric: 'm', cause: 'value', ts: 1, receivedAt: 1, phase: 'raised', score: 1 },
    ...{ severity: 'warning', partition: 0, offset: 0, correlationId: 'c' },
    explanation: {
      ...{ text: 'm was 9', observed: 9, expected: 1, low: 0, high: 2, contributions: [], detector: 'x', detectorVersion: 1 },
      ...{ parameters: {}, readingsSeen: 9 },
    },
    ...changes,
  }
}

interface World {
  documents: Documents
  eventLog: EventLog
  append: (...anomalies: (Anomaly | string)[]) => Promise<unknown>
  archive: (options?: { documents?: Documents; eventLog?: EventLog; anomaliesMax?: number }) => Promise<AnomalyArchive>
}

async function openWorld(t: TestContext): Promise<World> {
  const opened = await openTemporaryLog()
  await opened.log.ensureTopics([{ topic: TOPICS.anomalies, partitions: 2, retentionBytes: 0, retentionMs: 0 }])
  const documents = await lmdbDocuments(t)
  const running: AnomalyArchive[] = []
  t.after(async () => {
    for (const archive of running) await archive.stop()
    await opened.dispose()
  })
  return {
    documents,
    eventLog: opened.log,
    append: (...anomalies) =>
      opened.log.append(
        TOPICS.anomalies,
        anomalies.map((each) => ({
          key: typeof each === 'string' ? 'x' : deviceKey(each.tenant, each.device),
          schema: ANOMALY,
          value: typeof each === 'string' ? Buffer.from(each) : jsonBytes(each),
        })),
      ),
    archive: async (options = {}) => {
      const stores = { documents: options.documents ?? documents, eventLog: options.eventLog ?? opened.log }
      const common = { ...stores, clock: systemClock, log: silentLogger, metrics: new Metrics() }
      const archive = new AnomalyArchive({ ...common, anomaliesMax: options.anomaliesMax ?? 10_000 })
      await archive.start()
      running.push(archive)
      return archive
    },
  }
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + 60_000
  while (!(await holds())) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `waited in vain: ${what}`)
    await sleep(systemClock, 5)
  }
}

const has = (archive: AnomalyArchive, id: string) => async (): Promise<boolean> => {
  try {
    return (await archive.get('default', id)).id === id
  } catch (error) {
    if (error instanceof NotFoundError) return false
    throw error
  }
}

test('keeps anomalies once, lists them newest first by page and filter, within the tenant', async (t) => {
  const world = await openWorld(t)
  const archive = await world.archive()
  const all = Array.from({ length: 25 }, (_, i) =>
    anomaly({ id: `a${String(i).padStart(2, '0')}`, ts: 100 + Math.floor(i / 3), device: `d${i % 2}`, metric: i % 5 === 0 ? 'p' : 'm' }),
  )
  await world.append(...all, ...all.slice(0, 5), anomaly({ id: 'foreign', tenant: 'another' }))
  await until('all are there', async () => (await archive.list({ tenant: 'default', limit: 100 })).items.length === 25)
  await until('the other tenant’s too', async () => (await archive.list({ tenant: 'another', limit: 1 })).items.length === 1)
  const newestFirst = all.toSorted((a, b) => b.ts - a.ts || (a.id < b.id ? 1 : -1)).map(({ id }) => id)
  const seen: string[] = []
  for (let after: { ts: number; id: string } | undefined, more = true; more;) {
    const page = await archive.list({ tenant: 'default', limit: 4, ...(after === undefined ? {} : { after }) })
    seen.push(...page.items.map(({ id }) => id))
    after = page.items.at(-1)
    more = page.more
  }
  assert.deepEqual(seen, newestFirst)
  const found = await archive.list({ tenant: 'default', device: 'd0', metric: 'p', fromTs: 101, toTs: 106, limit: 100 })
  const expected = all.filter(({ device, metric, ts }) => device === 'd0' && metric === 'p' && ts >= 101 && ts < 106)
  assert.ok(expected.length > 0)
  assert.deepEqual(found.items.map(({ id }) => id).toSorted(), expected.map(({ id }) => id).toSorted())
  await assert.rejects(archive.get('default', 'foreign'), NotFoundError)
  await assert.rejects(archive.get('default', 'nobody'), NotFoundError)
})

test('what cannot be archived is left out and holds nothing up', async (t) => {
  const world = await openWorld(t)
  const archive = await world.archive()
  await world.append('{broken', 'null', '{"id":7}', anomaly({ id: 'x'.repeat(600) }), anomaly({ id: 'good' }))
  await until('the good one', has(archive, 'good'))
  await world.append(anomaly({ id: 'later' }))
  await until('the one after that batch', has(archive, 'later'))
})

test('goes on where it was, and through trouble of the stores', async (t) => {
  const world = await openWorld(t)
  const first = await world.archive()
  await world.append(anomaly({ id: 'before' }))
  await until('before', has(first, 'before'))
  await first.stop()
  await world.append(anomaly({ id: 'between' }))
  let trouble = 3
  const fail = (): void => {
    if (trouble-- > 0) throw new EnvironmentError('LOG_UNAVAILABLE', 'on purpose', { retryable: true })
  }
  const eventLog = flaky(world.eventLog, 'consume', (consumer) =>
    flaky(flaky(consumer as Consumer, 'poll', undefined, fail), 'commit', undefined, fail),
  )
  const second = await world.archive({ eventLog })
  await until('between', has(second, 'between'))
  await world.append(anomaly({ id: 'after' }))
  await until('after', has(second, 'after'))
  assert.ok(trouble <= 0)
})

test('the oldest by receipt go when there are too many', async (t) => {
  const world = await openWorld(t)
  const archive = await world.archive({ anomaliesMax: 300 })
  const total = 1_000
  await world.append(...Array.from({ length: total }, (_, i) => anomaly({ id: `a${i}`, ts: total - i, receivedAt: i })))
  await until('pruned', async () => (await archive.list({ tenant: 'default', limit: 2_000 })).items.length === 300)
  const { items } = await archive.list({ tenant: 'default', limit: 2_000 })
  assert.ok(items.every(({ receivedAt }) => receivedAt >= total - 300))
})

/** The same object with one method that may fail first, and whose answer may be changed. */
function flaky<T extends object>(
  target: T,
  method: keyof T,
  change?: (answer: unknown) => unknown,
  before: () => void = () => undefined,
): T {
  return new Proxy(target, {
    get: (original, property) => {
      const value: unknown = Reflect.get(original, property, original)
      if (typeof value !== 'function') return value
      if (property !== method) return value.bind(original) as unknown
      return async (...args: unknown[]) => {
        before()
        const answer: unknown = await Reflect.apply(value, original, args)
        return change === undefined ? answer : change(answer)
      }
    },
  })
}
