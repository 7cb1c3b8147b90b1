import { ANOMALY, type Anomaly } from '../../contracts/anomaly.ts'
import { ALERT, type AlertChange } from '../../contracts/alert.ts'
import { DEVICE_EVENT } from '../../contracts/device-event.ts'
import { READING, type Reading } from '../../contracts/reading.ts'
import { TOPICS, deviceKey, type TopicName } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Consumer, EventLog, LogRecord } from '../../storage/event-log/event-log.ts'

/** One event of the live stream, as `event:` and `data:` of server-sent events. */
export interface LiveEvent {
  event: 'reading' | 'anomaly' | 'alert' | 'device'
  device: string
  data: string
}

export interface LiveClient {
  tenant: string
  /** Only this device; undefined for all. */
  device: string | undefined
  /** Wants readings too: they are many. A device id: the readings of this device only. */
  readings: boolean | string
  send(event: LiveEvent): void
  /** The platform stops: ends the stream. */
  end(): void
}

interface Following {
  stop: AbortController
  consumers: Set<Consumer>
  loops: Promise<void>[]
}

const FOLLOWED: readonly TopicName[] = [TOPICS.readings, TOPICS.anomalies, TOPICS.alerts, TOPICS.deviceEvents]
const POLL_RECORDS_MAX = 2_000
const POLL_WAIT_MS = 1_000
const RETRY_MS = 1_000

/** Follows the log while somebody watches, and hands each event to those who may see it. Never commits: every hub sees everything. */
export class LiveHub {
  readonly #eventLog: EventLog
  readonly #clock: Clock
  readonly #log: Logger
  readonly #clients = new Set<LiveClient>()
  #following: Following | null = null
  #stopped = false

  constructor(options: { eventLog: EventLog; clock: Clock; log: Logger }) {
    this.#eventLog = options.eventLog
    this.#clock = options.clock
    this.#log = options.log
  }

  get clients(): number {
    return this.#clients.size
  }

  /** Adds a watcher; answers the way to remove it. After `stop` the watcher is ended at once. */
  add(client: LiveClient): () => void {
    if (this.#stopped) {
      client.end()
      return () => undefined
    }
    this.#clients.add(client)
    this.#following ??= this.#follow()
    return () => {
      this.#clients.delete(client)
      if (this.#clients.size === 0) void this.#unfollow()
    }
  }

  /** Ends every stream. */
  async stop(): Promise<void> {
    this.#stopped = true
    for (const client of this.#clients) client.end()
    this.#clients.clear()
    await this.#unfollow()
  }

  async #unfollow(): Promise<void> {
    const following = this.#following
    if (following === null) return
    this.#following = null
    following.stop.abort()
    // A closed consumer ends its poll: nobody waits for the next record.
    await Promise.all(Array.from(following.consumers, (consumer) => this.#close(consumer)))
    await Promise.all(following.loops)
  }

  #follow(): Following {
    const stop = new AbortController()
    const consumers = new Set<Consumer>()
    return { stop, consumers, loops: FOLLOWED.map((topic) => this.#run(topic, consumers, stop.signal)) }
  }

  async #run(topic: TopicName, consumers: Set<Consumer>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let consumer: Consumer | undefined
      try {
        consumer = await this.#eventLog.consume({ topic, from: 'latest' })
        consumers.add(consumer)
        while (!signal.aborted) for (const record of await consumer.poll(POLL_RECORDS_MAX, POLL_WAIT_MS)) this.#dispatch(record)
      } catch (error) {
        if (!signal.aborted) this.#log.warn({ topic, error: describeError(error) }, 'live stream interrupted, trying again')
        await sleep(this.#clock, RETRY_MS, signal)
      }
      if (consumer === undefined) continue
      consumers.delete(consumer)
      await this.#close(consumer)
    }
  }

  /** A consumer that cannot be closed is the log's trouble: nobody waits for it here, and nothing may be thrown into nowhere. */
  async #close(consumer: Consumer): Promise<void> {
    try {
      await consumer.close()
    } catch (error) {
      this.#log.warn({ error: describeError(error) }, 'live stream not closed cleanly')
    }
  }

  /** One record that cannot be read must not interrupt the stream. */
  #dispatch(record: LogRecord): void {
    try {
      this.#send(record)
    } catch (error) {
      const { topic, partition, offset } = record
      this.#log.warn({ topic, partition, offset, error: describeError(error) }, 'record left out of the live stream')
    }
  }

  #send(record: LogRecord): void {
    let event: LiveEvent | undefined
    for (const client of this.#clients) {
      if (record.schema === READING && !wantsReading(client, record.key)) continue
      if (client.device !== undefined && record.key !== deviceKey(client.tenant, client.device)) continue
      if (client.device === undefined && !record.key.startsWith(`${client.tenant}/`)) continue
      event ??= toEvent(record)
      if (event === undefined) return
      client.send(event)
    }
  }
}

function wantsReading({ tenant, readings }: LiveClient, key: string): boolean {
  return typeof readings === 'string' ? key === deviceKey(tenant, readings) : readings
}

function toEvent(record: LogRecord): LiveEvent | undefined {
  const text = utf8Text(record.value)
  switch (record.schema) {
    case READING: {
      const { device, ts, receivedAt, values } = JSON.parse(text) as Reading
      return { event: 'reading', device, data: JSON.stringify({ device, ts, receivedAt, values }) }
    }
    case ANOMALY:
      return { event: 'anomaly', device: (JSON.parse(text) as Anomaly).device, data: text }
    case ALERT:
      return { event: 'alert', device: (JSON.parse(text) as AlertChange).alert.device, data: text }
    case DEVICE_EVENT:
      return { event: 'device', device: (JSON.parse(text) as { device?: string }).device ?? '', data: text }
    default:
      return undefined
  }
}
