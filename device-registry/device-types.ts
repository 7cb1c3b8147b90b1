import { GENERIC_TYPE, isDeviceId, type DeviceType } from '../contracts/device.ts'
import { deviceKey } from '../contracts/topics.ts'
import { ConflictError, NotFoundError } from '../kernel/errors.ts'
import type { Clock } from '../kernel/time.ts'
import type { Collection, Stored } from '../storage/documents/documents.ts'
import type { Announcements } from './announcements.ts'
import { checkType } from './checks.ts'
import { changedMeanwhile, markedChange, viewOf, type DeviceTypeDocument, type View } from './collections.ts'
import { genericType } from './generic-type.ts'

/** `version` is what an ETag carries: it grows with each change of the content. */
export type DeviceTypeView = View<DeviceType>

/** What an operator may say of a type. */
export type DeviceTypeInput = Omit<DeviceType, 'tenant' | 'createdAt' | 'updatedAt'>

/** The device types of all tenants. `generic` is there from a tenant's first use on. */
export class DeviceTypes {
  readonly #types: Collection<DeviceTypeDocument>
  readonly #announcements: Announcements
  readonly #clock: Clock

  constructor(options: { types: Collection<DeviceTypeDocument>; announcements: Announcements; clock: Clock }) {
    this.#types = options.types
    this.#announcements = options.announcements
    this.#clock = options.clock
  }

  async ensureGeneric(tenant: string): Promise<void> {
    if ((await this.#types.get(deviceKey(tenant, GENERIC_TYPE))) === null) await this.#insert(genericType(tenant, this.#clock.nowMs()))
  }

  async has(tenant: string, type: string): Promise<boolean> {
    return (await this.#find(tenant, type)) !== null
  }

  /** Throws NotFoundError. */
  async get(tenant: string, type: string): Promise<DeviceTypeView> {
    return viewOf(await this.#existing(tenant, type))
  }

  /** Ordered by id. */
  async list(tenant: string): Promise<DeviceTypeView[]> {
    await this.ensureGeneric(tenant)
    return (await this.#types.find({ tenant }, { sort: { id: 1 } })).map((document) => viewOf(document))
  }

  /** Throws ConflictError when it exists, InvalidInputError for what is not a type. */
  async create(tenant: string, input: DeviceTypeInput): Promise<DeviceTypeView> {
    const created = await this.#insert(newType(tenant, input, this.#clock.nowMs()))
    if (created === undefined) throw new ConflictError(`device type ${input.id} exists already`)
    return viewOf(created)
  }

  /** Replaces the definition. Throws NotFoundError, ConflictError VERSION_MISMATCH, InvalidInputError. */
  async update(tenant: string, input: DeviceTypeInput, version: number | undefined): Promise<DeviceTypeView> {
    const nowMs = this.#clock.nowMs()
    checkType(newType(tenant, input, nowMs))
    for (;;) {
      const found = await this.#existing(tenant, input.id)
      if (version !== undefined && version !== found.revision) throw changedMeanwhile(`device type ${input.id}`)
      const result = await this.#types.update(found._id, markedChange({ ...input }, nowMs), found.version)
      if (result.status !== 'written') continue
      await this.#announcements.type(result.document)
      return viewOf(result.document)
    }
  }

  async #insert(type: DeviceType): Promise<(DeviceTypeDocument & Stored) | undefined> {
    checkType(type)
    const result = await this.#types.insert(deviceKey(type.tenant, type.id), { ...type, announced: false, revision: 1 })
    if (result.status === 'conflict') return undefined
    await this.#announcements.type(result.document)
    return result.document
  }

  async #find(tenant: string, type: string): Promise<(DeviceTypeDocument & Stored) | null> {
    if (!isDeviceId(type)) return null
    if (type === GENERIC_TYPE) await this.ensureGeneric(tenant)
    return this.#types.get(deviceKey(tenant, type))
  }

  async #existing(tenant: string, type: string): Promise<DeviceTypeDocument & Stored> {
    const found = await this.#find(tenant, type)
    if (found === null) throw new NotFoundError(`there is no device type ${type}`)
    return found
  }
}

function newType(tenant: string, input: DeviceTypeInput, nowMs: number): DeviceType {
  return { ...input, tenant, createdAt: nowMs, updatedAt: nowMs }
}
