import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { KafkaServer } from '../../deploy/servers/kafka-server.ts'
import { freePort } from '../../deploy/servers/server-process.ts'
import { EnvironmentError } from '../../kernel/errors.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import type { Consumer } from './event-log.ts'
import { texts } from './event-log-testing.ts'
import { DeafProxy, drain, openKafkaLog } from './kafka-testing.ts'
import { message, topicSpec } from './temporary-log.ts'

/** What a started Kafka needs to be there again, and more. */
const PATIENCE_MS = 60_000

describe('Kafka goes away and comes back', () => {
  let folder: string
  let kafka: KafkaServer
  let proxy: DeafProxy
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleetpulse-kafka-'))
    const port = await freePort()
    proxy = new DeafProxy(port)
    kafka = new KafkaServer({ folder, secure: { port, protocol: 'PLAINTEXT', advertisedPort: await proxy.start() } })
    await kafka.start()
  })
  after(async () => {
    await proxy.stop()
    await kafka.stop()
    await rm(folder, { recursive: true, force: true })
  })

  test('what was acknowledged around kill -9 is there once, in order per key', async (t) => {
    const { log, dispose } = await openKafkaLog(kafka.address, { config: { appendTimeoutMs: PATIENCE_MS, requestTimeoutMs: 2_000 } })
    await log.ensureTopics([topicSpec('killed', 3)])
    const acknowledged: string[][] = Array.from({ length: 8 }, () => [])
    const writing = { isOn: true }
    t.after(() => {
      writing.isOn = false
      return dispose()
    })
    const writers = acknowledged.map(async (list, key) => {
      for (let i = 0; writing.isOn; i++) {
        await log.append('killed', [message(`key-${key}`, `${key}.${i}`)])
        list.push(`${key}.${i}`)
        await sleep(systemClock, 1)
      }
    })
    await until(() => acknowledged.every(({ length }) => length >= 50))
    await kafka.kill()
    await until(() => log.failing !== null)
    const before = acknowledged.map(({ length }) => length)
    await kafka.start()
    await until(() => acknowledged.every(({ length }, key) => length >= before[key]! + 50))
    writing.isOn = false
    await Promise.all(writers)
    await until(() => log.failing === null)
    const records = await drain(log, 'killed', acknowledged.flat().length, PATIENCE_MS)
    acknowledged.forEach((list, key) => {
      assert.deepEqual(texts(records.filter((record) => record.key === `key-${key}`)), list, `key ${key}`)
    })
  })

  test('what was stored though its acknowledgement was lost is not stored again', async (t) => {
    const { log, dispose } = await openKafkaLog(proxy.address, { config: { requestTimeoutMs: 500, appendTimeoutMs: PATIENCE_MS } })
    t.after(dispose)
    await log.ensureTopics([topicSpec('repeated', 1)])
    await log.append('repeated', [message('k', '1')])
    proxy.isDeaf = true
    const appending = log.append('repeated', [message('k', '2')])
    await sleep(systemClock, 1_800)
    proxy.isDeaf = false
    await appending
    await log.append('repeated', [message('k', '3')])
    assert.deepEqual(texts(await drain(log, 'repeated', 3, PATIENCE_MS)), ['1', '2', '3'])
  })

  test('an append that was given up, though stored, does not swallow the next one', async (t) => {
    const { log, dispose } = await openKafkaLog(proxy.address, { config: { requestTimeoutMs: 500, appendTimeoutMs: 1_500 } })
    t.after(dispose)
    await log.ensureTopics([topicSpec('given-up', 1)])
    await log.append('given-up', [message('k', '1')])
    proxy.isDeaf = true
    await assert.rejects(log.append('given-up', [message('k', '2')]), (error) => error instanceof EnvironmentError && error.retryable)
    proxy.isDeaf = false
    await until(async () => {
      try {
        await log.append('given-up', [message('k', '3')])
        return true
      } catch (error) {
        assert.equal((error as EnvironmentError).code, 'LOG_UNAVAILABLE')
        return false
      }
    })
    await log.append('given-up', [message('k', '4')])
    const stored = texts(await drain(log, 'given-up', 4, PATIENCE_MS))
    // What was rejected may be there: nobody was told that it is not.
    assert.deepEqual(stored.filter((value) => value !== '2').slice(-2), ['3', '4'])
    assert.equal(stored.filter((value) => value === '4').length, 1)
  })

  test('a commit whose answer was lost is neither lost nor made twice', async (t) => {
    const { log, dispose } = await openKafkaLog(proxy.address, { config: { requestTimeoutMs: 500, sessionTimeoutMs: 30_000 } })
    await log.ensureTopics([topicSpec('commit-in', 1), topicSpec('commit-out', 1)])
    await log.append(
      'commit-in',
      Array.from({ length: 30 }, (_, i) => message('k', String(i))),
    )
    const consumer = await log.consume({ group: 'g', topic: 'commit-in' })
    let isOver = false
    t.after(() => {
      isOver = true
      return dispose()
    })
    const blinking = (async () => {
      while (!isOver) {
        await sleep(systemClock, 100)
        proxy.isDeaf = true
        await sleep(systemClock, 150)
        proxy.cut()
        proxy.isDeaf = false
      }
    })()
    let done = 0
    await until(async () => {
      const [record] = await consumer.poll(1, 100)
      if (record === undefined) return done === 30
      const outputs = [{ topic: 'commit-out', messages: [message('k', Buffer.from(record.value).toString())] }]
      await until(async () => {
        try {
          await consumer.commit(new Map([[0, record.offset + 1]]), outputs)
          return true
        } catch (error) {
          assert.equal((error as EnvironmentError).code, 'LOG_UNAVAILABLE', String(error))
          return false
        }
      })
      done++
      return false
    })
    isOver = true
    await blinking
    assert.deepEqual(
      texts(await drain(log, 'commit-out', 30, PATIENCE_MS)),
      Array.from({ length: 30 }, (_, i) => String(i)),
    )
    await consumer.close()
  })

  test('while Kafka is away appends are refused within their bound, and memory stays within its own', async (t) => {
    const config = {
      appendTimeoutMs: 1_500,
      requestTimeoutMs: 1_000,
      pendingBytesMax: 2_097_152,
      messageBytesMax: 1_048_576,
      startTimeoutMs: 0,
    }
    const { log, dispose } = await openKafkaLog(kafka.address, { config })
    t.after(dispose)
    await log.ensureTopics([topicSpec('away', 1)])
    await log.append('away', [message('k', 'before')])
    assert.equal(log.failing, null)
    await kafka.kill()
    const startedMs = systemClock.monotonicMs()
    const value = 'x'.repeat(300_000)
    const results = await Promise.allSettled(Array.from({ length: 12 }, () => log.append('away', [message('k', value)])))
    for (const result of results) {
      assert.ok(result.status === 'rejected' && result.reason instanceof EnvironmentError, JSON.stringify(result))
      assert.equal(result.reason.code, 'LOG_UNAVAILABLE')
      assert.equal(result.reason.retryable, true)
    }
    assert.ok(results.filter((result) => result.status === 'rejected' && String(result.reason).includes('pendingBytesMax')).length >= 5)
    const tookMs = systemClock.monotonicMs() - startedMs
    assert.ok(tookMs >= 1_000 && tookMs < 30_000, `${tookMs} ms`)
    assert.match(log.failing ?? '', /Kafka at 127\.0\.0\.1/)
    await kafka.start()
    await until(async () => {
      try {
        await log.append('away', [message('k', 'after')])
        return true
      } catch (error) {
        assert.equal((error as EnvironmentError).code, 'LOG_UNAVAILABLE')
        return false
      }
    })
    await until(() => log.failing === null)
    const stored = texts(await drain(log, 'away', 2, PATIENCE_MS))
    assert.equal(stored[0], 'before')
    assert.ok(stored.includes('after'))
  })

  test('a group works on through a restart of Kafka without losing its partitions', async (t) => {
    // A broker that was killed is kept out by its controller for its own session of 9 s; the members' must be longer.
    const { log, dispose } = await openKafkaLog(kafka.address, { config: { requestTimeoutMs: 2_000, sessionTimeoutMs: 30_000 } })
    t.after(dispose)
    await log.ensureTopics([topicSpec('in', 2), topicSpec('out', 1)])
    const lost: number[] = []
    const consumer = await log.consume({ group: 'g', topic: 'in', onLost: (partitions) => lost.push(...partitions) })
    await log.append('in', [message('a', '1'), message('b', '2')])
    await commitEach(consumer, 2)
    await kafka.kill()
    const polling = consumer.poll(10, 1_000)
    await until(() => log.failing !== null)
    assert.deepEqual(await polling, [])
    const starting = kafka.start()
    const appending = log.append('in', [message('a', '3'), message('b', '4')])
    await starting
    await appending
    await commitEach(consumer, 2)
    await until(() => log.failing === null)
    assert.deepEqual(lost, [])
    assert.deepEqual(texts(await drain(log, 'out', 4, PATIENCE_MS)).sort(), ['1', '2', '3', '4'])
    await consumer.close()
  })
})

/** Polls `count` records and answers each with an output, in one commit each. */
async function commitEach(consumer: Consumer, count: number): Promise<void> {
  for (let done = 0; done < count;) {
    for (const { partition, offset, key, value } of await consumer.poll(1, 1_000)) {
      await consumer.commit(new Map([[partition, offset + 1]]), [{ topic: 'out', messages: [{ key, schema: 'text/1', value }] }])
      done++
    }
  }
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + PATIENCE_MS
  while (!(await isTrue())) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `not within ${PATIENCE_MS} ms: ${isTrue.toString()}`)
    await sleep(systemClock, 20)
  }
}
