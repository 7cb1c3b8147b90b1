import { DEVICE_MESSAGE, type DeviceMessage } from '../../contracts/device-message.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { InternalError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import { TopicFollower } from '../../storage/event-log/topic-follower.ts'
import type { PostureConfig } from './config.ts'

/** What connections told of one certificate that is worth telling; times in epoch ms. */
export interface Sighting {
  serial: string
  tenant: string
  device: string
  /** It was shown after it was revoked. `count`: as often as a listener told, which is less than it happened. */
  revokedSeen: { lastAt: number; count: number; address: string } | null
  /** It was used in several places in turn. */
  shared: { lastAt: number; addresses: string[] } | null
  /** Of the two, the later; sightings are dropped by it. */
  lastAt: number
}

const GROUP = 'posture'
/** Certificates whose last addresses are remembered; the longest idle go first. */
const FOLLOWED_MAX = 20_000
/** Connections of one certificate that are compared. */
const CONNECTIONS_MAX = 16
const ADDRESSES_MAX = 8

export async function openSightings(documents: Documents): Promise<Collection<Sighting>> {
  return documents.collection<Sighting>({ name: 'certificate-sightings', indexes: [{ name: 'by-time', paths: ['lastAt'] }] })
}

export interface SightingsOptions {
  documents: Documents
  eventLog: EventLog
  config: PostureConfig
  clock: Clock
  log: Logger
}

/**
 * Notes, from what edges say on `device-events`, certificates that are shown although they are revoked, and certificates that are used in
 * several places in turn. Ordinary connections cost no write: their addresses are compared in memory, and forgotten by a restart.
 */
export class Sightings implements Service {
  readonly name = 'certificate-sightings'
  readonly #options: SightingsOptions
  readonly #recent = new Map<string, { at: number; address: string }[]>()
  #collection: Collection<Sighting> | undefined
  #follower: TopicFollower | undefined

  constructor(options: SightingsOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#follower !== undefined) return
    const { documents, eventLog, clock, log, config } = this.#options
    this.#collection = await openSightings(documents)
    this.#follower = await TopicFollower.join({
      ...{ eventLog, clock, log },
      consumer: { group: GROUP, topic: TOPICS.deviceEvents, from: 'earliest' },
      recordsMax: config.pollRecordsMax,
      retryMs: config.retryMs,
      waitMs: () => config.pollWaitMs,
      onRecords: async (records, consumer, signal) => {
        if (records.length === 0) return
        try {
          for (const record of records) if (!signal.aborted) await this.#note(record)
          await consumer.commit(new Map(records.map((record) => [record.partition, record.offset + 1])))
        } catch (error) {
          if (!signal.aborted) for (const record of records.toReversed()) consumer.seek(record.partition, record.offset)
          throw error
        }
      },
    })
    this.#follower.run()
  }

  async stop(): Promise<void> {
    await this.#follower?.stop()
    this.#follower = undefined
    this.#recent.clear()
  }

  async #note(record: LogRecord): Promise<void> {
    if (record.schema !== DEVICE_MESSAGE) return
    const told = readMessage(record)
    if (told === undefined) return
    if (told.kind === 'certificate-refused')
      await this.#put(told, (now) => ({
        revokedSeen: { lastAt: told.at, count: (now?.revokedSeen?.count ?? 0) + 1, address: told.address },
      }))
    else if (told.kind === 'connected') await this.#noteConnection(told)
  }

  async #noteConnection(told: Told): Promise<void> {
    const { sharedWindowMs, sharedReturnsMin } = this.#options.config
    const before = this.#recent.get(told.serial) ?? []
    const connections = [...before, { at: told.at, address: told.address }]
      .filter(({ at }) => at >= told.at - sharedWindowMs)
      .slice(-CONNECTIONS_MAX)
    this.#recent.delete(told.serial)
    this.#recent.set(told.serial, connections)
    const oldest = this.#recent.keys().next().value
    if (this.#recent.size > FOLLOWED_MAX && oldest !== undefined) this.#recent.delete(oldest)
    if (returnsIn(connections.map(({ address }) => address)) < sharedReturnsMin) return
    const addresses = [...new Set(connections.map(({ address }) => address))].slice(0, ADDRESSES_MAX)
    await this.#put(told, () => ({ shared: { lastAt: told.at, addresses } }))
    this.#recent.delete(told.serial)
  }

  async #put({ serial, tenant, device, at }: Told, change: (now: Sighting | null) => Partial<Sighting>): Promise<void> {
    if (this.#collection === undefined) throw new InternalError('sightings are noted before their start')
    const now = await this.#collection.get(serial)
    const {
      _id,
      version: _version,
      ...known
    } = now ?? ({ serial, tenant, device, revokedSeen: null, shared: null } as Partial<Sighting & Stored>)
    await this.#collection.put(serial, { ...(known as Sighting), ...change(now), lastAt: at })
  }
}

/** How often an address comes back after another one. */
export function returnsIn(addresses: readonly string[]): number {
  const seen = new Set<string>()
  let returns = 0
  for (const [index, address] of addresses.entries()) {
    if (index > 0 && address !== addresses[index - 1] && seen.has(address)) returns++
    seen.add(address)
  }
  return returns
}

interface Told {
  kind: DeviceMessage['kind']
  tenant: string
  device: string
  serial: string
  at: number
  address: string
}

function readMessage(record: LogRecord): Told | undefined {
  try {
    const { kind, tenant, device, serial, receivedAt, body } = (JSON.parse(utf8Text(record.value)) as Partial<DeviceMessage> | null) ?? {}
    const address = (body as { remoteAddress?: unknown } | null | undefined)?.remoteAddress
    if (kind === undefined || tenant === undefined || device === undefined || serial === undefined || receivedAt === undefined)
      return undefined
    return typeof address === 'string' ? { kind, tenant, device, serial, at: receivedAt, address } : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
