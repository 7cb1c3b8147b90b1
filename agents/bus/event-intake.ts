import type { Counter } from 'prom-client'
import type { AuditTrail } from '../../contracts/audit.ts'
import { DEFAULT_TENANT } from '../../contracts/device.ts'
import type { TopicName } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { describeError, FleetpulseError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { maskSecrets } from '../../kernel/mask.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import { backoffDelayMs } from '../../kernel/retry.ts'
import type { Service } from '../../kernel/service.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import { BatchLoop } from '../../storage/event-log/batch-loop.ts'
import { deadLetter, deadLetterTopic } from '../../storage/event-log/dead-letter.ts'
import type { EventLog, LogMessage, LogRecord, TopicMessages } from '../../storage/event-log/event-log.ts'
import type { AgentsConfig } from '../config.ts'
import type { BusKey } from './bus-key.ts'
import type { DeprecatedUse } from './deprecated-use.ts'
import type { Deprecations } from './deprecations.ts'
import { open, type BusEvent, type RefusalReason } from './envelope.ts'

/** Of an event that could not be taken: why. */
export type Cause = string

export interface EventTaker {
  /**
   * Takes events, in their order within a stream; an event that comes again changes nothing. Answers, in their order, why one is to be set
   * aside, or null. What it throws is the stores' trouble, and then all come again, or one event's, which is then found and tried again.
   */
  take(events: readonly BusEvent[]): Promise<readonly (Cause | null)[]>
}

export interface EventIntakeOptions {
  eventLog: EventLog
  key: BusKey
  clock: Clock
  random: Random
  log: Logger
  /** Counts what became of events. See `eventsCounter`. */
  counter: Counter<'group' | 'result'>
  /** Sees each event that is read. */
  deprecatedUse: DeprecatedUse
  deprecations: Deprecations
  config: Pick<AgentsConfig, 'batchRecordsMax' | 'pollWaitMs' | 'retryInitialMs' | 'retryMaxMs' | 'eventAttemptsMax'>
  topic: TopicName
  group: string
  taker: EventTaker
  /**
   * Records who appended what is not ours. Absent where another group reads the topic too and sets aside what cannot be read: once is
   * enough.
   */
  trail?: AuditTrail
}

export function eventsCounter(metrics: Metrics): Counter<'group' | 'result'> {
  return metrics.counter('agents_bus_events_total', 'Events of the agents’ bus that were read, by group and what became of them', [
    'group',
    'result',
  ] as const)
}

/**
 * One consumer of one topic of the bus: nothing reaches its taker that is unsigned, forged, unknown or malformed. What cannot be read or
 * taken goes to the topic's dead letters with its cause and holds up nobody else.
 */
export class EventIntake implements Service {
  readonly name: string
  readonly #options: EventIntakeOptions
  readonly #loop: BatchLoop

  constructor(options: EventIntakeOptions) {
    this.#options = options
    const { eventLog, clock, random, log, config, topic, group } = options
    this.name = group
    this.#loop = new BatchLoop({
      ...{ eventLog, clock, random, log, name: group, group, topic },
      pace: config,
      handle: (records) => this.#handle(records),
    })
  }

  start(): Promise<void> {
    return this.#loop.start()
  }
  stop(): Promise<void> {
    return this.#loop.stop()
  }

  async #handle(records: readonly LogRecord[]): Promise<TopicMessages[]> {
    const { key, group, topic, trail, counter, deprecatedUse, deprecations } = this.#options
    const read: { record: LogRecord; event: BusEvent }[] = []
    const dead: LogMessage[] = []
    const foreign = new Map<RefusalReason, LogRecord[]>()
    for (const record of records) {
      const opened = open(record, key.secret, deprecations)
      if (opened.status === 'event') {
        deprecatedUse.see(group, opened.event)
        read.push({ record, event: opened.event })
      } else {
        counter.inc({ group, result: opened.reason })
        if (trail === undefined) continue
        dead.push(setAside(record, `${opened.reason}: ${opened.why}`, group))
        if (opened.tenant === null) foreign.set(opened.reason, [...(foreign.get(opened.reason) ?? []), record])
      }
    }
    const causes = read.length === 0 ? [] : await this.#take(read.map(({ event }) => event))
    for (const [i, { record, event }] of read.entries()) {
      const cause = causes[i] ?? null
      counter.inc({ group, result: cause === null ? 'taken' : 'failed' })
      if (cause === null) continue
      this.#options.log.warn({ group, event: event.id, type: event.type, cause }, 'an event was set aside')
      dead.push(setAside(record, `failed: ${cause}`, group))
    }
    await this.#record(foreign)
    return [{ topic: deadLetterTopic(topic), messages: dead }]
  }

  async #take(events: readonly BusEvent[]): Promise<readonly (Cause | null)[]> {
    try {
      return await this.#options.taker.take(events)
    } catch (error) {
      if (isOfStores(error)) throw error
      const causes: (Cause | null)[] = []
      for (const event of events) causes.push(await this.#takeAlone(event))
      return causes
    }
  }

  /** Its first try was with the others. */
  async #takeAlone(event: BusEvent): Promise<Cause | null> {
    const { taker, config, clock, random } = this.#options
    const backoff = { initialMs: config.retryInitialMs, maxMs: config.retryMaxMs, factor: 2, jitter: 0.2 }
    for (let attempt = 2; ; attempt++) {
      try {
        const [cause = null] = await taker.take([event])
        return cause
      } catch (error) {
        if (isOfStores(error)) throw error
        if (attempt >= config.eventAttemptsMax) return `${describeError(error)} (${attempt} tries)`
        await sleep(clock, backoffDelayMs(backoff, attempt - 1, random))
      }
    }
  }

  /** One entry for all of a batch that have the same fault: who floods a topic does not flood the trail. */
  async #record(foreign: ReadonlyMap<RefusalReason, readonly LogRecord[]>): Promise<void> {
    const { topic, trail, log } = this.#options
    for (const [reason, records] of foreign) {
      const { partition, offset } = records[0] as LogRecord
      const id = `${topic}/${partition}-${offset}`
      log.warn({ topic, partition, offset, count: records.length, reason }, 'somebody who is none of the agents appended to their bus')
      await trail?.record({
        ...{ tenant: DEFAULT_TENANT, actor: 'anonymous', action: 'event.append', subject: { kind: 'event', id } },
        ...{ outcome: 'refused', why: reason, count: records.length },
      })
    }
  }
}

/** The header that tells which group set an event aside. */
export const DEAD_LETTER_GROUP = 'dlq-group'

/**
 * The record for the dead letters. What of it looks like a key or a password is masked, also where its signature no longer fits then: better
 * an event that cannot be taken again than a key that is kept.
 */
export function setAside(record: LogRecord, cause: Cause, group: string): LogMessage {
  const { topic, partition, offset, appendedAt, key, schema, value, headers } = record
  const text = utf8Text(value)
  const shown = maskSecrets(text)
  const masked: LogRecord = {
    ...{ topic, partition, offset, appendedAt, key: maskSecrets(key), schema: maskSecrets(schema) },
    value: shown === text ? value : Buffer.from(shown),
    headers: Object.fromEntries(Object.entries(headers).map(([name, header]) => [name, maskSecrets(header)])),
  }
  const message = deadLetter(masked, cause)
  return { ...message, headers: { ...message.headers, [DEAD_LETTER_GROUP]: group } }
}

/** Nothing is wrong with the events: they wait until the stores work again. */
function isOfStores(error: unknown): boolean {
  return error instanceof FleetpulseError && error.fault === 'environment'
}
