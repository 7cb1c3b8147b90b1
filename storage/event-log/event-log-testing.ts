import assert from 'node:assert/strict'
import { systemClock } from '../../kernel/time.ts'
import type { Consumer, EventLog, LogMessage, LogRecord } from './event-log.ts'

/** A group may take seconds to form on an engine with a network; nothing here waits that long where it need not. */
export const PATIENCE_MS = 30_000
export const POLL_MS = 250

export function makeTopic(log: EventLog, topic: string, partitions: number): Promise<void> {
  return log.ensureTopics([{ topic, partitions, retentionBytes: 0, retentionMs: 0 }])
}

export function text(key: string, value: string): LogMessage {
  return { key, schema: 'text/1', value: Buffer.from(value) }
}

export function textOf(value: Uint8Array): string {
  return Buffer.from(value).toString()
}

export function texts(records: readonly LogRecord[]): string[] {
  return records.map(({ value }) => textOf(value))
}

export function byPartition(records: readonly LogRecord[]): Map<number, LogRecord[]> {
  const partitions = new Map<number, LogRecord[]>()
  for (const record of records) partitions.set(record.partition, [...(partitions.get(record.partition) ?? []), record])
  return partitions
}

/** Polls until `count` records came. */
export async function take(consumer: Consumer, count: number): Promise<LogRecord[]> {
  const records: LogRecord[] = []
  const deadlineMs = systemClock.monotonicMs() + PATIENCE_MS
  while (records.length < count) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `${records.length} of ${count} records came within ${PATIENCE_MS} ms`)
    records.push(...(await consumer.poll(count - records.length, POLL_MS)))
  }
  return records
}

/** Everything in the topic, partition by partition, without a group. */
export async function readAll(log: EventLog, topic: string): Promise<LogRecord[]> {
  const records: LogRecord[] = []
  for (const [partition, { first, next }] of await log.bounds(topic)) {
    for (let offset = first; offset < next;) {
      const slice = await log.read(topic, partition, offset, 1_000)
      assert.ok(slice.length > 0, `nothing at offset ${offset} of partition ${partition}`)
      records.push(...slice)
      offset = slice[slice.length - 1]!.offset + 1
    }
  }
  return records
}

/** Waits for a condition on the members' assignments; on engines that need it, polling is what moves a group on. */
export async function until(isTrue: () => boolean, ...members: Consumer[]): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + PATIENCE_MS
  while (!isTrue()) {
    assert.ok(
      systemClock.monotonicMs() < deadlineMs,
      `assignments are ${members.map((member) => member.assignment().join()).join(' and ')}`,
    )
    for (const member of members) assert.deepEqual(await member.poll(1, 20), [])
  }
}
