import assert from 'node:assert/strict'
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../kernel/time.ts'
import type { LmdbEventLog } from './lmdb-event-log.ts'
import { message, openTemporaryLog } from './temporary-log.ts'

/** What both threads of two-threads.test.ts do at once: append to the shared topic, and read back what both appended. */
export interface ThreadTask {
  directory: string
  name: string
  messages: number
}
export interface ThreadReport {
  /** Most time from a message's append being called until this thread read it, over the other thread's messages, in ms. */
  medianDelayMs: number
  read: number
}

export async function appendAndConsume(log: LmdbEventLog, { name, messages }: ThreadTask): Promise<ThreadReport> {
  const consumer = await log.consume({ group: `reader-${name}`, topic: 'shared' })
  const appending = appendAll(log, name, messages)
  const nextOffset = new Map<number, number>()
  const nextNumber = new Map<string, number>()
  const delaysMs: number[] = []
  let read = 0
  while (read < messages * 2) {
    const records = await consumer.poll(1_000, 10_000)
    assert.ok(records.length > 0, `${name} read ${read} of ${messages * 2} and then nothing`)
    for (const { partition, offset, key, value } of records) {
      assert.equal(offset, nextOffset.get(partition) ?? 0, `partition ${partition} has a gap`)
      nextOffset.set(partition, offset + 1)
      const [writer, number, sentMs] = Buffer.from(value).toString().split(' ')
      const order = `${writer} ${key}`
      assert.ok(Number(number) > (nextNumber.get(order) ?? -1), `${order} is out of order`)
      nextNumber.set(order, Number(number))
      if (writer !== name) delaysMs.push(systemClock.nowMs() - Number(sentMs))
      read++
    }
    await consumer.commit(nextOffset)
  }
  await appending
  assert.equal(await consumer.lag(), 0)
  await consumer.close()
  delaysMs.sort((a, b) => a - b)
  return { read, medianDelayMs: delaysMs[delaysMs.length >> 1]! }
}

async function appendAll(log: LmdbEventLog, name: string, messages: number): Promise<void> {
  const pending: Promise<unknown>[] = []
  for (let i = 0; i < messages; i++) {
    pending.push(log.append('shared', [message(`key-${i % 17}`, `${name} ${i} ${systemClock.nowMs()}`)]))
    if (i % 20 === 19) await new Promise((resolve) => setImmediate(resolve))
    if (i % 500 === 499) await Promise.all(pending.splice(0))
  }
  await Promise.all(pending)
}

if (parentPort !== null) {
  const task = workerData as ThreadTask
  const { log } = await openTemporaryLog({ directory: task.directory })
  parentPort.postMessage('ready')
  parentPort.once('message', () => {
    void appendAndConsume(log, task).then(async (report) => {
      await log.stop()
      parentPort?.postMessage(report)
      process.exit()
    })
  })
}
