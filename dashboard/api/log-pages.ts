import type { TopicName } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import type { EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import { decodeCursor, encodeCursor } from './lists.ts'

/** Records read from the log at once while looking for matches. */
const SLICE = 500

/** A message with its place in the log. */
export interface Placed<T> {
  partition: number
  offset: number
  message: T
}

export interface BackwardQuery<T> {
  eventLog: EventLog
  topic: TopicName
  cursor: string | undefined
  limit: number
  /** Records looked through for one page at most; the page is then shorter and has a next one. */
  scanMax: number
  wanted: (message: T) => boolean
}

/** A page of a topic's messages, from the ends of its partitions backwards: newest first within a partition. */
export async function readBackwards<T>(query: BackwardQuery<T>): Promise<{ items: Placed<T>[]; next: string | null }> {
  const { eventLog, topic, limit, scanMax, wanted } = query
  const place = query.cursor === undefined ? undefined : decodeCursor(query.cursor, isPlace)
  const items: Placed<T>[] = []
  let scanned = 0
  for (const [partition, { first, next }] of await eventLog.bounds(topic)) {
    if (place !== undefined && partition < place.partition) continue
    let end = place?.partition === partition ? Math.min(place.before, next) : next
    while (end > first) {
      const start = Math.max(first, end - SLICE)
      const records = await eventLog.read(topic, partition, start, end - start)
      for (const record of records.toReversed()) {
        end = record.offset
        scanned++
        const message = parse<T>(record)
        if (message !== null && wanted(message)) items.push({ partition, offset: record.offset, message })
        if (items.length === limit || scanned >= scanMax) return { items, next: encodeCursor({ partition, before: record.offset }) }
      }
      if (records.length === 0) break
    }
  }
  return { items, next: null }
}

/** Null for what is no JSON object: something else wrote it, and it must not hide what lies behind it. */
function parse<T>(record: LogRecord): T | null {
  try {
    const message: unknown = JSON.parse(utf8Text(record.value))
    return typeof message === 'object' ? (message as T | null) : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}

interface Place {
  partition: number
  before: number
}

function isPlace(value: unknown): value is Place {
  const place = value as Partial<Place> | null
  return Number.isSafeInteger(place?.partition) && Number.isSafeInteger(place?.before)
}
