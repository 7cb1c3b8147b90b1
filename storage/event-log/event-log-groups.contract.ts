import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConflictError, InvalidInputError, NotFoundError } from '../../kernel/errors.ts'
import { systemClock } from '../../kernel/time.ts'
import type { Consumer, EventLog } from './event-log.ts'
import { makeTopic, PATIENCE_MS, POLL_MS, readAll, take, text, textOf, texts, until } from './event-log-testing.ts'

/** What every engine's consumers do together, and each by itself without a group. */
export function consumerGroupCases(log: () => EventLog, marksTransactions: () => boolean): void {
  outputCases(log, marksTransactions)
  groupCases(log)
  handOverCases(log)
  followerCases(log)
}

function outputCases(log: () => EventLog, marksTransactions: () => boolean): void {
  test('offsets and outputs are committed together', async () => {
    await makeTopic(log(), 'input', 1)
    await makeTopic(log(), 'output', 2)
    await log().append('input', [text('a', '1'), text('b', '2')])
    const consumer = await log().consume({ group: 'together', topic: 'input' })
    await take(consumer, 2)
    await consumer.commit(new Map([[0, 2]]), [{ topic: 'output', messages: [text('a', 'one'), text('b', 'two')] }])
    if (!marksTransactions()) assert.deepEqual(texts(await readAll(log(), 'output')).sort(), ['one', 'two'])
    assert.deepEqual([...(await consumer.committed())], [[0, 2]])
    await consumer.close()
    const reader = await log().consume({ topic: 'output' })
    assert.deepEqual(texts(await take(reader, 2)).sort(), ['one', 'two'])
    assert.deepEqual(await reader.poll(10, 50), [])
    assert.equal(await reader.lag(), 0)
    await reader.close()
  })

  test('outputs come in the order of the commits, and reading goes on behind them', async () => {
    await makeTopic(log(), 'steps', 1)
    await makeTopic(log(), 'results', 1)
    await log().append(
      'steps',
      Array.from({ length: 20 }, (_, i) => text('k', String(i))),
    )
    const consumer = await log().consume({ group: 'stepwise', topic: 'steps' })
    for (let i = 0; i < 20; i++) {
      const [record] = await take(consumer, 1)
      await consumer.commit(new Map([[0, record!.offset + 1]]), [{ topic: 'results', messages: [text('k', textOf(record!.value))] }])
    }
    await log().append('results', [text('k', 'end')])
    const reader = await log().consume({ group: 'results', topic: 'results' })
    const records = await take(reader, 21)
    assert.deepEqual(texts(records), [...Array.from({ length: 20 }, (_, i) => String(i)), 'end'])
    records.forEach((record, i) => assert.ok(i === 0 || record.offset > records[i - 1]!.offset))
    if (!marksTransactions())
      assert.deepEqual(
        records.map(({ offset }) => offset),
        Array.from({ length: 21 }, (_, i) => i),
      )
    const last = records[20]!
    assert.deepEqual(texts(await log().read('results', 0, records[19]!.offset, 10)), ['19', 'end'])
    await reader.commit(new Map([[0, last.offset + 1]]))
    assert.deepEqual(await reader.poll(10, 50), [])
    assert.equal(await reader.lag(), 0)
    await Promise.all([consumer.close(), reader.close()])
  })

  test('outputs for a topic that does not exist are refused with their offsets', async () => {
    await makeTopic(log(), 'nowhere', 1)
    await log().append('nowhere', [text('k', '1')])
    const consumer = await log().consume({ group: 'nowhere', topic: 'nowhere' })
    await take(consumer, 1)
    await assert.rejects(consumer.commit(new Map([[0, 1]]), [{ topic: 'no-such-topic', messages: [text('k', 'x')] }]), NotFoundError)
    assert.deepEqual([...(await consumer.committed())], [])
    await consumer.close()
  })
}

function groupCases(log: () => EventLog): void {
  test('members of a group share partitions; who leaves hands them over', async () => {
    await makeTopic(log(), 'shared', 4)
    const one = await log().consume({ group: 'shared', topic: 'shared' })
    const two = await log().consume({ group: 'shared', topic: 'shared' })
    await until(() => one.assignment().length === 2 && two.assignment().length === 2, one, two)
    assert.deepEqual([...one.assignment(), ...two.assignment()].sort(), [0, 1, 2, 3])
    await two.close()
    await until(() => one.assignment().length === 4, one)
    const messages = Array.from({ length: 100 }, (_, i) => text(`key-${i}`, String(i)))
    await log().append('shared', messages)
    assert.equal(new Set(texts(await take(one, 100))).size, 100)
    await one.close()
  })

  test('each message reaches one member of a group, and every group', async () => {
    await makeTopic(log(), 'fan-out', 4)
    const members = [await log().consume({ group: 'a', topic: 'fan-out' }), await log().consume({ group: 'a', topic: 'fan-out' })]
    await until(() => members.every((member) => member.assignment().length === 2), ...members)
    const other = await log().consume({ group: 'b', topic: 'fan-out' })
    await log().append(
      'fan-out',
      Array.from({ length: 200 }, (_, i) => text(`key-${i}`, String(i))),
    )
    const seen: string[] = []
    const deadlineMs = systemClock.monotonicMs() + PATIENCE_MS
    while (seen.length < 200 && systemClock.monotonicMs() < deadlineMs) {
      for (const records of await Promise.all(members.map((member) => member.poll(50, POLL_MS)))) seen.push(...texts(records))
    }
    assert.equal(seen.length, 200)
    assert.equal(new Set(seen).size, 200)
    assert.equal(new Set(texts(await take(other, 200))).size, 200)
    await Promise.all([...members, other].map((member) => member.close()))
  })
}

