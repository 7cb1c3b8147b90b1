import type { LoggedReading } from '../contracts/reading.ts'
import { utf8Text } from '../kernel/bytes.ts'
import { describeError } from '../kernel/errors.ts'
import type { LogMessage, LogRecord } from '../storage/event-log/event-log.ts'

/** What takes records that cannot be decoded. */
export type DeadLetters = (topic: string, message: LogMessage) => void

/** The readings of records, each with its place in the log. */
export function decodeReadings(records: readonly LogRecord[], deadLetters: DeadLetters): LoggedReading[] {
  const readings: LoggedReading[] = []
  for (const record of records) {
    const reading = decodeRecord<LoggedReading>(record, deadLetters)
    if (reading === null) continue
    reading.partition = record.partition
    reading.offset = record.offset
    readings.push(reading)
  }
  return readings
}

/** A record that is no JSON was written by something else: set aside with its cause, never in the way. */
export function decodeRecord<T>(record: LogRecord, deadLetters: DeadLetters): T | null {
  try {
    return JSON.parse(utf8Text(record.value)) as T
  } catch (error) {
    const { topic, key, schema, value } = record
    deadLetters(`${topic}.dlq`, { key, schema, value, headers: { cause: describeError(error), offset: String(record.offset) } })
    return null
  }
}

/** Next offset to be read per partition, behind these records. */
export function nextOffsets(records: readonly LogRecord[]): Map<number, number> {
  const next = new Map<number, number>()
  for (const record of records) next.set(record.partition, record.offset + 1)
  return next
}
