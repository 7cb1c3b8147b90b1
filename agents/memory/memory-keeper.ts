import { DEVICE_EVENT, DeviceEventSchema } from '../../contracts/device-event.ts'
import type { Incident } from '../../contracts/incident.ts'
import { TOPICS } from '../../contracts/topics.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Random } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import { BatchLoop } from '../../storage/event-log/batch-loop.ts'
import type { EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import { plainText } from '../access/plain-text.ts'
import type { BusKey } from '../bus/bus-key.ts'
import { open } from '../bus/envelope.ts'
import type { AgentsConfig } from '../config.ts'
import type { Memories } from './memories.ts'
import { KEEPER } from './memory-document.ts'

/** Characters of a statement that are kept. */
const STATEMENT_LENGTH_MAX = 1_000
const checkDeviceEvent = compileSchema(DeviceEventSchema)

export interface MemoryKeeperOptions {
  memories: Memories
  key: BusKey
  eventLog: EventLog
  clock: Clock
  random: Random
  log: Logger
  config: AgentsConfig
  /** Null for one that is not, or no longer, there. */
  incidentOf: (tenant: string, id: string) => Promise<Incident | null>
}

/**
 * Learns from the log: what people state of an incident, and that a device has left, of which nothing is remembered then. Learning twice is
 * learning once, so a batch may come again. How an incident ended is told by whoever follows incidents.
 */
export class MemoryKeeper implements Service {
  readonly name = 'memory-keeper'
  readonly #options: MemoryKeeperOptions
  readonly #loops: readonly BatchLoop[]

  constructor(options: MemoryKeeperOptions) {
    this.#options = options
    const { eventLog, clock, random, log, config } = options
    const common = { eventLog, clock, random, log, pace: config }
    const handled = (each: (record: LogRecord) => Promise<void>) => async (records: readonly LogRecord[]) => {
      for (const record of records) await each(record)
      return []
    }
    this.#loops = [
      new BatchLoop({
        ...{ ...common, name: 'memory-of-statements', group: 'agent-memory-messages', topic: TOPICS.agentMessages },
        handle: handled((record) => this.#message(record)),
      }),
      new BatchLoop({
        ...{ ...common, name: 'memory-of-devices', group: 'agent-memory-devices', topic: TOPICS.deviceEvents },
        handle: handled((record) => this.#device(record)),
      }),
    ]
  }

  async start(): Promise<void> {
    for (const loop of this.#loops) await loop.start()
  }
  async stop(): Promise<void> {
    for (const loop of this.#loops) await loop.stop()
  }

  /** What is unsigned or not to be read is others' to set aside; private words are nobody's to remember. */
  async #message(record: LogRecord): Promise<void> {
    const { memories, key, incidentOf } = this.#options
    const opened = open(record, key.secret)
    if (opened.status !== 'event' || opened.event.type !== 'MessageSent') return
    const { tenant, at, data } = opened.event
    const { kind, from, chatId, content, messageId } = data as Record<'kind' | 'from' | 'chatId' | 'content' | 'messageId', unknown>
    if (kind !== 'statement' || typeof content !== 'string' || typeof from !== 'string' || from.startsWith('agent:')) return
    const incident = await incidentOf(tenant, String(chatId))
    if (incident === null) return
    const { id, devices, type } = incident
    await memories.learn({
      ...{ tenant, of: String(messageId), agent: KEEPER, kind: 'statement', incident: id, devices, type, cause: null },
      ...{ content: plainText(content, STATEMENT_LENGTH_MAX), by: from, resolution: null, tookMs: null, at },
    })
  }

  async #device(record: LogRecord): Promise<void> {
    if (record.schema !== DEVICE_EVENT) return
    const event = deviceEvent(record)
    if (event?.event !== 'device-changed' || event.state !== 'decommissioned') return
    const count = await this.#options.memories.forgetDevice(event.tenant, event.device)
    if (count > 0)
      this.#options.log.info(
        { tenant: event.tenant, device: event.device, count },
        'what agents remembered of a device that left is forgotten',
      )
  }
}

function deviceEvent(record: LogRecord) {
  try {
    const checked = checkDeviceEvent(JSON.parse(Buffer.from(record.value).toString('utf8')))
    return checked.status === 'valid' ? checked.value : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
