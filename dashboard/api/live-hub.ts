import { ANOMALY, type Anomaly } from '../../contracts/anomaly.ts'
import { ALERT, type AlertChange } from '../../contracts/alert.ts'
import { DEVICE_EVENT } from '../../contracts/device-event.ts'
import { READING, type Reading } from '../../contracts/reading.ts'
import { TOPICS, deviceKey, type TopicName } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { describeError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
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
  #following: { stop: AbortController; loops: Promise<void>[] } | null = null

  constructor(options: { eventLog: EventLog; clock: Clock; log: Logger }) {
    this.#eventLog = options.eventLog
    this.#clock = options.clock
    this.#log = options.log
  }

  get clients(): number {
    return this.#clients.size
  }

  /** Adds a watcher; answers the way to remove it. */
  add(client: LiveClient): () => void {
    this.#clients.add(client)
    this.#following ??= this.#follow()
    return () => {
      this.#clients.delete(client)
      if (this.#clients.size === 0) void this.stop()
    }
  }

  async stop(): Promise<void> {
    const following = this.#following
    this.#following = null
    following?.stop.abort()
    await Promise.all(following?.loops ?? [])
  }

  #follow(): { stop: AbortController; loops: Promise<void>[] } {
    const stop = new AbortController()
    const group = `live-${newId(this.#clock.nowMs())}`
    return { stop, loops: FOLLOWED.map((topic) => this.#run(topic, group, stop.signal)) }
  }

  async #run(topic: TopicName, group: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let consumer: Consumer | undefined
      try {
        consumer = await this.#eventLog.consume({ group, topic, from: 'latest' })
        while (!signal.aborted) for (const record of await consumer.poll(POLL_RECORDS_MAX, POLL_WAIT_MS)) this.#dispatch(record)
      } catch (error) {
        this.#log.warn({ topic, error: describeError(error) }, 'live stream interrupted, trying again')
        await sleep(this.#clock, RETRY_MS, signal)
      } finally {
        await consumer?.close()
      }
    }
  }

  #dispatch(record: LogRecord): void {
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
