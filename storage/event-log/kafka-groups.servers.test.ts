import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConflictError } from '../../kernel/errors.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { serverAddress } from '../../test/testing/server-addresses.ts'
import type { Consumer, EventLog, LogRecord } from './event-log.ts'
import { openKafkaLog } from './kafka-testing.ts'
import { message, metricValue, topicSpec } from './temporary-log.ts'

const PATIENCE_MS = 40_000
const address = (): string => serverAddress('kafka')

test('two members under load and one that comes and goes: every record is applied once', async () => {
  const first = await openKafkaLog(address())
  const second = await openKafkaLog(address(), { topicPrefix: first.topicPrefix })
  await first.log.ensureTopics([topicSpec('in', 6), topicSpec('out', 3)])
  const total = 3_000
  let appended = 0
  const writing = (async () => {
    for (; appended < total; appended += 20) {
      await first.log.append(
        'in',
        Array.from({ length: 20 }, (_, i) => message(`key-${(appended + i) % 50}`, String(appended + i))),
      )
      await sleep(systemClock, 3)
    }
  })()
  const counts = { applied: 0, fenced: 0 }
  const isDone = (): boolean => counts.applied >= total
  const stay = [apply(first.log, counts, isDone), apply(second.log, counts, isDone)]
  const guests: Promise<number>[] = []
  for (let guest = 0; guest < 3; guest++) {
    await until(() => counts.applied >= ((guest + 1) * total) / 5)
    let isOver = false
    guests.push(apply(second.log, counts, () => isOver || isDone()))
    await sleep(systemClock, 600)
    isOver = true
    await guests[guest]
  }
  await writing
  const worked = await Promise.all([...stay, ...guests])
  assert.ok(worked.filter((records) => records > 0).length >= 3, `applied ${worked.join()}`)
  const out = await takeAll(first.log, 'out', total)
  const numbers = out.map(({ value }) => Number(Buffer.from(value).toString()))
  assert.equal(numbers.length, total)
  assert.equal(new Set(numbers).size, total)
  for (let key = 0; key < 50; key++) {
    const ofKey = out.filter((record) => record.key === `key-${key}`).map(({ value }) => Number(Buffer.from(value).toString()))
    assert.deepEqual(
      ofKey,
      ofKey.toSorted((a, b) => a - b),
      `order of key ${key}`,
    )
  }
  await Promise.all([first.dispose(), second.dispose()])
})

test('a zombie whose instance id another process took is fenced, and nobody reads what it wrote', async () => {
  const config = { instanceId: 'one', sessionTimeoutMs: 60_000 }
  const zombie = await openKafkaLog(address(), { config })
  const { topicPrefix } = zombie
  await zombie.log.ensureTopics([topicSpec('in', 2), topicSpec('out', 1)])
  await zombie.log.append('in', [message('a', '1'), message('b', '2'), message('c', '3')])
  const lost: number[] = []
  // It is not asked for heartbeats often enough to know: that is what a zombie is.
  const old = await zombie.log.consume({ group: 'g', topic: 'in', onLost: (partitions) => lost.push(...partitions) })
  const records = await takeFrom(old, 3)
  const next = new Map<number, number>()
  for (const { partition, offset } of records) next.set(partition, offset + 1)
  await old.commit(new Map(), [{ topic: 'out', messages: [message('k', 'kept')] }])
  const heir = await openKafkaLog(address(), { config, topicPrefix })
  const took = systemClock.monotonicMs()
  const owner = await heir.log.consume({ group: 'g', topic: 'in' })
  await until(async () => {
    await owner.poll(1, 20)
    return owner.assignment().length === 2
  })
  assert.ok(systemClock.monotonicMs() - took < 30_000, 'the instance id takes partitions over at once, not when a session ends')
  await assert.rejects(old.commit(next, [{ topic: 'out', messages: [message('k', 'stale')] }]), isFenced)
  await assert.rejects(old.commit(next), isFenced)
  await until(() => lost.length === 2)
  await assert.rejects(old.poll(10, 1_000), isFenced)
  assert.match(zombie.log.failing ?? '', /FENCED_INSTANCE_ID/)
  assert.deepEqual([...(await owner.committed())], [])
  await owner.commit(next, [{ topic: 'out', messages: [message('k', 'by its heir')] }])
  assert.deepEqual(texts(await takeAll(heir.log, 'out', 2)), ['kept', 'by its heir'])
  await Promise.all([zombie.dispose(), heir.dispose()])
})

test('a member that slept through its session is fenced, and its heir applies what it had in hand', async () => {
  // So few heartbeats that the session ends between two: as if the process had been stopped for a while.
  const asleep = await openKafkaLog(address(), { config: { heartbeatMs: 30_000, sessionTimeoutMs: 6_000 } })
  const { topicPrefix } = asleep
  await asleep.log.ensureTopics([topicSpec('in', 2), topicSpec('out', 1)])
  await asleep.log.append('in', [message('a', '1'), message('b', '2')])
  const old = await asleep.log.consume({ group: 'g', topic: 'in' })
  const next = new Map((await takeFrom(old, 2)).map(({ partition, offset }) => [partition, offset + 1]))
  const heir = await openKafkaLog(address(), { topicPrefix })
  const owner = await heir.log.consume({ group: 'g', topic: 'in' })
  const records = await takeFrom(owner, 2)
  await assert.rejects(old.commit(next, [{ topic: 'out', messages: [message('k', 'stale')] }]), isFenced)
  await owner.commit(next, [{ topic: 'out', messages: records.map(({ key, schema, value }) => ({ key, schema, value })) }])
  assert.deepEqual(texts(await takeAll(heir.log, 'out', 2)).sort(), ['1', '2'])
  await Promise.all([asleep.dispose(), heir.dispose()])
})

