import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { KafkaBrokers } from '../../deploy/servers/kafka-brokers.ts'
import { ConflictError } from '../../kernel/errors.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import type { EventLog, LogRecord } from './event-log.ts'
import { eventLogContract } from './event-log.contract.ts'
import { texts } from './event-log-testing.ts'
import type { KafkaConfig } from './kafka-config.ts'
import { drain, openKafkaLog } from './kafka-testing.ts'
import { message, topicSpec } from './temporary-log.ts'

/** Leaders are elected anew when the controller misses a broker, after its session of 9 s; coordinators read their topics again then. */
const PATIENCE_MS = 120_000
const WRITERS = 12

describe('a cluster of three brokers, each partition on all of them', () => {
  let folder: string
  let brokers: KafkaBrokers
  const config = (): Partial<KafkaConfig> => ({
    ...{ brokers: brokers.addresses, replicationFactor: 3, minInsyncReplicas: 2 },
    ...{ requestTimeoutMs: 3_000, appendTimeoutMs: PATIENCE_MS, sessionTimeoutMs: 20_000 },
  })
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleetpulse-brokers-'))
    brokers = new KafkaBrokers({ folder, count: 3 })
    await brokers.start()
  })
  after(async () => {
    await brokers.stop()
    await rm(folder, { recursive: true, force: true })
  })

  test('kill -9 of each of them, one after the other: acknowledged once and in order, and copied once in transactions', async (t) => {
    const { log, dispose } = await openKafkaLog(brokers.addresses[0] ?? '', { config: config() })
    const acknowledged: string[][] = Array.from({ length: WRITERS }, () => [])
    const under = { isWriting: true, isCopying: true }
    t.after(() => {
      under.isWriting = under.isCopying = false
      return dispose()
    })
    await log.ensureTopics([topicSpec('in', 6), topicSpec('out', 6)])
    const writers = acknowledged.map(async (list, key) => {
      for (let i = 0; under.isWriting; i++) {
        await log.append('in', [message(`key-${key}`, `${key}.${i}`)])
        list.push(`${key}.${i}`)
        await sleep(systemClock, 2)
      }
    })
    const copying = copy(log, () => !under.isCopying)
    for (const server of brokers.servers) {
      await progress(acknowledged)
      await server.kill()
      // With one of three away there are two copies of everything: all goes on without it.
      await progress(acknowledged)
      await server.start()
    }
    await progress(acknowledged)
    under.isWriting = false
    await Promise.all(writers)
    const written = await drain(log, 'in', acknowledged.flat().length, PATIENCE_MS)
    for (const [key, list] of acknowledged.entries()) assert.deepEqual(ofKey(written, key), list, `written, key ${key}`)
    const copied = await drain(log, 'out', acknowledged.flat().length, PATIENCE_MS)
    under.isCopying = false
    t.diagnostic(`${acknowledged.flat().length} appended; the copier was fenced ${await copying} times`)
    for (const [key, list] of acknowledged.entries()) assert.deepEqual(ofKey(copied, key), list, `copied, key ${key}`)
  })

  test('what a moved leader was asked for is asked of the new one', async (t) => {
    const { log, dispose } = await openKafkaLog(brokers.addresses[1] ?? '', { config: config() })
    t.after(dispose)
    await log.ensureTopics([topicSpec('moved', 3)])
    const sent: string[] = []
    for (let round = 0; round < 3; round++) {
      const server = brokers.servers[round]
      assert.ok(server !== undefined)
      // Told to end, it hands its partitions over first.
      await server.stop()
      for (let i = 0; i < 30; i++) {
        sent.push(`${round}.${i}`)
        await log.append('moved', [message('k', `${round}.${i}`)])
      }
      await server.start()
    }
    assert.deepEqual(texts(await drain(log, 'moved', sent.length, PATIENCE_MS)), sent)
  })

  eventLogContract('a cluster of three brokers', () =>
    openKafkaLog(brokers.addresses[2] ?? '', { config: { brokers: brokers.addresses, replicationFactor: 3, minInsyncReplicas: 2 } }),
  )
})

/** Copies records from `in` to `out`, in one commit each batch, until it is over. Answers how often it was fenced. */
async function copy(log: EventLog, isOver: () => boolean): Promise<number> {
  const consumer = await log.consume({ group: 'copies', topic: 'in' })
  let fenced = 0
  while (!isOver()) {
    const records = await consumer.poll(200, 50).catch(() => [])
    const next = new Map<number, number>()
    for (const { partition, offset } of records) next.set(partition, offset + 1)
    const outputs = [{ topic: 'out', messages: records.map(({ key, schema, value }) => ({ key, schema, value })) }]
    while (next.size > 0 && !isOver()) {
      try {
        await consumer.commit(next, outputs)
        break
      } catch (error) {
        if (isFenced(error)) {
          fenced++
          break
        }
        // Not settled: the same again, which is made once.
        await sleep(systemClock, 100)
      }
    }
  }
  await consumer.close()
  return fenced
}

async function progress(lists: readonly string[][]): Promise<void> {
  const before = lists.map(({ length }) => length)
  await until(() => lists.every(({ length }, i) => length >= (before[i] ?? 0) + 50))
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + PATIENCE_MS
  while (!(await condition())) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `${PATIENCE_MS} ms in vain`)
    await sleep(systemClock, 20)
  }
}

function ofKey(records: readonly LogRecord[], key: number): string[] {
  return texts(records.filter((record) => record.key === `key-${key}`))
}

function isFenced(error: unknown): boolean {
  return error instanceof ConflictError && error.code === 'LOG_FENCED'
}
