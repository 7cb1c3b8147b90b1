import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '../../kernel/time.ts'
import type { LogRecord } from './event-log.ts'
import type { LmdbEventLog } from './lmdb-event-log.ts'
import { message, openTemporaryLog, topicSpec } from './temporary-log.ts'

/** One thing that one of two logs over the same environment does next. */
const steps = fc.array(
  fc.record({
    log: fc.nat({ max: 1 }),
    what: fc.constantFrom('append', 'append', 'append', 'commit', 'yield', 'wait'),
    keys: fc.array(fc.nat({ max: 6 }), { minLength: 1, maxLength: 5 }),
  }),
  { minLength: 5, maxLength: 60 },
)

test('two logs over one environment: offsets without gaps, keys in order, commits whole', async (t) => {
  const first = await openTemporaryLog()
  const second = await openTemporaryLog({ directory: first.directory })
  t.after(async () => {
    await second.close()
    await first.dispose()
  })
  let round = 0
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      const topic = `round-${round++}`
      await first.log.ensureTopics([topicSpec(topic, 3), topicSpec(`${topic}-in`, 1), topicSpec(`${topic}-out`, 2)])
      const committed = await perform([first.log, second.log], topic, list)
      const appended = list.filter(({ what }) => what === 'append').reduce((sum, { keys }) => sum + keys.length, 0)
      await untilKnown(second.log, topic, appended)
      await untilKnown(
        second.log,
        `${topic}-out`,
        list.filter(({ what }) => what === 'commit').reduce((sum, { keys }) => sum + keys.length, 0),
      )
      await assertWhole(second.log, topic, committed)
    }),
    { numRuns: 40, endOnFailure: true },
  )
})

async function perform(
  logs: readonly LmdbEventLog[],
  topic: string,
  list: readonly { log: number; what: string; keys: readonly number[] }[],
): Promise<number[]> {
  const consumers = await Promise.all(logs.map((log, i) => log.consume({ group: `g${i}`, topic: `${topic}-in` })))
  const pending: Promise<unknown>[] = []
  const counters = new Map<string, number>()
  const commits = [0, 0]
  for (const { log, what, keys } of list) {
    if (what === 'append') {
      const messages = keys.map((key) => {
        const name = `${log}/${key}`
        const count = counters.get(name) ?? 0
        counters.set(name, count + 1)
        return message(`key-${key}`, `${name}/${count}`)
      })
      pending.push(logs[log]!.append(topic, messages))
    } else if (what === 'commit') {
      const number = ++commits[log]!
      const outputs = keys.map((key) => message(`key-${key}`, `${log}/${number}`))
      pending.push(consumers[log]!.commit(new Map([[0, number]]), [{ topic: `${topic}-out`, messages: outputs }]))
    } else if (what === 'wait') {
      await pending[pending.length - 1]
    } else {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await Promise.all(pending)
  const offsets = await Promise.all(consumers.map(async (consumer) => (await consumer.committed()).get(0) ?? 0))
  assert.deepEqual(offsets, commits)
  await Promise.all(consumers.map((consumer) => consumer.close()))
  const expected = new Map<string, number>()
  for (const { log, what, keys } of list)
    if (what === 'append') for (const key of keys) expected.set(`${log}/${key}`, (expected.get(`${log}/${key}`) ?? 0) + 1)
  assert.deepEqual(counters, expected)
  return commits
}

async function assertWhole(log: LmdbEventLog, topic: string, commits: readonly number[]): Promise<void> {
  const lastOf = new Map<string, number>()
  const partitionOf = new Map<string, number>()
  for (const record of await everything(log, topic)) {
    const [writer, key, count] = textOf(record).split('/')
    const name = `${writer}/${key}`
    assert.equal(Number(count), (lastOf.get(name) ?? -1) + 1, `order of ${name}`)
    lastOf.set(name, Number(count))
    assert.equal(record.partition, partitionOf.get(record.key) ?? record.partition)
    partitionOf.set(record.key, record.partition)
  }
  const outputs = new Set((await everything(log, `${topic}-out`)).map(textOf))
  assert.equal(outputs.size, commits[0]! + commits[1]!)
}

/** All records; asserts that offsets count up by one. */
async function everything(log: LmdbEventLog, topic: string): Promise<LogRecord[]> {
  const records: LogRecord[] = []
  for (const partition of (await log.bounds(topic)).keys()) {
    const ofPartition = await log.read(topic, partition, 0, 100_000)
    ofPartition.forEach((record, i) => assert.equal(record.offset, i))
    records.push(...ofPartition)
  }
  return records
}

/** What one log made durable, the other knows when its message has come. */
async function untilKnown(log: LmdbEventLog, topic: string, messages: number): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + 60_000
  for (;;) {
    const known = [...(await log.bounds(topic)).values()].reduce((sum, { next }) => sum + next, 0)
    if (known === messages) return
    assert.ok(known < messages && systemClock.monotonicMs() < deadlineMs, `${topic} has ${known} messages instead of ${messages}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function textOf({ value }: LogRecord): string {
  return Buffer.from(value).toString()
}
