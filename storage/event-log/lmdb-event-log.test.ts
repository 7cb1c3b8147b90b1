import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ConflictError, EnvironmentError, InvalidInputError, LimitError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemClock, VirtualClock } from '../../kernel/time.ts'
import { crossCheckEventLogConfig } from './config.ts'
import type { Consumer } from './event-log.ts'
import { LmdbEnvironment } from './lmdb-environment.ts'
import { LmdbEventLog } from './lmdb-event-log.ts'
import { committedKey, slotOf } from './log-keys.ts'
import { readHead } from './partition-state.ts'
import { eventLogConfig, message, metricValue, openTemporaryLog, topicSpec } from './temporary-log.ts'

test('messages, topics and committed offsets are there after a restart', async (t) => {
  const first = await openTemporaryLog()
  await first.log.ensureTopics([topicSpec('kept', 3)])
  await first.log.append('kept', [message('a', '1'), message('b', '2'), message('c', '3')])
  const consumer = await first.log.consume({ group: 'g', topic: 'kept' })
  const records = await consumer.poll(10, 1_000)
  const { partition } = records[0]!
  await consumer.commit(new Map([[partition, 1]]))
  const second = await first.reopen()
  t.after(() => second.dispose())
  const again = await second.log.consume({ group: 'g', topic: 'kept' })
  assert.equal((await again.committed()).get(partition), 1)
  const rest = await again.poll(10, 1_000)
  assert.equal(rest.length, 2)
  const appended = await second.log.append('kept', [message(records[0]!.key, '4')])
  assert.deepEqual(appended, [{ partition, baseOffset: (await second.log.bounds('kept')).get(partition)!.next - 1, count: 1 }])
})

test('appends of one turn share one commit', async (t) => {
  const { log, metrics, dispose } = await openTemporaryLog()
  t.after(dispose)
  await log.ensureTopics([topicSpec('turn', 2), topicSpec('other')])
  const appends: Promise<unknown>[] = []
  for (let i = 0; i < 300; i++) appends.push(log.append(i % 3 === 0 ? 'other' : 'turn', [message(`k${i}`, String(i))]))
  await Promise.all(appends)
  const seconds = await metrics.registry.getSingleMetric('fleetpulse_event_log_append_seconds')!.get()
  const commits = seconds.values.find((value) => 'metricName' in value && value.metricName === 'fleetpulse_event_log_append_seconds_count')
  assert.equal(commits?.value, 1)
  assert.equal(await metricValue(metrics, 'event_log_appended_messages_total'), 300)
})

test('an entry takes one page, so that any page that is freed holds any of those that come', async (t) => {
  const { log, directory, close } = await openTemporaryLog()
  t.after(() => rm(directory, { recursive: true, force: true }))
  await log.ensureTopics([topicSpec('pages')])
  await log.append(
    'pages',
    Array.from({ length: 200 }, (_, i) => ({ key: 'k', schema: 's/1', value: Buffer.alloc(40 * (i % 90)) })),
  )
  await close()
  const environment = await LmdbEnvironment.open(directory, 1_048_576)
  t.after(() => environment.close())
  const { entryCount, overflowPages } = environment.entries.getStats() as { entryCount: number; overflowPages: number }
  assert.ok(entryCount > 80, `${entryCount} entries`)
  assert.ok(overflowPages <= entryCount, `${overflowPages} pages for ${entryCount} entries`)
})

test('waiting appends are bounded, and the log takes more when they are done', async (t) => {
  const { log, dispose } = await openTemporaryLog({ config: { pendingBytesMax: 1_048_576, messageBytesMax: 65_536 } })
  t.after(dispose)
  await log.ensureTopics([topicSpec('bounded')])
  const value = Buffer.alloc(60_000)
  const append = (): Promise<unknown> => log.append('bounded', [{ key: 'k', schema: 's/1', value }])
  const outcomes = await Promise.allSettled(Array.from({ length: 40 }, append))
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
  assert.equal(refused.length, 40 - Math.floor(1_048_576 / 60_011))
  for (const { reason } of refused) assert.ok(reason instanceof LimitError)
  await append()
  assert.equal((await log.bounds('bounded')).get(0)!.next, 41 - refused.length)
  await assert.rejects(log.append('bounded', [{ key: 'k', schema: 's/1', value: Buffer.alloc(70_000) }]), InvalidInputError)
})

test('an append that is refused leaves nothing of itself', async (t) => {
  const { log, dispose } = await openTemporaryLog({ config: { messageBytesMax: 1_024 } })
  t.after(dispose)
  await log.ensureTopics([topicSpec('whole')])
  const mixed = log.append('whole', [message('k', 'small'), message('k', 'x'.repeat(2_000))])
  const fine = log.append('whole', [message('k', 'fine')])
  await assert.rejects(mixed, InvalidInputError)
  await fine
  assert.deepEqual(
    (await log.read('whole', 0, 0, 10)).map(({ value }) => Buffer.from(value).toString()),
    ['fine'],
  )
})

