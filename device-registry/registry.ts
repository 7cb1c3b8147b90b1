import { DEVICE_EVENT, type DeviceEvent } from '../contracts/device-event.ts'
import { DEFAULT_TENANT, type Device, type DeviceState, type DeviceType } from '../contracts/device.ts'
import type { Actor, DeviceRegistrar, Provisioning, Registration } from '../contracts/registrar.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { ConflictError, InvalidInputError, NotFoundError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { Collection, Documents, Stored } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { openRegistryCollections, type DeviceDocument, type RegistryCollections } from './collections.ts'
import { genericType } from './generic-type.ts'
import { isLegalTransition, statesBefore } from './transitions.ts'

export type DeviceView = Device & { version: number }
export type DeviceTypeView = DeviceType & { version: number }

export interface DeviceQuery {
  tenant: string
  type?: string
  state?: DeviceState
  /** Part of the id, any case. */
  text?: string
  limit: number
  /** Id of the last device of the page before. */
  after?: string
}

export interface RegistryOptions {
  documents: Documents
  eventLog: EventLog
  clock: Clock
  log: Logger
}

/** What an operator may say of a type. */
export type DeviceTypeInput = Omit<DeviceType, 'tenant' | 'createdAt' | 'updatedAt'>

/**
 * Devices and their types. Every change is durable first and announced on `device-events` second; an announcement that a crash cut off
 * is made at the next start, because the document remembers that it is due.
 */
export class Registry implements Service, DeviceRegistrar {
  readonly name = 'registry'
  readonly #options: RegistryOptions
  #collections: RegistryCollections | undefined