test('what a transaction wrote that ends in a refusal is never seen, and its offsets hold for nobody', async () => {
  const { log, topicPrefix, dispose } = await openKafkaLog(address())
  await log.ensureTopics([topicSpec('in', 1), topicSpec('out', 1)])
  await log.append('in', [message('a', '1')])
  // Other members of the group that never poll: a generation changes under the first one's feet.
  const one = await log.consume({ group: 'g', topic: 'in' })
  await takeFrom(one, 1)
  const other = await openKafkaLog(address(), { topicPrefix, config: { heartbeatMs: 2_000 } })
  const commits: Promise<void>[] = []
  const members: Consumer[] = []
  for (let i = 0; i < 20; i++) {
    commits.push(one.commit(new Map([[0, 1]]), [{ topic: 'out', messages: [message('k', String(i))] }]))
    if (i % 5 === 0) members.push(await other.log.consume({ group: 'g', topic: 'in' }))
  }
  const results = await Promise.allSettled(commits)
  const stored = results.flatMap((result, i) => (result.status === 'fulfilled' ? [String(i)] : []))
  for (const result of results) if (result.status === 'rejected') assert.ok(isFenced(result.reason), String(result.reason))
  assert.ok(stored.length > 0)
  assert.deepEqual(texts(await takeAll(log, 'out', stored.length)), stored)
  await Promise.all(members.map((member) => member.close()))
  await Promise.all([dispose(), other.dispose()])
})

test('a process with an instance id that stops and starts again keeps its partitions, without a rebalance for the others', async () => {
  const other = await openKafkaLog(address())
  const { topicPrefix } = other
  await other.log.ensureTopics([topicSpec('in', 4)])
  const moves: string[] = []
  const stays = await other.log.consume({
    group: 'g',
    topic: 'in',
    onAssigned: async (partitions) => void moves.push(`+${partitions.join()}`),
    onRevoked: async (partitions) => void moves.push(`-${partitions.join()}`),
  })
  await until(async () => (await stays.poll(1, 20), stays.assignment().length === 4))
  const before = await openKafkaLog(address(), { topicPrefix, config: { instanceId: 'restarts' } })
  const member = await before.log.consume({ group: 'g', topic: 'in' })
  await until(
    async () => (await member.poll(1, 20), await stays.poll(1, 20), member.assignment().length === 2 && stays.assignment().length === 2),
  )
  const had = [...member.assignment()]
  const movesBefore = moves.length
  await before.dispose()
  const after = await openKafkaLog(address(), { topicPrefix, config: { instanceId: 'restarts' } })
  const again = await after.log.consume({ group: 'g', topic: 'in' })
  await until(async () => (await again.poll(1, 20), again.assignment().length === 2))
  assert.deepEqual([...again.assignment()], had)
  assert.equal(moves.length, movesBefore)
  await Promise.all([after.dispose(), other.dispose()])
})

test('lag is measured per group and topic', async () => {
  const { log, metrics, dispose } = await openKafkaLog(address())
  await log.ensureTopics([topicSpec('behind', 2)])
  await log.append(
    'behind',
    Array.from({ length: 40 }, (_, i) => message(`key-${i}`, String(i))),
  )
  const consumer = await log.consume({ group: 'g', topic: 'behind' })
  await until(async () => (await metricValue(metrics, 'event_log_consumer_lag_messages')) === 40)
  const next = new Map<number, number>()
  for (const { partition, offset } of await takeFrom(consumer, 40)) next.set(partition, offset + 1)
  await consumer.commit(next)
  await until(async () => (await metricValue(metrics, 'event_log_consumer_lag_messages')) === 0)
  await consumer.close()
  await dispose()
})

/** Copies records from `in` to `out`, in one commit each batch, until it is over. Answers how many it applied. */
async function apply(log: EventLog, counts: { applied: number; fenced: number }, isOver: () => boolean): Promise<number> {
  const consumer = await log.consume({ group: 'copies', topic: 'in' })
  let applied = 0
  while (!isOver()) {
    const records = await consumer.poll(25, 50)
    const next = new Map<number, number>()
    for (const { partition, offset } of records) next.set(partition, offset + 1)
    if (next.size === 0) continue
    try {
      await consumer.commit(next, [{ topic: 'out', messages: records.map(({ key, schema, value }) => ({ key, schema, value })) }])
      applied += records.length
      counts.applied += records.length
    } catch (error) {
      assert.ok(isFenced(error), String(error))
      counts.fenced++
      const committed = await consumer.committed()
      for (const partition of consumer.assignment()) consumer.seek(partition, committed.get(partition) ?? 0)
    }
  }
  await consumer.close()
  return applied
}

async function takeFrom(consumer: Consumer, count: number): Promise<LogRecord[]> {
  const records: LogRecord[] = []
  await until(async () => {
    records.push(...(await consumer.poll(count - records.length, 100)))
    return records.length >= count
  })
  return records
}

/** Everything in a topic, once there are `count` records; waits a little for more than that. */
async function takeAll(log: EventLog, topic: string, count: number): Promise<LogRecord[]> {
  const follower = await log.consume({ topic })
  const records: LogRecord[] = []
  await until(async () => {
    records.push(...(await follower.poll(10_000, 100)))
    return records.length >= count
  })
  records.push(...(await follower.poll(10_000, 300)))
  await follower.close()
  return records
}

function texts(records: readonly LogRecord[]): string[] {
  return records.map(({ value }) => Buffer.from(value).toString())
}

function isFenced(error: unknown): boolean {
  return error instanceof ConflictError && error.code === 'LOG_FENCED'
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + PATIENCE_MS
  while (!(await isTrue())) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `not within ${PATIENCE_MS} ms: ${isTrue.toString()}`)
    await sleep(systemClock, 10)
  }
}
