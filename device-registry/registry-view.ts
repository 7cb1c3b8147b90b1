import { CERTIFICATES_COLLECTION, type CertificateRecord } from '../contracts/certificate.ts'
import { DEVICE_EVENT, DeviceEventSchema, type DeviceEvent } from '../contracts/device-event.ts'
import type { Device, DeviceState, DeviceType } from '../contracts/device.ts'
import type { Admission, Expelled, RegistryView, TrustChange } from '../contracts/registry-view.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { utf8Text } from '../kernel/bytes.ts'
import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { compileSchema } from '../kernel/schema.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { Collection, Documents, Filter, Stored } from '../storage/documents/documents.ts'
import type { EventLog, LogRecord } from '../storage/event-log/event-log.ts'
import { openRegistryCollections, type RegistryCollections } from './collections.ts'
import { registryConfig, type RegistryConfig } from './config.ts'
import { KnownDevices, NO_LABELS } from './known-devices.ts'
import { TopicFollower } from '../storage/event-log/topic-follower.ts'

export interface RegistryViewOptions {
  documents: Documents
  eventLog: EventLog
  clock: Clock
  log: Logger
  registryConfig?: RegistryConfig
}

/**
 * The follower begins this long before now and passes over what was there before the load: engines place it only when it first polls,
 * and what came in between must not be missed. More than clocks of one installation differ.
 */
const OVERLAP_MS = 60_000

const checkEvent = compileSchema(DeviceEventSchema)

/**
 * What the doors know, in memory. Loaded at start, then kept up to date from `device-events` by a group of its own. An event takes effect
 * at once (a revoked serial, a state), before anyone is expelled for it; the whole document is fetched after that.
 */
export class FollowingRegistryView implements Service, RegistryView {
  readonly name = 'registry-view'
  readonly #options: RegistryViewOptions
  readonly #config: RegistryConfig
  readonly #known = new KnownDevices()
  readonly #listeners = new Set<(expelled: Expelled) => void>()
  readonly #trustListeners = new Set<(change: TrustChange) => void>()
  /** Ids of documents that have changed and are still to be fetched. */
  readonly #staleDevices = new Set<string>()
  readonly #staleTypes = new Set<string>()
  #starting: Promise<TopicFollower> | undefined
  #certificates: Collection<CertificateRecord> | undefined

  constructor(options: RegistryViewOptions) {
    this.#options = options
    this.#config = options.registryConfig ?? registryConfig()
  }

  async start(): Promise<void> {
    this.#starting ??= this.#load()
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
    this.#known.clear()
    this.#certificates = undefined
    this.#staleDevices.clear()
    this.#staleTypes.clear()
  }