  constructor(options: RegistryOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#collections !== undefined) return
    const collections = await openRegistryCollections(this.#options.documents)
    const nowMs = this.#options.clock.nowMs()
    await collections.types.insert(deviceKey(DEFAULT_TENANT, genericType(DEFAULT_TENANT, nowMs).id), { ...genericType(DEFAULT_TENANT, nowMs), announced: true })
    this.#collections = collections
    for (const device of await collections.devices.find({ announced: false })) await this.#announceDevice(device)
    for (const type of await collections.types.find({ announced: false })) await this.#announceType(type)
  }

  stop(): Promise<void> {
    this.#collections = undefined
    return Promise.resolve()
  }

  /** See DeviceRegistrar. */
  async ensureRegistered(tenant: string, device: string, type: string | undefined, by: Actor): Promise<Registration> {
    const existing = await this.#devices().get(deviceKey(tenant, device))
    if (existing !== null) {
      if (existing.state === 'decommissioned') return { status: 'refused', reason: 'decommissioned' }
      if (type !== undefined && type !== existing.type) return { status: 'refused', reason: 'other-type' }
      return { status: 'registered', device: plain(existing), created: false }
    }
    const wanted = type ?? genericType(tenant, 0).id
    if ((await this.#types().get(deviceKey(tenant, wanted))) === null) return { status: 'refused', reason: 'unknown-type' }
    const inserted = await this.#insert(tenant, device, wanted, {}, by)
    if (inserted === undefined) return this.ensureRegistered(tenant, device, type, by)
    return { status: 'registered', device: plain(inserted), created: true }
  }

  /** See DeviceRegistrar. */
  async markProvisioned(tenant: string, device: string, by: Actor): Promise<Provisioning> {
    const found = await this.#devices().get(deviceKey(tenant, device))
    if (found === null) return { status: 'refused', reason: 'unknown-device' }
    if (found.state === 'suspended' || found.state === 'decommissioned') return { status: 'refused', reason: found.state }
    if (found.state !== 'registered') return { status: 'provisioned', device: plain(found) }
    return { status: 'provisioned', device: await this.transition(tenant, device, 'provisioned', by) }
  }

  async findDevice(tenant: string, device: string): Promise<Device | undefined> {
    const found = await this.#devices().get(deviceKey(tenant, device))
    return found === null ? undefined : plain(found)
  }

  /** A device's first connection; later ones change nothing. */
  async markActive(tenant: string, device: string): Promise<void> {
    const found = await this.#devices().get(deviceKey(tenant, device))
    if (found !== null && isLegalTransition(found.state, 'active') && found.state === 'provisioned') await this.transition(tenant, device, 'active', `device:${device}`)
  }

  /** Throws ConflictError when it exists, InvalidInputError for an unknown type. */
  async createDevice(tenant: string, input: { id: string; type: string; labels: Record<string, string> }, by: Actor): Promise<DeviceView> {
    await this.getType(tenant, input.type).catch((error: unknown) => {
      if (error instanceof NotFoundError) throw new InvalidInputError(`type: there is no device type "${input.type}"`, { cause: error, details: { field: 'type' } })
      throw error
    })
    const created = await this.#insert(tenant, input.id, input.type, input.labels, by)
    if (created === undefined) throw new ConflictError(`device ${input.id} exists already`)
    return plain(created)
  }

  /** Throws NotFoundError. */
  async getDevice(tenant: string, device: string): Promise<DeviceView> {
    return plain(await this.#existing(tenant, device))
  }

  /** Ordered by id. */
  async listDevices(query: DeviceQuery): Promise<{ items: DeviceView[]; next: string | null }> {
    const conditions: object[] = [{ tenant: query.tenant }]
    if (query.type !== undefined) conditions.push({ type: query.type })
    if (query.state !== undefined) conditions.push({ state: query.state })
    if (query.text !== undefined) conditions.push({ id: { $regex: query.text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), $options: 'i' } })
    if (query.after !== undefined) conditions.push({ id: { $gt: query.after } })
    const found = await this.#devices().find({ $and: conditions }, { sort: { id: 1 }, limit: query.limit + 1 })
    const items = found.slice(0, query.limit).map(plain)
    return { items, next: found.length > query.limit ? (items.at(-1)?.id ?? null) : null }
  }

  /** Changes labels. Throws NotFoundError, ConflictError VERSION_MISMATCH. */
  async updateDevice(tenant: string, device: string, change: { labels: Record<string, string> }, version: number | undefined): Promise<DeviceView> {
    const found = await this.#existing(tenant, device)
    const set = { labels: change.labels, updatedAt: this.#options.clock.nowMs(), announced: false }
    const result = await this.#devices().update(found._id, { $set: set }, version)
    if (result.status === 'missing') throw new NotFoundError(`there is no device ${device}`)
    if (result.status === 'conflict') throw new ConflictError(`device ${device} was changed meanwhile`, { code: 'VERSION_MISMATCH' })
    return plain(await this.#announceDevice(result.document))
  }

  /** Moves a device to another state. Throws NotFoundError, and ConflictError where the move makes no sense. */
  async transition(tenant: string, device: string, to: DeviceState, by: Actor): Promise<DeviceView> {
    for (;;) {
      const found = await this.#existing(tenant, device)
      if (found.state === to) return plain(found)
      if (!isLegalTransition(found.state, to)) {
        throw new ConflictError(`device ${device} is ${found.state} and cannot become ${to}; it can from: ${statesBefore(to).join(', ') || 'nowhere'}`, { code: 'ILLEGAL_TRANSITION' })
      }
      const change = { $set: { state: to, updatedAt: this.#options.clock.nowMs(), announced: false } }
      const result = await this.#devices().update(found._id, change, found.version)
      if (result.status !== 'written') continue
      this.#options.log.info({ audit: 'device-state', tenant, device, from: found.state, to, by }, 'device changed state')
      return plain(await this.#announceDevice(result.document))
    }
  }

  /** Throws NotFoundError. */
  async getType(tenant: string, type: string): Promise<DeviceTypeView> {
    const found = await this.#types().get(deviceKey(tenant, type))
    if (found === null) throw new NotFoundError(`there is no device type ${type}`)
    return plain(found)
  }

  async listTypes(tenant: string): Promise<DeviceTypeView[]> {
    return (await this.#types().find({ tenant }, { sort: { id: 1 } })).map(plain)
  }

  /** Creates a type; throws ConflictError when it exists. */
  async createType(tenant: string, input: DeviceTypeInput): Promise<DeviceTypeView> {
    const nowMs = this.#options.clock.nowMs()
    const result = await this.#types().insert(deviceKey(tenant, input.id), { ...input, tenant, createdAt: nowMs, updatedAt: nowMs, announced: false })
    if (result.status === 'conflict') throw new ConflictError(`device type ${input.id} exists already`)
    return plain(await this.#announceType(result.document))
  }

  /** Replaces a type's definition. Throws NotFoundError, ConflictError VERSION_MISMATCH. */
  async updateType(tenant: string, input: DeviceTypeInput, version: number | undefined): Promise<DeviceTypeView> {
    const set = { ...input, updatedAt: this.#options.clock.nowMs(), announced: false }
    const result = await this.#types().update(deviceKey(tenant, input.id), { $set: set }, version)
    if (result.status === 'missing') throw new NotFoundError(`there is no device type ${input.id}`)
    if (result.status === 'conflict') throw new ConflictError(`device type ${input.id} was changed meanwhile`, { code: 'VERSION_MISMATCH' })
    return plain(await this.#announceType(result.document))
  }

  async #insert(tenant: string, id: string, type: string, labels: Record<string, string>, by: Actor): Promise<(DeviceDocument & Stored) | undefined> {
    const nowMs = this.#options.clock.nowMs()
    const device: DeviceDocument = { id, tenant, type, state: 'registered', labels, createdAt: nowMs, updatedAt: nowMs, announced: false }
    const result = await this.#devices().insert(deviceKey(tenant, id), device)
    if (result.status === 'conflict') return undefined
    this.#options.log.info({ audit: 'device-registered', tenant, device: id, type, by }, 'device registered')
    return this.#announceDevice(result.document)
  }

  async #existing(tenant: string, device: string): Promise<DeviceDocument & Stored> {
    const found = await this.#devices().get(deviceKey(tenant, device))
    if (found === null) throw new NotFoundError(`there is no device ${device}`)
    return found
  }

  async #announceDevice(device: DeviceDocument & Stored): Promise<DeviceDocument & Stored> {
    const { tenant, id, type, state } = device
    await this.#append(tenant, id, { event: 'device-changed', tenant, device: id, type, state, at: this.#options.clock.nowMs() })
    return announced(this.#devices(), device)
  }

  async #announceType<T extends DeviceType & { announced: boolean } & Stored>(type: T): Promise<T> {
    await this.#append(type.tenant, type.id, { event: 'device-type-changed', tenant: type.tenant, type: type.id, at: this.#options.clock.nowMs() })
    return (await announced(this.#types(), type)) as T
  }

  async #append(tenant: string, subject: string, event: DeviceEvent): Promise<void> {
    await this.#options.eventLog.append(TOPICS.deviceEvents, [{ key: deviceKey(tenant, subject), schema: DEVICE_EVENT, value: jsonBytes(event) }])
  }

  #devices(): RegistryCollections['devices'] {
    if (this.#collections === undefined) throw new TypeError('Registry.start was not called')
    return this.#collections.devices
  }

  #types(): RegistryCollections['types'] {
    if (this.#collections === undefined) throw new TypeError('Registry.start was not called')
    return this.#collections.types
  }
}

/** Notes that the announcement was made, unless a newer change is due its own. */
async function announced<T extends { announced: boolean }>(collection: Collection<T>, document: T & Stored): Promise<T & Stored> {
  const result = await collection.update(document._id, { $set: { announced: true } }, document.version)
  return result.status === 'written' ? result.document : document
}

/** The document without what is only for the store. */
function plain<T extends { announced: boolean } & Stored>(document: T): Omit<T, 'announced' | '_id'> {
  const { announced: _announced, _id, ...rest } = document
  return rest
}
