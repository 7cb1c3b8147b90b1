import { maskSecrets } from '../../kernel/mask.ts'
import type { LogMessage, LogRecord } from './event-log.ts'

/** Longest cause kept in a header. */
const CAUSE_LENGTH_MAX = 500

/** The topic that holds what could not be processed. */
export function deadLetterTopic(topic: string): string {
  return `${topic}.dlq`
}

/** The record as it was, with the cause and where it came from in its headers, so that it can be looked at and appended again. */
export function deadLetter(record: LogRecord, cause: string): LogMessage {
  return {
    key: record.key,
    schema: record.schema,
    value: record.value,
    headers: {
      ...record.headers,
      'dlq-cause': maskSecrets(cause).slice(0, CAUSE_LENGTH_MAX),
      'dlq-topic': record.topic,
      'dlq-partition': String(record.partition),
      'dlq-offset': String(record.offset),
    },
  }
}