  admit(tenant: string, device: string, serial: string, issuer?: string): Admission {
    if (this.#known.isRevoked(serial, issuer)) return { status: 'refused', reason: 'certificate-revoked' }
    const known = this.#known.device(tenant, device)
    if (known === undefined) return { status: 'refused', reason: 'unknown-device' }
    if (known.state === 'suspended' || known.state === 'decommissioned') return { status: 'refused', reason: known.state }
    return { status: 'admitted', device: known }
  }

  stateOf(tenant: string, device: string): DeviceState | undefined {
    return this.#known.device(tenant, device)?.state
  }

  typeOf(tenant: string, device: string): DeviceType | undefined {
    const known = this.#known.device(tenant, device)
    return known === undefined ? undefined : this.#known.type(tenant, known.type)
  }

  /** A type by name; undefined when there is none. */
  type(tenant: string, type: string): DeviceType | undefined {
    return this.#known.type(tenant, type)
  }

  /** A device's labels: the same object until they change; none of an unknown one. */
  labelsOf(tenant: string, device: string): Readonly<Record<string, string>> {
    return this.#known.device(tenant, device)?.labels ?? NO_LABELS
  }

  /**
   * Is the device without a valid certificate since one of its was revoked? Then nothing is sent to it or kept for it. Asks the store only
   * about devices that were: one that enrolled again is not any more.
   */
  async isCutOff(tenant: string, device: string): Promise<boolean> {
    if (!this.#known.isCutOff(tenant, device) || this.#certificates === undefined) return false
    const filter: Filter = { tenant, device, state: 'valid', notAfter: { $gte: this.#options.clock.nowMs() } }
    if ((await this.#certificates.find(filter, { limit: 1 })).length === 0) return true
    this.#known.reconnect(tenant, device)
    return false
  }

  onExpelled(listener: (expelled: Expelled) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Calls back when a factory CA or a claim changed; answers the way to stop listening. May not throw. */
  onTrustChanged(listener: (change: TrustChange) => void): () => void {
    this.#trustListeners.add(listener)
    return () => this.#trustListeners.delete(listener)
  }

  async #load(): Promise<TopicFollower> {
    const { documents, eventLog, clock, log } = this.#options
    const collections = await openRegistryCollections(documents)
    const certificates = await documents.collection<CertificateRecord>({
      name: CERTIFICATES_COLLECTION,
      indexes: [{ name: 'by-state', paths: ['state', 'notAfter'] }],
    })
    // Documents are durable before their events: what is before these offsets is in what is loaded next.
    const loadedUpTo = await eventLog.bounds(TOPICS.deviceEvents)
    for await (const device of everyOne(collections.devices, {}, this.#config.loadPageDocuments)) this.#known.putDevice(device)
    for await (const type of everyOne(collections.types, {}, this.#config.loadPageDocuments)) this.#known.putType(type)
    // An expired certificate is refused for that; its serial need not be kept.
    const revoked: Filter = { state: 'revoked', notAfter: { $gte: clock.nowMs() } }
    for await (const { serial, issuer, foreignSerial, tenant, device, isLast } of everyOne(
      certificates,
      revoked,
      this.#config.loadPageDocuments,
    )) {
      this.#known.revoke(serial, foreignSerial === undefined ? issuer : undefined)
      if (isLast === true) this.#known.cutOff(tenant, device)
    }
    this.#certificates = certificates

    const isNew = ({ partition, offset }: LogRecord): boolean => offset >= (loadedUpTo.get(partition)?.next ?? 0)
    const nowMs = clock.nowMs()
    const follower = await TopicFollower.join({
      eventLog,
      clock,
      log,
      consumer: { topic: TOPICS.deviceEvents, from: { timestampMs: nowMs - OVERLAP_MS } },
      recordsMax: this.#config.pollRecordsMax,
      retryMs: this.#config.retryMs,
      waitMs: () => (this.#staleDevices.size + this.#staleTypes.size > 0 ? this.#config.retryMs : this.#config.pollWaitMs),
      onRecords: async (records) => {
        for (const record of records) if (isNew(record)) this.#note(record)
        await this.#refresh(collections)
      },
    })
    follower.run()
    return follower
  }

  /** What an event says by itself, at once. One that cannot be read must not hold up a revocation behind it. */
  #note(record: LogRecord): void {
    if (record.schema !== DEVICE_EVENT) return
    const event = readEvent(record)
    if (event === undefined) {
      this.#options.log.error({ partition: record.partition, offset: record.offset }, 'unreadable device event passed over')
      return
    }
    const { tenant } = event
    if (event.event === 'trust-changed') {
      for (const listener of this.#trustListeners) listener({ tenant, kind: event.kind, id: event.id })
      return
    }
    if (event.event === 'device-type-changed') {
      this.#staleTypes.add(deviceKey(tenant, event.type))
      return
    }
    if (event.event === 'finding-opened') return
    const { device } = event
    if (event.event === 'certificate-revoked') {
      const { serial, issuer, reason, at, isLast = false } = event
      this.#known.revoke(serial, issuer)
      if (isLast) this.#known.cutOff(tenant, device)
      this.#expel({ tenant, device, serial, ...(issuer === undefined ? {} : { issuer }), reason, at, isLast })
      return
    }
    this.#known.setState(tenant, device, event.state as DeviceState)
    this.#staleDevices.add(deviceKey(tenant, device))
    if (isBarred(event.state)) this.#expel({ tenant, device, reason: event.state, at: event.at })
  }

  async #refresh({ devices, types }: RegistryCollections): Promise<void> {
    await fetchStale(types, this.#staleTypes, this.#config.loadPageDocuments, (_key, type) => {
      if (type !== undefined) this.#known.putType(type)
    })
    await fetchStale(devices, this.#staleDevices, this.#config.loadPageDocuments, (key, device) => this.#replace(key, device))
  }

  #replace(key: string, device: Device | undefined): void {
    const [tenant, id] = key.split('/') as [string, string]
    const before = this.#known.device(tenant, id)
    if (device === undefined) this.#known.removeDevice(tenant, id)
    else this.#known.putDevice(device)
    // The document may be newer than the event that called for it.
    if (device !== undefined && isBarred(device.state) && before?.state !== device.state)
      this.#expel({ tenant, device: id, reason: device.state })
  }

  #expel(expelled: Expelled): void {
    for (const listener of this.#listeners) {
      try {
        listener(expelled)
      } catch (error) {
        this.#options.log.error({ ...expelled, error: describeError(error) }, 'a door could not expel a device')
      }
    }
  }
}

function isBarred(state: string): boolean {
  return state === 'suspended' || state === 'decommissioned'
}

function readEvent(record: LogRecord): DeviceEvent | undefined {
  try {
    const checked = checkEvent(JSON.parse(utf8Text(record.value)))
    return checked.status === 'valid' ? checked.value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Every matching document in order of id, a page in memory at a time. */
async function* everyOne<T extends object>(collection: Collection<T>, filter: Filter, pageDocuments: number): AsyncGenerator<T & Stored> {
  for (let last: string | undefined; ;) {
    const rest: Filter = last === undefined ? filter : { ...filter, _id: { $gt: last } }
    const page = await collection.find(rest, { sort: { _id: 1 }, limit: pageDocuments })
    yield* page
    if (page.length < pageDocuments) return
    last = page.at(-1)?._id
  }
}

/** Fetches the documents of `ids` and takes those off the list; what could not be fetched stays on it. */
async function fetchStale<T extends object>(
  collection: Collection<T>,
  ids: Set<string>,
  pageDocuments: number,
  take: (id: string, document: (T & Stored) | undefined) => void,
): Promise<void> {
  while (ids.size > 0) {
    const page = [...ids].slice(0, pageDocuments)
    const found = new Map((await collection.find({ _id: { $in: page } })).map((document) => [document._id, document]))
    for (const id of page) {
      ids.delete(id)
      take(id, found.get(id))
    }
  }
}
