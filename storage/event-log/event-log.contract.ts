import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { InvalidInputError, NotFoundError } from '../../kernel/errors.ts'
import { systemClock } from '../../kernel/time.ts'
import type { EventLog, LogMessage } from './event-log.ts'
import { consumerGroupCases } from './event-log-groups.contract.ts'
import { byPartition, makeTopic, PATIENCE_MS, readAll, take, text, textOf, texts, until } from './event-log-testing.ts'

export interface EventLogUnderTest {
  /** Started, without topics or groups of the names used here. */
  log: EventLog
  dispose: () => Promise<void>
  /** What commits outputs leaves marks in the log, so that offsets have gaps, and outputs may be seen a moment after their commit. */
  marksTransactions?: boolean
}

/** What every engine of the event-log port does. `open` is called once; every case has topics of its own. */
export function eventLogContract(engine: string, open: () => Promise<EventLogUnderTest>): void {
  describe(`event log contract: ${engine}`, () => {
    let opened: EventLogUnderTest
    before(async () => {
      opened = await open()
    })
    after(() => opened.dispose())
    const log = (): EventLog => opened.log

    appendCases(log)
    consumeCases(log)
    consumerGroupCases(log, () => opened.marksTransactions ?? false)
    replayCases(log)
    topicCases(log)
  })
}

function appendCases(log: () => EventLog): void {
  test('what is appended is read back as it was', async () => {
    await makeTopic(log(), 'as-it-was', 3)
    const messages: LogMessage[] = [
      { key: 'default/plain', schema: 'reading/1', value: Buffer.from('{"a":1}') },
      {
        key: 'mandant-ü/Gerät 7 ☂',
        schema: 'reading/2',
        value: Buffer.from([0, 255, 1, 254]),
        headers: { correlationid: 'c-1', note: 'grüße ☂' },
      },
      { key: 'default/empty', schema: 'empty/1', value: new Uint8Array(0) },
      { key: 'default/large', schema: 'large/1', value: Buffer.alloc(300_000, 'x'), headers: { one: '' } },
    ]
    const startMs = systemClock.nowMs()
    await log().append('as-it-was', messages)
    const consumer = await log().consume({ group: 'readers', topic: 'as-it-was' })
    const records = await take(consumer, messages.length)
    await consumer.close()
    for (const message of messages) {
      const record = records.find(({ key }) => key === message.key)
      assert.ok(record !== undefined, `${message.key} was not read`)
      assert.equal(record.topic, 'as-it-was')
      assert.equal(record.schema, message.schema)
      assert.deepEqual(Buffer.from(record.value), Buffer.from(message.value))
      assert.deepEqual({ ...record.headers }, message.headers ?? {})
      assert.ok(
        record.appendedAt >= startMs - 5_000 && record.appendedAt <= systemClock.nowMs() + 5_000,
        `appendedAt is ${record.appendedAt}`,
      )
    }
  })

  test('offsets count up without a gap, and append says where its messages are', async () => {
    await makeTopic(log(), 'places', 4)
    const calls = Array.from({ length: 60 }, (_, call) =>
      Array.from({ length: 1 + (call % 7) }, (_, i) => text(`device-${(call + i) % 11}`, `${call}.${i}`)),
    )
    const answers = await Promise.all(calls.map((call) => log().append('places', call)))
    const records = await readAll(log(), 'places')
    for (const ofPartition of byPartition(records).values()) ofPartition.forEach((record, i) => assert.equal(record.offset, i))
    answers.forEach((appended, call) => {
      const placed = appended.flatMap(({ partition, baseOffset, count }) =>
        Array.from({ length: count }, (_, i) => `${partition}/${baseOffset + i}`),
      )
      const expected = records
        .filter(({ value }) => textOf(value).startsWith(`${call}.`))
        .map(({ partition, offset }) => `${partition}/${offset}`)
      assert.deepEqual(placed.sort(), expected.sort(), `call ${call}`)
    })
  })

  test('messages of one key share a partition and keep their order', async () => {
    await makeTopic(log(), 'order', 5)
    const appends: Promise<unknown>[] = []
    for (let i = 0; i < 400; i++) appends.push(log().append('order', [text(`key-${i % 13}`, String(i))]))
    await Promise.all(appends)
    const records = await readAll(log(), 'order')
    assert.equal(records.length, 400)
    for (let key = 0; key < 13; key++) {
      const ofKey = records.filter((record) => record.key === `key-${key}`)
      assert.equal(new Set(ofKey.map(({ partition }) => partition)).size, 1)
      const numbers = ofKey.map(({ value }) => Number(textOf(value)))
      assert.deepEqual(
        numbers,
        [...numbers].sort((a, b) => a - b),
      )
    }
  })

  test('appending nothing is done at once', async () => {
    await makeTopic(log(), 'nothing', 1)
    assert.deepEqual(await log().append('nothing', []), [])
  })
}