test('a member cannot commit a partition that went to another; the new owner begins at the commit under way', async (t) => {
  const { log, dispose } = await openTemporaryLog()
  t.after(dispose)
  await log.ensureTopics([topicSpec('in', 2), topicSpec('out')])
  for (let i = 0; i < 20; i++) await log.append('in', [message(`k${i}`, String(i))])
  const one = await log.consume({ group: 'g', topic: 'in' })
  const polled = await one.poll(100, 1_000)
  assert.equal(polled.length, 20)
  const next = new Map([...(await log.bounds('in'))].map(([partition, bounds]) => [partition, bounds.next]))
  const committing = one.commit(next, [{ topic: 'out', messages: [message('k', 'done')] }])
  const two = await log.consume({ group: 'g', topic: 'in' })
  assert.deepEqual(await two.poll(100, 20), [], 'the new owner read what was being committed')
  await committing
  const [lost] = two.assignment()
  await assert.rejects(one.commit(new Map([[lost!, 0]]), [{ topic: 'out', messages: [message('k', 'stale')] }]), ConflictError)
  assert.equal((await log.bounds('out')).get(0)!.next, 1)
  assert.throws(() => one.seek(lost!, 0), ConflictError)
  await one.close()
  await assert.rejects(one.commit(new Map([[0, 1]])), ConflictError)
})

test('a member that comes when the only one left in the middle of a commit begins at that commit', async (t) => {
  const { log, dispose } = await openTemporaryLog()
  t.after(dispose)
  await log.ensureTopics([topicSpec('alone'), topicSpec('out')])
  await log.append('alone', [message('a', '1'), message('b', '2')])
  const first = await log.consume({ group: 'g', topic: 'alone' })
  assert.equal((await first.poll(10, 1_000)).length, 2)
  const commit = first.commit(new Map([[0, 1]]), [{ topic: 'out', messages: [message('k', 'said')] }])
  await first.close()
  const committed: (number | undefined)[] = []
  const onAssigned = async (_partitions: readonly number[], consumer: Consumer): Promise<void> =>
    void committed.push((await consumer.committed()).get(0))
  const second = await log.consume({ group: 'g', topic: 'alone', onAssigned })
  const rest = await second.poll(10, 1_000)
  assert.deepEqual([committed, rest.map(({ offset }) => offset)], [[1], [1]])
  await commit
})

