import { DEVICE_EVENT, type DeviceEvent } from '../../contracts/device-event.ts'
import { DEVICE_MESSAGE, type DeviceMessage } from '../../contracts/device-message.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import { committing, TopicFollower } from '../../storage/event-log/topic-follower.ts'
import type { RotationConfig } from './config.ts'
import type { RenewalDesk } from './renewal-desk.ts'
import type { Rotation } from './rotation.ts'

const GROUP = 'rotation'

export interface RotationFollowerOptions {
  rotation: Rotation
  desk: RenewalDesk
  eventLog: EventLog
  config: RotationConfig
  clock: Clock
  log: Logger
}

/**
 * What edges and the registry say on `device-events`, whichever process they are in: a certificate was used, a device wants its next one,
 * one was revoked, a device was barred. The group's offset is committed after all of it is done.
 */
export class RotationFollower implements Service {
  readonly name = 'rotation-follower'
  readonly #options: RotationFollowerOptions
  #follower: TopicFollower | undefined

  constructor(options: RotationFollowerOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#follower !== undefined) return
    const { eventLog, clock, log, config } = this.#options
    this.#follower = await TopicFollower.join({
      ...{ eventLog, clock, log },
      consumer: { group: GROUP, topic: TOPICS.deviceEvents, from: 'earliest' },
      recordsMax: config.pollRecordsMax,
      retryMs: config.retryMs,
      waitMs: () => config.pollWaitMs,
      onRecords: committing((records, signal) => this.#noteAll(records, signal)),
    })
    this.#follower.run()
  }

  async stop(): Promise<void> {
    await this.#follower?.stop()
    this.#follower = undefined
  }

  /** Records of one device in their order, of several beside each other: they share the store's commits. */
  async #noteAll(records: readonly LogRecord[], signal: AbortSignal): Promise<boolean> {
    const results = await Promise.allSettled([...grouped(records).values()].map((own) => this.#noteInOrder(own, signal)))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    return !signal.aborted
  }

  async #noteInOrder(records: readonly LogRecord[], signal: AbortSignal): Promise<void> {
    for (const record of records) {
      if (signal.aborted) return
      await this.#note(record)
    }
  }

  async #note(record: LogRecord): Promise<void> {
    if (record.schema === DEVICE_MESSAGE) await this.#noteMessage(readJson<DeviceMessage>(record))
    else if (record.schema === DEVICE_EVENT) await this.#noteEvent(readJson<DeviceEvent>(record))
  }

  async #noteMessage(message: Partial<DeviceMessage> | undefined): Promise<void> {
    const { rotation, desk } = this.#options
    const { kind, tenant, device, serial, receivedAt } = message ?? {}
    if (message === undefined || typeof tenant !== 'string' || typeof device !== 'string' || typeof receivedAt !== 'number') return
    if (kind === 'certificate-renew') await desk.serve({ ...message, tenant, device, receivedAt })
    else if ((kind === 'connected' || kind === 'certificate-used') && typeof serial === 'string') await rotation.noteUse(serial, receivedAt)
  }

  async #noteEvent(event: Partial<DeviceEvent> | undefined): Promise<void> {
    const { rotation } = this.#options
    if (event?.event === 'certificate-revoked' && typeof event.serial === 'string') await rotation.look(event.serial)
    if (event?.event !== 'device-changed' || typeof event.tenant !== 'string' || typeof event.device !== 'string') return
    if (BARRED.has(event.state ?? '')) await rotation.noteBarred(event.tenant, event.device)
  }
}

/** States in which a device is not expected to renew. */
const BARRED: ReadonlySet<string> = new Set(['suspended', 'decommissioning', 'decommissioned'])

function readJson<T>(record: LogRecord): Partial<T> | undefined {
  try {
    const value = JSON.parse(utf8Text(record.value)) as Partial<T> | null
    return value ?? undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function grouped(records: readonly LogRecord[]): Map<string, LogRecord[]> {
  const groups = new Map<string, LogRecord[]>()
  for (const record of records) {
    const own = groups.get(record.key)
    if (own === undefined) groups.set(record.key, [record])
    else own.push(record)
  }
  return groups
}
