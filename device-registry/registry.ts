import { DEFAULT_TENANT, GENERIC_TYPE, type Device, type DeviceState } from '../contracts/device.ts'
import type { Actor, DeviceRegistrar, Provisioning, Registration } from '../contracts/registrar.ts'
import { deviceKey } from '../contracts/topics.ts'
import { ConflictError, InternalError, InvalidInputError, NotFoundError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { Collection, Documents, Filter, Stored } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { Announcements } from './announcements.ts'
import { checkDevice, checkLabels } from './checks.ts'
import { changedMeanwhile, markedChange, openRegistryCollections, viewOf, type DeviceDocument, type View } from './collections.ts'
import { registryConfig, type RegistryConfig } from './config.ts'
import { DeviceTypes, type DeviceTypeInput, type DeviceTypeView } from './device-types.ts'
import { isLegalTransition, statesBefore } from './transitions.ts'

/** `version` is what an ETag carries: it grows with each change of the content. */
export type DeviceView = View<Device>

export type { DeviceTypeInput, DeviceTypeView }

export interface DeviceQuery {
  tenant: string
  type?: string
  state?: DeviceState
  /** Part of the id, any case. */
  text?: string
  /** Page size, at least 1. */
  limit: number
  /** Id of the last device of the page before. */
  after?: string
}

export interface RegistryOptions {
  documents: Documents
  eventLog: EventLog
  clock: Clock
  log: Logger
  registryConfig?: RegistryConfig
}

interface Opened {
  devices: Collection<DeviceDocument>
  deviceTypes: DeviceTypes
  announcements: Announcements
}

/**
 * Devices and their types. Every change is durable first and announced on `device-events` second (see Announcements). The type `generic`
 * is there from a tenant's first use on.
 */
export class Registry implements Service, DeviceRegistrar {
  readonly name = 'registry'
  readonly #options: RegistryOptions
  readonly #config: RegistryConfig
  #opening: Promise<Opened> | undefined
  #opened: Opened | undefined

  constructor(options: RegistryOptions) {
    this.#options = options
    this.#config = options.registryConfig ?? registryConfig()
  }

  /** Announces what a crash left unannounced. */
  async start(): Promise<void> {
    this.#opening ??= this.#open()
    try {
      this.#opened = await this.#opening
    } catch (error) {
      this.#opening = undefined
      throw error
    }
    await this.#opened.deviceTypes.ensureGeneric(DEFAULT_TENANT)
  }

  async stop(): Promise<void> {
    const opening = this.#opening
    this.#opening = undefined
    this.#opened = undefined
    await (await opening)?.announcements.stop()
  }

  /** See DeviceRegistrar. Throws InvalidInputError for what is no device id. */
  async ensureRegistered(tenant: string, device: string, type: string | undefined, by: Actor): Promise<Registration> {
    for (;;) {
      const existing = await this.#require().devices.get(deviceKey(tenant, device))
      if (existing !== null) {
        if (existing.state === 'decommissioned') return { status: 'refused', reason: 'decommissioned' }
        if (type !== undefined && type !== existing.type) return { status: 'refused', reason: 'other-type' }
        return { status: 'registered', device: contentOf(existing), created: false }
      }
      const wanted = type ?? GENERIC_TYPE
      if (!(await this.#require().deviceTypes.has(tenant, wanted))) return { status: 'refused', reason: 'unknown-type' }
      const inserted = await this.#insert(tenant, { id: device, type: wanted, labels: {} }, by)
      if (inserted !== undefined) return { status: 'registered', device: contentOf(inserted), created: true }
    }
  }

  /** See DeviceRegistrar. */
  async markProvisioned(tenant: string, device: string, by: Actor): Promise<Provisioning> {
    for (;;) {
      const found = await this.#require().devices.get(deviceKey(tenant, device))
      if (found === null) return { status: 'refused', reason: 'unknown-device' }
      if (found.state === 'suspended' || found.state === 'decommissioned') return { status: 'refused', reason: found.state }
      if (found.state !== 'registered') return { status: 'provisioned', device: contentOf(found) }
      const moved = await this.#move(found, 'provisioned', by)
      if (moved !== undefined) return { status: 'provisioned', device: contentOf(moved) }
    }
  }

  async findDevice(tenant: string, device: string): Promise<Device | undefined> {
    const found = await this.#require().devices.get(deviceKey(tenant, device))
    return found === null ? undefined : contentOf(found)
  }

  /** A provisioned device's first connection; anything else changes nothing. */
  async markActive(tenant: string, device: string): Promise<void> {
    for (;;) {
      const found = await this.#require().devices.get(deviceKey(tenant, device))
      if (found?.state !== 'provisioned' || (await this.#move(found, 'active', `device:${device}`)) !== undefined) return
    }
  }

  /** Throws ConflictError when it exists, InvalidInputError for an unknown type or what is not a device. */
  async createDevice(tenant: string, input: { id: string; type: string; labels: Record<string, string> }, by: Actor): Promise<DeviceView> {
    if (!(await this.#require().deviceTypes.has(tenant, input.type))) {
      throw new InvalidInputError(`type: there is no device type "${input.type}"`, { details: { field: 'type' } })
    }
    const created = await this.#insert(tenant, input, by)
    if (created === undefined) throw new ConflictError(`device ${input.id} exists already`)
    return viewOf(created)
  }

  /** Throws NotFoundError. */
  async getDevice(tenant: string, device: string): Promise<DeviceView> {
    return viewOf(await this.#existing(tenant, device))
  }

  /** Ordered by id. */
  async listDevices(query: DeviceQuery): Promise<{ items: DeviceView[]; next: string | null }> {
    const { tenant, type, state, text, limit, after } = query
    const id: Filter = {
      ...(after === undefined ? {} : { $gt: after }),
      ...(text === undefined ? {} : { $regex: text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), $options: 'i' }),
    }
    const filter: Filter = {
      tenant,
      ...(type === undefined ? {} : { type }),
      ...(state === undefined ? {} : { state }),
      ...(Object.keys(id).length === 0 ? {} : { id }),
    }
    const found = await this.#require().devices.find(filter, { sort: { id: 1 }, limit: limit + 1 })
    const items = found.slice(0, limit).map((document) => viewOf(document))
    return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null }
  }

  /** Changes labels; with `version`, only when the device has that one. Throws NotFoundError, ConflictError VERSION_MISMATCH. */
  async updateDevice(
    tenant: string,
    device: string,
    change: { labels: Record<string, string> },
    version: number | undefined,
  ): Promise<DeviceView> {
    checkLabels(change.labels, this.#config.labelsMax)
    for (;;) {
      const found = await this.#existing(tenant, device)
      if (version !== undefined && version !== found.revision) throw changedMeanwhile(`device ${device}`)
      const changed = await this.#change(found, { labels: change.labels })
      if (changed !== undefined) return viewOf(changed)
    }
  }

  /** Moves a device to another state. Throws NotFoundError, and ConflictError ILLEGAL_TRANSITION that names both states. */
  async transition(tenant: string, device: string, to: DeviceState, by: Actor): Promise<DeviceView> {
    for (;;) {
      const found = await this.#existing(tenant, device)
      if (found.state === to) return viewOf(found)
      if (!isLegalTransition(found.state, to)) {
        const from = statesBefore(to).join(', ') || 'nowhere'
        const message = `device ${device} is ${found.state} and cannot become ${to}; it can from: ${from}`
        throw new ConflictError(message, { code: 'ILLEGAL_TRANSITION' })
      }
      const moved = await this.#move(found, to, by)
      if (moved !== undefined) return viewOf(moved)
    }
  }

  /** Throws NotFoundError. */
  async getType(tenant: string, type: string): Promise<DeviceTypeView> {
    return this.#require().deviceTypes.get(tenant, type)
  }

  /** Ordered by id. */
  async listTypes(tenant: string): Promise<DeviceTypeView[]> {
    return this.#require().deviceTypes.list(tenant)
  }

  /** Throws ConflictError when it exists, InvalidInputError for what is not a type. */
  async createType(tenant: string, input: DeviceTypeInput): Promise<DeviceTypeView> {
    return this.#require().deviceTypes.create(tenant, input)
  }

  /** Replaces a type's definition. Throws NotFoundError, ConflictError VERSION_MISMATCH, InvalidInputError. */
  async updateType(tenant: string, input: DeviceTypeInput, version: number | undefined): Promise<DeviceTypeView> {
    return this.#require().deviceTypes.update(tenant, input, version)
  }

  async #open(): Promise<Opened> {
    const { documents, eventLog, clock, log } = this.#options
    const collections = await openRegistryCollections(documents)
    const announcements = new Announcements({ collections, eventLog, clock, log, retryMs: this.#config.announceRetryMs })
    try {
      await announcements.settle()
    } catch (error) {
      await announcements.stop()
      throw error
    }
    const deviceTypes = new DeviceTypes({ types: collections.types, announcements, clock })
    return { devices: collections.devices, deviceTypes, announcements }
  }

  async #insert(
    tenant: string,
    input: { id: string; type: string; labels: Record<string, string> },
    by: Actor,
  ): Promise<(DeviceDocument & Stored) | undefined> {
    const { devices, announcements } = this.#require()
    const { id, type, labels } = input
    const nowMs = this.#options.clock.nowMs()
    const device: Device = { id, tenant, type, state: 'registered', labels, createdAt: nowMs, updatedAt: nowMs }
    checkDevice(device, this.#config.labelsMax)
    const result = await devices.insert(deviceKey(tenant, id), { ...device, announced: false, revision: 1 })
    if (result.status === 'conflict') return undefined
    this.#options.log.info({ audit: 'device-registered', tenant, device: id, type, by }, 'device registered')
    await announcements.device(result.document)
    return result.document
  }

  /** Undefined when the device was changed since `found`. */
  async #move(found: DeviceDocument & Stored, to: DeviceState, by: Actor): Promise<(DeviceDocument & Stored) | undefined> {
    const { tenant, id, state } = found
    return this.#change(found, { state: to }, () =>
      this.#options.log.info({ audit: 'device-state', tenant, device: id, from: state, to, by }, 'device changed state'),
    )
  }

  async #change(
    found: DeviceDocument & Stored,
    set: Partial<Device>,
    onDurable: () => void = () => {},
  ): Promise<(DeviceDocument & Stored) | undefined> {
    const { devices, announcements } = this.#require()
    const result = await devices.update(found._id, markedChange(set, this.#options.clock.nowMs()), found.version)
    if (result.status !== 'written') return undefined
    onDurable()
    await announcements.device(result.document)
    return result.document
  }

  async #existing(tenant: string, device: string): Promise<DeviceDocument & Stored> {
    const found = await this.#require().devices.get(deviceKey(tenant, device))
    if (found === null) throw new NotFoundError(`there is no device ${device}`)
    return found
  }

  #require(): Opened {
    if (this.#opened === undefined) throw new InternalError('the registry is used before its start or after its stop')
    return this.#opened
  }
}

function contentOf(document: DeviceDocument & Stored): Device {
  const { version: _version, ...device } = viewOf(document)
  return device
}