test('nobody ever sees outputs without their offsets, or offsets without their outputs', async (t) => {
  const { log, directory, dispose } = await openTemporaryLog()
  const watcher = await LmdbEnvironment.open(directory, 1_048_576)
  t.after(async () => {
    await watcher.close()
    await dispose()
  })
  await log.ensureTopics([topicSpec('in'), topicSpec('out')])
  const consumer = await log.consume({ group: 'g', topic: 'in' })
  const topicIds = new Map(
    [...watcher.topics.getRange({})].map(({ key, value }) => [key.toString(), (JSON.parse(value.toString()) as { id: number }).id]),
  )
  const input = slotOf(topicIds.get('test.in')!, 0)
  const output = slotOf(topicIds.get('test.out')!, 0)
  let committed = 0
  const committing = (async () => {
    while (committed < 100)
      await consumer.commit(new Map([[0, ++committed]]), [{ topic: 'out', messages: [message('k', String(committed))] }])
  })()
  const seen = new Set<number>()
  while (!seen.has(100)) {
    watcher.refresh()
    const offset = watcher.offsets.get(committedKey(input, 'g'))?.readDoubleLE() ?? 0
    assert.equal(readHead(watcher.heads, output)!.next, offset)
    seen.add(offset)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await committing
  assert.ok(seen.size > 10, `only ${seen.size} states were seen`)
})

test('members get the partitions of a topic that grows', async (t) => {
  const { log, dispose } = await openTemporaryLog()
  t.after(dispose)
  await log.ensureTopics([topicSpec('grows', 1)])
  const consumer = await log.consume({ group: 'g', topic: 'grows' })
  const poll = consumer.poll(100, 10_000)
  await log.ensureTopics([topicSpec('grows', 5)])
  assert.deepEqual(consumer.assignment(), [0, 1, 2, 3, 4])
  const keys = Array.from({ length: 40 }, (_, i) => message(`k${i}`, String(i)))
  await log.append('grows', keys)
  let count = (await poll).length
  while (count < 40) count += (await consumer.poll(100, 1_000)).length
  assert.equal(count, 40)
})

test('lag is measured on a timer and forgotten with the group', async (t) => {
  const clock = new VirtualClock()
  const { log, metrics, dispose } = await openTemporaryLog({ clock })
  t.after(dispose)
  await log.ensureTopics([topicSpec('slow')])
  await log.append('slow', [message('k', '1'), message('k', '2')])
  const consumer = await log.consume({ group: 'g', topic: 'slow' })
  await clock.advance(1_001)
  assert.equal(await metricValue(metrics, 'event_log_consumer_lag_messages'), 2)
  await consumer.commit(new Map([[0, 2]]))
  await clock.advance(1_001)
  assert.equal(await metricValue(metrics, 'event_log_consumer_lag_messages'), 0)
  await consumer.close()
  const metric = await metrics.registry.getSingleMetric('fleetpulse_event_log_consumer_lag_messages')!.get()
  assert.deepEqual(metric.values, [])
})

test('time within a partition never goes back, so that a search by time stays right', async (t) => {
  const clock = new VirtualClock(2_000)
  const opened = await openTemporaryLog({ clock })
  await opened.log.ensureTopics([topicSpec('clock')])
  await opened.log.append('clock', [message('k', 'first')])
  const { log, close } = await openTemporaryLog({ clock: new VirtualClock(1_000), directory: opened.directory })
  t.after(async () => {
    await close()
    await opened.dispose()
  })
  await log.append('clock', [message('k', 'second')])
  const times = (await log.read('clock', 0, 0, 10)).map(({ appendedAt }) => appendedAt)
  assert.deepEqual(times, [2_000, 2_000])
  assert.deepEqual([...(await log.offsetsAt('clock', 1_500))], [[0, 0]])
})

test('before start and after stop the log says that it is not there', async (t) => {
  const { log, dispose } = await openTemporaryLog()
  t.after(dispose)
  await log.start()
  await log.ensureTopics([topicSpec('short')])
  const last = log.append('short', [message('k', 'last')])
  await log.stop()
  assert.equal((await last).length, 1, 'what waited was written before the log stopped')
  await log.stop()
  const isUnavailable = (error: unknown): boolean => error instanceof EnvironmentError && error.code === 'LOG_UNAVAILABLE'
  await assert.rejects(log.append('short', [message('k', 'late')]), isUnavailable)
  const options = {
    directory: 'never made',
    config: eventLogConfig(),
    clock: systemClock,
    log: silentLogger,
    metrics: new Metrics(),
    topicPrefix: '',
  }
  await assert.rejects(new LmdbEventLog(options).bounds('short'), isUnavailable)
  await log.start()
  assert.equal((await log.bounds('short')).get(0)!.next, 1)
})

test('what another process commits is found by looking', async (t) => {
  const { log, directory, dispose } = await openTemporaryLog({ config: { wakeFallbackMs: 10 } })
  t.after(dispose)
  await log.ensureTopics([topicSpec('elsewhere')])
  const consumer = await log.consume({ group: 'g', topic: 'elsewhere' })
  const poll = consumer.poll(10, 20_000)
  const child = spawnSync(
    process.execPath,
    [fileURLToPath(new URL('./append-child.js', import.meta.url)), directory, 'elsewhere', 'from far'],
    {
      encoding: 'utf8',
    },
  )
  assert.equal(child.status, 0, child.stderr)
  assert.deepEqual(
    (await poll).map(({ value }) => Buffer.from(value).toString()),
    ['from far'],
  )
  await log.append('elsewhere', [message('k', 'from here')])
  assert.equal((await consumer.poll(10, 1_000))[0]!.offset, 1)
})

test('wrong places are refused by name', async (t) => {
  const { log, dispose } = await openTemporaryLog()
  t.after(dispose)
  await log.ensureTopics([topicSpec('places')])
  for (const [partition, offset] of [
    [1, 0],
    [-1, 0],
    [0.5, 0],
    [0, -1],
    [0, NaN],
  ] as const) {
    await assert.rejects(log.read('places', partition, offset, 1), InvalidInputError)
  }
  const consumer = await log.consume({ group: 'g', topic: 'places' })
  await assert.rejects(consumer.poll(0, 0), InvalidInputError)
  await assert.rejects(consumer.commit(new Map([[0, -1]])), InvalidInputError)
  assert.throws(() => consumer.seek(0, 1.5), InvalidInputError)
  await assert.rejects(log.consume({ group: '', topic: 'places' }), InvalidInputError)
  for (const spec of [{ ...topicSpec('no spaces') }, { ...topicSpec('p'), partitions: 0 }, { ...topicSpec('p'), retentionMs: -1 }]) {
    await assert.rejects(log.ensureTopics([spec]), InvalidInputError)
  }
})

test('bounds that contradict each other are a configuration fault', () => {
  assert.deepEqual(crossCheckEventLogConfig(eventLogConfig(), 'eventLog'), [])
  const faults = crossCheckEventLogConfig(eventLogConfig({ messageBytesMax: 2_097_152, pendingBytesMax: 1_048_576 }), 'eventLog')
  assert.equal(faults[0]?.key, 'eventLog.pendingBytesMax')
})
