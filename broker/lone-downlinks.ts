import { DOWNLINK, DOWNLINKS_CANCELLED, type Downlink, type DownlinksCancelled } from '../contracts/downlink.ts'
import { FORGET_DEVICE, type ForgetDevice } from '../contracts/forget-device.ts'
import { TOPICS } from '../contracts/topics.ts'
import type { Logger } from '../kernel/log.ts'
import type { Clock } from '../kernel/time.ts'
import type { EventLog, LogRecord } from '../storage/event-log/event-log.ts'
import { committing, oneByOne, TopicFollower } from '../storage/event-log/topic-follower.ts'
import { cancellationOf, downlinkOf, forgettingOf } from './downlink-record.ts'
import type { EdgesConfig } from './edges/config.ts'
import type { LogPlace } from './persistence/log-place.ts'

const GROUP = 'broker-downlinks'

export interface LoneDownlinksOptions {
  eventLog: EventLog
  clock: Clock
  log: Logger
  config: Pick<EdgesConfig, 'followRecordsMax' | 'followWaitMs' | 'followRetryMs'>
  /** Resolves when the message is durable where it must be; delivery goes on by itself. */
  deliver: (clientId: string, downlink: Downlink, place: LogPlace) => Promise<void>
  /** Takes back what waits for the device; resolves when that is durable. */
  cancel: (cancelled: DownlinksCancelled) => Promise<void>
  /** Forgets a device that leaves; resolves when that is durable. */
  forget: (forgetting: ForgetDevice) => Promise<void>
}

/**
 * Topic `commands` for a broker that is alone on its documents: it holds every device, so it delivers everything, and its place in the
 * topic is a committed offset. After a crash the last messages are read again; queues know those that they have.
 */
export class LoneDownlinks {
  readonly #options: LoneDownlinksOptions
  #follower: TopicFollower | undefined

  constructor(options: LoneDownlinksOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#follower !== undefined) return
    const { eventLog, clock, log, config } = this.#options
    this.#follower = await TopicFollower.join({
      eventLog,
      clock,
      log,
      consumer: { group: GROUP, topic: TOPICS.commands, from: 'earliest' },
      recordsMax: config.followRecordsMax,
      retryMs: config.followRetryMs,
      waitMs: () => config.followWaitMs,
      onRecords: committing(oneByOne((record) => this.#note(record))),
    })
    this.#follower.run()
  }

  async stop(): Promise<void> {
    await this.#follower?.stop()
    this.#follower = undefined
  }

  async #note(record: LogRecord): Promise<void> {
    if (record.schema === DOWNLINK) await this.#deliver(record)
    else if (record.schema === DOWNLINKS_CANCELLED) await this.#cancel(record)
    else if (record.schema === FORGET_DEVICE) await this.#forget(record)
  }

  async #deliver(record: LogRecord): Promise<void> {
    const { key, partition, offset } = record
    const downlink = downlinkOf(record)
    if (downlink === undefined) this.#options.log.error({ partition, offset }, 'unreadable command passed over')
    else await this.#options.deliver(key, downlink, { partition, offset })
  }

  async #cancel(record: LogRecord): Promise<void> {
    const { partition, offset } = record
    const cancelled = cancellationOf(record)
    if (cancelled === undefined) this.#options.log.error({ partition, offset }, 'unreadable cancellation passed over')
    else await this.#options.cancel(cancelled)
  }

  async #forget(record: LogRecord): Promise<void> {
    const { partition, offset } = record
    const forgetting = forgettingOf(record)
    if (forgetting === undefined) this.#options.log.error({ partition, offset }, 'unreadable request to forget a device passed over')
    else await this.#options.forget(forgetting)
  }
}