function consumeCases(log: () => EventLog): void {
  test('a poll gives at most what was asked for, and the rest later', async () => {
    await makeTopic(log(), 'slices', 1)
    await log().append(
      'slices',
      Array.from({ length: 1_000 }, (_, i) => text('one', String(i))),
    )
    const consumer = await log().consume({ group: 'slices', topic: 'slices' })
    const seen: number[] = []
    while (seen.length < 1_000) {
      const records = await consumer.poll(7, PATIENCE_MS)
      assert.ok(records.length >= 1 && records.length <= 7, `${records.length} records`)
      for (const { value } of records) seen.push(Number(textOf(value)))
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 1_000 }, (_, i) => i),
    )
    await consumer.close()
  })

  test('a waiting poll gets what is appended meanwhile, and an idle one ends empty', async () => {
    await makeTopic(log(), 'waiting', 2)
    const consumer = await log().consume({ group: 'waiting', topic: 'waiting' })
    await until(() => consumer.assignment().length === 2, consumer)
    assert.deepEqual(await consumer.poll(10, 50), [])
    const poll = take(consumer, 1)
    await log().append('waiting', [text('a', 'hello')])
    assert.equal(textOf((await poll)[0]!.value), 'hello')
    await consumer.close()
  })

  test('close ends a waiting poll', async () => {
    await makeTopic(log(), 'closing', 1)
    const consumer = await log().consume({ group: 'closing', topic: 'closing' })
    const poll = consumer.poll(10, PATIENCE_MS)
    await consumer.close()
    assert.deepEqual(await poll, [])
  })

  test('a group goes on where it committed, and reads again what it did not commit', async () => {
    await makeTopic(log(), 'resume', 1)
    await log().append(
      'resume',
      Array.from({ length: 10 }, (_, i) => text('k', String(i))),
    )
    const first = await log().consume({ group: 'resume', topic: 'resume' })
    assert.equal((await take(first, 10)).length, 10)
    await first.commit(new Map([[0, 4]]))
    assert.deepEqual([...(await first.committed())], [[0, 4]])
    assert.equal(await first.lag(), 6)
    await first.close()
    const second = await log().consume({ group: 'resume', topic: 'resume', from: 'latest' })
    assert.deepEqual(texts(await take(second, 6)), ['4', '5', '6', '7', '8', '9'])
    await second.close()
  })

  test('seek goes back and forth', async () => {
    await makeTopic(log(), 'seek', 1)
    await log().append(
      'seek',
      Array.from({ length: 20 }, (_, i) => text('k', String(i))),
    )
    const consumer = await log().consume({ group: 'seek', topic: 'seek' })
    await take(consumer, 20)
    consumer.seek(0, 5)
    assert.equal((await take(consumer, 15))[0]!.offset, 5)
    consumer.seek(0, 18)
    assert.deepEqual(texts(await take(consumer, 2)), ['18', '19'])
    await consumer.close()
  })
}