function handOverCases(log: () => EventLog): void {
  test('who gets partitions may prepare and seek before their first record', async () => {
    await makeTopic(log(), 'prepared', 2)
    const [appended] = await log().append(
      'prepared',
      Array.from({ length: 10 }, (_, i) => text('k', String(i))),
    )
    const { partition } = appended!
    const prepared: number[] = []
    const onAssigned = async (partitions: readonly number[], consumer: Consumer): Promise<void> => {
      await new Promise((resolve) => setImmediate(resolve))
      prepared.push(...partitions)
      if (partitions.includes(partition)) consumer.seek(partition, 7)
    }
    const consumer = await log().consume({ group: 'prepared', topic: 'prepared', onAssigned })
    assert.deepEqual(texts(await take(consumer, 3)), ['7', '8', '9'])
    assert.deepEqual(prepared.sort(), [0, 1])
    await consumer.close()
  })

  test('who gives partitions away may commit first, and the next owner goes on there', async () => {
    await makeTopic(log(), 'handed', 4)
    await log().append(
      'handed',
      Array.from({ length: 100 }, (_, i) => text(`key-${i}`, String(i))),
    )
    const next = new Map<number, number>()
    const revoked: number[] = []
    const one = await log().consume({
      group: 'handed',
      topic: 'handed',
      onRevoked: async (partitions, consumer) => {
        revoked.push(...partitions)
        await consumer.commit(new Map(partitions.map((partition) => [partition, next.get(partition)!])))
      },
    })
    const seen = await take(one, 100)
    for (const { partition, offset } of seen) next.set(partition, offset + 1)
    const two = await log().consume({ group: 'handed', topic: 'handed' })
    await until(() => one.assignment().length === 2 && two.assignment().length === 2, one, two)
    assert.deepEqual(await two.poll(10, 50), [])
    assert.deepEqual(revoked.sort(), [...two.assignment()])
    assert.deepEqual(await two.committed(), new Map([...two.assignment()].map((partition) => [partition, next.get(partition)!])))
    await Promise.all([one.close(), two.close()])
  })

  test('a commit that comes too late is fenced, with its outputs', async () => {
    await makeTopic(log(), 'late', 2)
    await makeTopic(log(), 'late-output', 1)
    const one = await log().consume({ group: 'late', topic: 'late' })
    await until(() => one.assignment().length === 2, one)
    const two = await log().consume({ group: 'late', topic: 'late' })
    await until(() => one.assignment().length === 1 && two.assignment().length === 1, one, two)
    const lost = two.assignment()[0]!
    const outputs = [{ topic: 'late-output', messages: [text('k', 'stale')] }]
    await assert.rejects(one.commit(new Map([[lost, 0]]), outputs), isFenced)
    await assert.rejects(one.commit(new Map([[lost, 0]])), isFenced)
    await one.close()
    await assert.rejects(one.commit(new Map([[lost, 0]])), isFenced)
    await two.close()
    assert.deepEqual(await readAll(log(), 'late-output'), [])
  })
}

function followerCases(log: () => EventLog): void {
  test('without a group a consumer follows everything and commits nothing', async () => {
    await makeTopic(log(), 'followed', 3)
    await log().append(
      'followed',
      Array.from({ length: 30 }, (_, i) => text(`key-${i}`, `before ${i}`)),
    )
    const early = await log().consume({ topic: 'followed' })
    const late = await log().consume({ topic: 'followed', from: 'latest' })
    assert.equal((await take(early, 30)).length, 30)
    await log().append(
      'followed',
      Array.from({ length: 30 }, (_, i) => text(`key-${i}`, `after ${i}`)),
    )
    for (const follower of [early, late]) {
      const records = await take(follower, 30)
      assert.ok(texts(records).every((value) => value.startsWith('after')))
      assert.deepEqual([...follower.assignment()], [0, 1, 2])
      assert.deepEqual(await follower.committed(), new Map())
      await assert.rejects(follower.commit(new Map([[0, 1]])), InvalidInputError)
      assert.equal(await follower.lag(), 0)
    }
    await Promise.all([early.close(), late.close()])
  })

  test('a follower reads partitions that its topic gets later from their beginning', async () => {
    await makeTopic(log(), 'widened', 1)
    const follower = await log().consume({ topic: 'widened', from: 'latest' })
    await makeTopic(log(), 'widened', 4)
    await log().append(
      'widened',
      Array.from({ length: 40 }, (_, i) => text(`key-${i}`, String(i))),
    )
    assert.equal(new Set(texts(await take(follower, 40))).size, 40)
    await follower.close()
  })
}

function isFenced(error: unknown): boolean {
  return error instanceof ConflictError && error.code === 'LOG_FENCED'
}
