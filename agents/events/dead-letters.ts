import { isUtf8 } from 'node:buffer'
import { DEFAULT_TENANT } from '../../contracts/device.ts'
import type { TopicName } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { ConflictError, NotFoundError } from '../../kernel/errors.ts'
import { deadLetterTopic } from '../../storage/event-log/dead-letter.ts'
import type { EventLog, LogMessage, LogRecord } from '../../storage/event-log/event-log.ts'
import type { BusKey } from '../bus/bus-key.ts'
import { open, type BusEvent, type Opened } from '../bus/envelope.ts'
import { DEAD_LETTER_GROUP } from '../bus/event-intake.ts'
import { BUS_TOPICS } from '../bus/event-types.ts'

/** Records read at a time. */
const SLICE = 200
/** Records looked through for one page, or one replay of all. */
const SCAN_MAX = 10_000
/** Characters of the content that are shown. */
const CONTENT_LENGTH_MAX = 4_000

/** `waiting`: it can be tried again. `unreadable`: not before this code knows its version. `recovered`: it was taken since. `foreign`: none of ours wrote it. */
export const DEAD_LETTER_STATES = ['waiting', 'unreadable', 'recovered', 'foreign'] as const
export type DeadLetterState = (typeof DEAD_LETTER_STATES)[number]

/** An event that could not be taken. */
export interface DeadLetter {
  /** `TOPIC:PARTITION-OFFSET` among the dead letters. */
  id: string
  topic: string
  /** When it was set aside, epoch ms. */
  at: number
  cause: string
  /** Which consumer set it aside. */
  group: string
  state: DeadLetterState
  /** Of an event of ours. */
  eventId: string | null
  schema: string
  content: string
}

/** The whole of one, as it lies in the log. */
export interface WholeDeadLetter extends Omit<DeadLetter, 'content'> {
  key: string
  headers: Readonly<Record<string, string>>
  /** `text`: UTF-8; `base64`: it is none. */
  encoding: 'text' | 'base64'
  content: string
  sizeBytes: number
}

/** Where a page of dead letters ended. */
export interface DeadLetterPlace {
  /** Index among the topics of the bus. */
  topic: number
  partition: number
  before: number
}

export interface DeadLettersOptions {
  eventLog: EventLog
  key: BusKey
  /** Was this event taken by this group? */
  isTaken: (group: string, event: BusEvent) => Promise<boolean>
}

interface Found {
  record: LogRecord
  topic: TopicName
  opened: Opened
  place: DeadLetterPlace
}

/** What consumers of the bus set aside, and how it gets another try: appended again, it comes to all consumers, and to those who took it as a repetition. */
export class DeadLetters {
  readonly #options: DeadLettersOptions

  constructor(options: DeadLettersOptions) {
    this.#options = options
  }