function replayCases(log: () => EventLog): void {
  test('new groups begin at the earliest, the latest or at a time', async () => {
    await makeTopic(log(), 'starts', 1)
    await log().append('starts', [text('k', 'before')])
    const boundaryMs = (await readAll(log(), 'starts'))[0]!.appendedAt + 1
    while (systemClock.nowMs() <= boundaryMs) await new Promise((resolve) => setImmediate(resolve))
    const latest = await log().consume({ group: 'latest', topic: 'starts', from: 'latest' })
    await until(() => latest.assignment().length === 1, latest)
    assert.deepEqual(await latest.poll(10, 50), [])
    await log().append('starts', [text('k', 'after')])
    assert.deepEqual(texts(await take(latest, 1)), ['after'])
    const timed = await log().consume({ group: 'timed', topic: 'starts', from: { timestampMs: boundaryMs } })
    assert.deepEqual(texts(await take(timed, 1)), ['after'])
    const earliest = await log().consume({ group: 'earliest', topic: 'starts', from: 'earliest' })
    assert.deepEqual(texts(await take(earliest, 2)), ['before', 'after'])
    assert.deepEqual([...(await log().offsetsAt('starts', boundaryMs))], [[0, 1]])
    assert.deepEqual([...(await log().offsetsAt('starts', systemClock.nowMs() + 3_600_000))], [[0, 2]])
    await Promise.all([latest, timed, earliest].map((consumer) => consumer.close()))
  })

  test('bounds and reading from an offset', async () => {
    await makeTopic(log(), 'direct', 2)
    assert.deepEqual(
      [...(await log().bounds('direct'))].sort(([a], [b]) => a - b),
      [
        [0, { first: 0, next: 0 }],
        [1, { first: 0, next: 0 }],
      ],
    )
    const [appended] = await log().append(
      'direct',
      Array.from({ length: 50 }, (_, i) => text('same', String(i))),
    )
    const { partition } = appended!
    assert.deepEqual((await log().bounds('direct')).get(partition), { first: 0, next: 50 })
    assert.deepEqual(texts(await log().read('direct', partition, 40, 5)), ['40', '41', '42', '43', '44'])
    assert.deepEqual(texts(await log().read('direct', partition, 48, 5)), ['48', '49'])
    assert.deepEqual(await log().read('direct', partition, 50, 5), [])
  })

  test('lag counts what was not committed', async () => {
    await makeTopic(log(), 'lag', 2)
    await log().append(
      'lag',
      Array.from({ length: 30 }, (_, i) => text(`key-${i}`, String(i))),
    )
    const consumer = await log().consume({ group: 'lag', topic: 'lag' })
    const records = await take(consumer, 30)
    assert.equal(await consumer.lag(), 30)
    const next = new Map([...byPartition(records)].map(([partition, list]) => [partition, list[list.length - 1]!.offset + 1]))
    await consumer.commit(next)
    assert.equal(await consumer.lag(), 0)
    await consumer.close()
  })
}

function topicCases(log: () => EventLog): void {
  test('topics are made once, grow and never shrink', async () => {
    await makeTopic(log(), 'grows', 2)
    await makeTopic(log(), 'grows', 2)
    await log().append('grows', [text('k', 'kept')])
    await makeTopic(log(), 'grows', 4)
    assert.equal((await log().bounds('grows')).size, 4)
    assert.deepEqual(texts(await readAll(log(), 'grows')), ['kept'])
    await assert.rejects(makeTopic(log(), 'grows', 3), InvalidInputError)
  })

  test('a topic that does not exist is named in the error', async () => {
    await assert.rejects(log().append('no-such-topic', [text('k', 'v')]), NotFoundError)
    await assert.rejects(log().consume({ group: 'g', topic: 'no-such-topic' }), NotFoundError)
    await assert.rejects(log().bounds('no-such-topic'), NotFoundError)
  })

  test('retention keeps what is young and small enough', async () => {
    await makeTopic(log(), 'kept', 1)
    await log().append('kept', [text('k', 'v')])
    await log().retain()
    assert.deepEqual(texts(await readAll(log(), 'kept')), ['v'])
  })
}
