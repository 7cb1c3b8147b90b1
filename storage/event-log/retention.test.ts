import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { VirtualClock } from '../../kernel/time.ts'
import type { LmdbEventLog } from './lmdb-event-log.ts'
import { message, metricValue, openTemporaryLog, topicSpec } from './temporary-log.ts'

test('by size: whole entries go from the oldest on, offsets stay', async (t) => {
  const { log, metrics, dispose } = await openTemporaryLog()
  t.after(dispose)
  await log.ensureTopics([{ ...topicSpec('sized', 2), retentionBytes: 50_000 }])
  for (let i = 0; i < 100; i++) await log.append('sized', [message(`k${i}`, 'x'.repeat(1_000))])
  const removed = await log.retain()
  const bounds = [...(await log.bounds('sized')).values()]
  const kept = bounds.reduce((sum, { first, next }) => sum + next - first, 0)
  assert.equal(removed.records, 100 - kept)
  assert.ok(kept >= 40 && kept <= 50, `${kept} of 100 messages of 1 000 bytes were kept under 50 000 bytes`)
  assert.equal(removed.records, await metricValue(metrics, 'event_log_retention_removed_messages_total'))
  assert.equal(removed.bytes, await metricValue(metrics, 'event_log_retention_removed_bytes_total'))
  assert.equal(
    bounds.reduce((sum, { next }) => sum + next, 0),
    100,
  )
  assert.deepEqual(await log.retain(), { records: 0, bytes: 0 })
  for (const [partition, { first, next }] of await log.bounds('sized')) {
    const records = await log.read('sized', partition, 0, 1_000)
    assert.deepEqual(
      records.map(({ offset }) => offset),
      Array.from({ length: next - first }, (_, i) => first + i),
    )
  }
})

test('the newest entry stays, however small the bound', async (t) => {
  const { log, dispose } = await openTemporaryLog()
  t.after(dispose)
  await log.ensureTopics([{ ...topicSpec('tiny'), retentionBytes: 1 }])
  await log.append('tiny', [message('k', 'old')])
  await log.append('tiny', [message('k', 'new')])
  await log.retain()
  assert.deepEqual((await log.bounds('tiny')).get(0), { first: 1, next: 2 })
})

test('by age: the engine removes on its timer, an emptied partition goes on counting', async (t) => {
  const clock = new VirtualClock()
  const { log, dispose } = await openTemporaryLog({ clock })
  t.after(dispose)
  await log.ensureTopics([{ ...topicSpec('aged'), retentionMs: 60_000 }])
  await log.append('aged', [message('k', '1'), message('k', '2')])
  await clock.advance(30_000)
  await log.append('aged', [message('k', '3')])
  await clock.advance(35_000)
  // A pass that is still under way on a busy machine puts the next one off: time goes on until it has come.
  const firstIs = async (offset: number): Promise<boolean> => {
    await clock.advance(1_000)
    return (await log.bounds('aged')).get(0)!.first === offset
  }
  await until(() => firstIs(2))
  await clock.advance(60_000)
  await until(() => firstIs(3))
  assert.deepEqual(await log.read('aged', 0, 0, 10), [])
  assert.deepEqual([...(await log.offsetsAt('aged', 0))], [[0, 3]])
  assert.deepEqual(await log.append('aged', [message('k', '4')]), [{ partition: 0, baseOffset: 3, count: 1 }])
  assert.deepEqual(
    (await log.read('aged', 0, 0, 10)).map(({ offset }) => offset),
    [3],
  )
})

test('a consumer whose place is gone goes on at the first one kept, and the loss is counted', async (t) => {
  const { log, metrics, dispose } = await openTemporaryLog()
  t.after(dispose)
  await log.ensureTopics([{ ...topicSpec('behind'), retentionBytes: 20_000 }])
  const consumer = await log.consume({ group: 'slow', topic: 'behind' })
  for (let i = 0; i < 10; i++) await log.append('behind', [message('k', String(i))])
  assert.equal((await consumer.poll(4, 1_000)).length, 4)
  await consumer.commit(new Map([[0, 4]]))
  for (let i = 0; i < 50; i++) await log.append('behind', [message('k', 'x'.repeat(1_000))])
  await log.retain()
  const { first, next } = (await log.bounds('behind')).get(0)!
  assert.ok(first > 10)
  assert.equal(await consumer.lag(), next - first)
  const lost = (): Promise<number> => metricValue(metrics, 'event_log_lost_to_retention_messages_total')
  const [record] = await consumer.poll(1, 1_000)
  // The entry it was reading had one message; nothing of it was held back.
  assert.equal(record!.offset, first)
  assert.equal(await lost(), first - 4)
  consumer.seek(0, 0)
  assert.equal((await consumer.poll(1, 1_000))[0]!.offset, first)
  assert.equal(await lost(), first - 4, 'seeking to the beginning is no loss')
})

test('changed retention takes effect, and other topics keep all', async (t) => {
  const { log, dispose } = await openTemporaryLog()
  t.after(dispose)
  await log.ensureTopics([topicSpec('changed'), topicSpec('unbounded')])
  for (const topic of ['changed', 'unbounded']) for (let i = 0; i < 20; i++) await log.append(topic, [message('k', 'x'.repeat(1_000))])
  assert.deepEqual(await log.retain(), { records: 0, bytes: 0 })
  await log.ensureTopics([{ ...topicSpec('changed'), retentionBytes: 5_000 }])
  assert.ok((await log.retain()).records >= 15)
  assert.equal((await log.bounds('unbounded')).get(0)!.first, 0)
})

test('under retention the file stops growing', async (t) => {
  const retentionBytes = 4_000_000
  const { log, directory, dispose } = await openTemporaryLog({ config: { retentionIntervalMs: 3_600_000 } })
  t.after(dispose)
  await log.ensureTopics([{ ...topicSpec('steady', 4), retentionBytes }])
  const sizes: number[] = []
  for (let round = 0; round < 40; round++) {
    await appendBytes(log, 1_000_000)
    await log.retain()
    sizes.push((await stat(join(directory, 'data.mdb'))).size)
  }
  t.diagnostic(`file size in MB: ${sizes.map((size) => (size / 1e6).toFixed(1)).join(' ')}`)
  assert.ok(sizes.at(-1)! < retentionBytes * 2.5, `${sizes.at(-1)} bytes for ${retentionBytes} kept`)
  assert.ok(sizes.at(-1)! <= sizes[19]! * 1.1, `the file grew from ${sizes[19]} to ${sizes.at(-1)} bytes in the second half`)
})

/** Turns of many sizes, as devices make them. */
async function appendBytes(log: LmdbEventLog, bytes: number): Promise<void> {
  let sent = 0
  for (let turn = 0; sent < bytes; turn++) {
    const appends: Promise<unknown>[] = []
    for (let i = 0; i <= (turn * 37) % 220; i++) {
      const value = Buffer.alloc(100 + ((turn * 31 + i * 17) % 300), i)
      sent += value.length
      appends.push(log.append('steady', [{ key: `device-${i}`, schema: 'reading/1', value }]))
    }
    await Promise.all(appends)
  }
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100_000; tries++) {
    if (await isTrue()) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.fail('the condition never came true')
}