  /** Newest first within a partition. What is not ours belongs to whoever runs the installation. */
  async list(
    tenant: string,
    { limit, topic, place }: { limit: number; topic?: string | undefined; place?: DeadLetterPlace | undefined },
  ): Promise<{ items: DeadLetter[]; next: DeadLetterPlace | null }> {
    const items: DeadLetter[] = []
    let scanned = 0
    for await (const found of this.#backwards(topic, place)) {
      if (tenantOf(found.opened) === tenant) items.push(await this.#viewOf(found))
      if (items.length === limit || ++scanned === SCAN_MAX) return { items, next: found.place }
    }
    return { items, next: null }
  }

  /** Throws NotFoundError. */
  async get(tenant: string, id: string): Promise<WholeDeadLetter> {
    const found = await this.#of(tenant, id)
    const { key, headers, value } = found.record
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    const encoding = isUtf8(bytes) ? 'text' : 'base64'
    const content = bytes.toString(encoding === 'text' ? 'utf8' : encoding)
    return { ...(await this.#viewOf(found)), key, headers, encoding, content, sizeBytes: bytes.length }
  }

  /** Appends one again. Throws NotFoundError, or ConflictError for one that would only come back. */
  async replay(tenant: string, id: string): Promise<DeadLetter> {
    const found = await this.#of(tenant, id)
    const letter = await this.#viewOf(found)
    if (letter.state === 'recovered') return letter
    if (letter.state !== 'waiting') {
      throw new ConflictError(`dead letter ${id} would only come back: ${letter.cause}`, {
        remedy: letter.state === 'foreign' ? 'Find out who appends to the bus.' : 'Run a version that knows this event, then try again.',
      })
    }
    await this.#options.eventLog.append(found.topic, [again(found.record)])
    return letter
  }

  /** Appends again what can be taken and was not, oldest first; answers how many. */
  async replayAll(tenant: string, topic?: string): Promise<number> {
    const byTopic = new Map<TopicName, LogMessage[]>()
    const seen = new Set<string>()
    let scanned = 0
    for await (const found of this.#backwards(topic, undefined)) {
      if (++scanned > SCAN_MAX) break
      const { opened, record } = found
      if (opened.status !== 'event' || opened.event.tenant !== tenant || seen.has(opened.event.id)) continue
      seen.add(opened.event.id)
      if (await this.#options.isTaken(groupOf(record), opened.event)) continue
      byTopic.set(found.topic, [again(record), ...(byTopic.get(found.topic) ?? [])])
    }
    let count = 0
    for (const [to, messages] of byTopic) {
      await this.#options.eventLog.append(to, messages)
      count += messages.length
    }
    return count
  }

  async #viewOf({ record, topic, opened }: Found): Promise<DeadLetter> {
    const { partition, offset, appendedAt, schema, value, headers } = record
    const eventId = opened.status === 'event' ? opened.event.id : opened.id
    return {
      ...{ id: `${topic}:${partition}-${offset}`, topic, at: appendedAt, cause: headers['dlq-cause'] ?? '', group: groupOf(record) },
      ...{ state: await this.#stateOf(record, opened), eventId, schema },
      content: utf8Text(value).slice(0, CONTENT_LENGTH_MAX),
    }
  }

  async #stateOf(record: LogRecord, opened: Opened): Promise<DeadLetterState> {
    if (opened.status === 'refused') return opened.tenant === null ? 'foreign' : 'unreadable'
    return (await this.#options.isTaken(groupOf(record), opened.event)) ? 'recovered' : 'waiting'
  }

  async *#backwards(only: string | undefined, place: DeadLetterPlace | undefined): AsyncGenerator<Found> {
    const { eventLog, key } = this.#options
    for (const [index, topic] of BUS_TOPICS.entries()) {
      if ((only !== undefined && topic !== only) || (place !== undefined && index < place.topic)) continue
      const bounds = await eventLog.bounds(deadLetterTopic(topic))
      for (const partition of [...bounds.keys()].sort((a, b) => a - b)) {
        const { first, next } = bounds.get(partition) ?? { first: 0, next: 0 }
        const isAt = place?.topic === index
        if (isAt && partition < place.partition) continue
        let end = isAt && partition === place.partition ? Math.min(place.before, next) : next
        while (end > first) {
          const start = Math.max(first, end - SLICE)
          const records = await eventLog.read(deadLetterTopic(topic), partition, start, end - start)
          for (const record of records.toReversed()) {
            if (record.offset >= end) continue
            yield {
              record,
              topic,
              opened: open({ headers: record.headers, value: record.value, topic }, key.secret),
              place: { topic: index, partition, before: record.offset },
            }
          }
          end = start
        }
      }
    }
  }

  async #of(tenant: string, id: string): Promise<Found> {
    const found = await this.#find(id)
    if (found === null || tenantOf(found.opened) !== tenant) throw new NotFoundError(`there is no dead letter ${id}`)
    return found
  }

  async #find(id: string): Promise<Found | null> {
    const { eventLog, key } = this.#options
    const [, topicText, partitionText, offsetText] = /^([a-z.-]{1,64}):(\d{1,9})-(\d{1,15})$/.exec(id) ?? []
    const index = BUS_TOPICS.findIndex((each) => each === topicText)
    const topic = BUS_TOPICS[index]
    if (topic === undefined) return null
    const [partition, offset] = [Number(partitionText), Number(offsetText)]
    const bounds = (await eventLog.bounds(deadLetterTopic(topic))).get(partition)
    if (bounds === undefined || offset < bounds.first || offset >= bounds.next) return null
    const [record] = await eventLog.read(deadLetterTopic(topic), partition, offset, 1)
    if (record === undefined || record.offset !== offset) return null
    return {
      record,
      topic,
      opened: open({ headers: record.headers, value: record.value, topic }, key.secret),
      place: { topic: index, partition, before: offset },
    }
  }
}

function tenantOf(opened: Opened): string {
  return opened.status === 'event' ? opened.event.tenant : (opened.tenant ?? DEFAULT_TENANT)
}

function groupOf({ headers }: LogRecord): string {
  return headers[DEAD_LETTER_GROUP] ?? ''
}

/** As it was before it was set aside. */
function again({ key, schema, value, headers }: LogRecord): LogMessage {
  return { key, schema, value, headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith('dlq-'))) }
}
