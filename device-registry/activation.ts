import { DEVICE_MESSAGE, type DeviceMessage } from '../contracts/device-message.ts'
import { TOPICS } from '../contracts/topics.ts'
import { utf8Text } from '../kernel/bytes.ts'
import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Service } from '../kernel/service.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import type { Consumer, EventLog, LogRecord } from '../storage/event-log/event-log.ts'
import type { Registry } from './registry.ts'

const GROUP = 'registry'
const POLL_RECORDS_MAX = 500
const POLL_WAIT_MS = 1_000
const RETRY_MS = 500

/** A provisioned device becomes active with its first connection: this follows what the broker says of sessions. */
export class Activation implements Service {
  readonly name = 'activation'
  readonly #options: { registry: Registry; eventLog: EventLog; clock: Clock; log: Logger }
  #consumer: Consumer | undefined
  #loop: Promise<void> | undefined
  readonly #stopping = new AbortController()

  constructor(options: { registry: Registry; eventLog: EventLog; clock: Clock; log: Logger }) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#consumer !== undefined) return
    this.#consumer = await this.#options.eventLog.consume({ group: GROUP, topic: TOPICS.deviceEvents, from: 'earliest' })
    this.#loop = this.#run(this.#consumer)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#consumer?.close()
    await this.#loop
    this.#consumer = undefined
  }

  async #run(consumer: Consumer): Promise<void> {
    const { clock, log } = this.#options
    while (!this.#stopping.signal.aborted) {
      const records = await consumer.poll(POLL_RECORDS_MAX, POLL_WAIT_MS)
      while (records.length > 0 && !this.#stopping.signal.aborted) {
        try {
          for (const record of records) await this.#apply(record)
          await consumer.commit(new Map(records.map((record) => [record.partition, record.offset + 1])))
          break
        } catch (error) {
          log.warn({ error: describeError(error) }, 'first connections wait to be noted')
          await sleep(clock, RETRY_MS, this.#stopping.signal)
        }
      }
    }
  }

  async #apply(record: LogRecord): Promise<void> {
    if (record.schema !== DEVICE_MESSAGE) return
    const message = JSON.parse(utf8Text(record.value)) as DeviceMessage
    if (message.kind === 'connected') await this.#options.registry.markActive(message.tenant, message.device)
  }
}
