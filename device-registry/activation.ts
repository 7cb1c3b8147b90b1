import { DEVICE_MESSAGE, type DeviceMessage } from '../contracts/device-message.ts'
import { TOPICS } from '../contracts/topics.ts'
import { utf8Text } from '../kernel/bytes.ts'
import type { Logger } from '../kernel/log.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { EventLog, LogRecord } from '../storage/event-log/event-log.ts'
import { registryConfig, type RegistryConfig } from './config.ts'
import type { Registry } from './registry.ts'
import { committing, oneByOne, TopicFollower } from '../storage/event-log/topic-follower.ts'

const GROUP = 'registry'

export interface ActivationOptions {
  registry: Registry
  eventLog: EventLog
  clock: Clock
  log: Logger
  registryConfig?: RegistryConfig
}

/** A provisioned device becomes active with its first connection: this follows what the broker says of sessions. */
export class Activation implements Service {
  readonly name = 'activation'
  readonly #options: ActivationOptions
  readonly #config: RegistryConfig
  #starting: Promise<TopicFollower> | undefined

  constructor(options: ActivationOptions) {
    this.#options = options
    this.#config = options.registryConfig ?? registryConfig()
  }

  async start(): Promise<void> {
    this.#starting ??= this.#follow()
    try {
      await this.#starting
    } catch (error) {
      this.#starting = undefined
      throw error
    }
  }

  async stop(): Promise<void> {
    const starting = this.#starting
    this.#starting = undefined
    await (await starting)?.stop()
  }

  async #follow(): Promise<TopicFollower> {
    const { eventLog, clock, log } = this.#options
    const follower = await TopicFollower.join({
      eventLog,
      clock,
      log,
      consumer: { group: GROUP, topic: TOPICS.deviceEvents, from: 'earliest' },
      recordsMax: this.#config.pollRecordsMax,
      retryMs: this.#config.retryMs,
      waitMs: () => this.#config.pollWaitMs,
      onRecords: committing(oneByOne((record) => this.#note(record))),
    })
    follower.run()
    return follower
  }

  async #note(record: LogRecord): Promise<void> {
    if (record.schema !== DEVICE_MESSAGE) return
    const message = readMessage(record)
    if (message === undefined) {
      this.#options.log.error({ partition: record.partition, offset: record.offset }, 'unreadable device message passed over')
    } else if (message.kind === 'connected') await this.#options.registry.markActive(message.tenant, message.device)
  }
}

function readMessage(record: LogRecord): Pick<DeviceMessage, 'kind' | 'tenant' | 'device'> | undefined {
  try {
    const message = JSON.parse(utf8Text(record.value)) as Partial<DeviceMessage> | null
    const { kind, tenant, device } = message ?? {}
    return kind !== undefined && typeof tenant === 'string' && typeof device === 'string' ? { kind, tenant, device } : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
