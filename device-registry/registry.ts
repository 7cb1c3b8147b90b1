import type { AuditTrail } from '../contracts/audit.ts'
import { DEFAULT_TENANT, GENERIC_TYPE, type Device, type DeviceState, type DeviceTransition } from '../contracts/device.ts'
import type { Actor, Assigned, DeviceRegistrar, Provisioning, Registration } from '../contracts/registrar.ts'
import { deviceKey } from '../contracts/topics.ts'
import { ConflictError, InternalError, InvalidInputError, NotFoundError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { Collection, Documents, Filter, Stored, Update } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { Announcements } from './announcements.ts'
import { checkDevice, checkLabels, checkWhy } from './checks.ts'
import { changedMeanwhile, markedChange, openRegistryCollections, viewOf, type DeviceDocument, type View } from './collections.ts'
import { registryConfig, type RegistryConfig } from './config.ts'
import { DeviceTypes, type DeviceTypeInput, type DeviceTypeView } from './device-types.ts'
import { firstStep, nextStep, stepUpdate, type StepNote } from './steps.ts'
import { isHeld, isLegalTransition, mayBecome, returnOf, statesBefore, type RoadState, type Standing } from './transitions.ts'

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
  /** Every step of a device's life is recorded there. */
  auditTrail?: AuditTrail
}

/** What may be said of a transition that is asked for. */
export interface TransitionNote extends StepNote {
  /** Only when the device has this version (ETag). */
  version?: number
}

export interface NewDevice {
  id: string
  type: string
  labels: Record<string, string>
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
  async ensureRegistered(tenant: string, device: string, type: string | undefined, by: Actor, assigned?: Assigned): Promise<Registration> {
    for (;;) {
      const existing = await this.#require().devices.get(deviceKey(tenant, device))
      if (existing !== null) {
        const { state } = existing
        if (state === 'decommissioning' || state === 'decommissioned') return { status: 'refused', reason: state }
        const change = assigned === undefined ? {} : assignment(existing, type, assigned)
        if (type !== undefined && type !== (change.type ?? existing.type)) return { status: 'refused', reason: 'other-type' }
        if (Object.keys(change).length === 0) return { status: 'registered', device: contentOf(existing), created: false }
        if (change.type !== undefined && !(await this.#require().deviceTypes.has(tenant, change.type))) {
          return { status: 'refused', reason: 'unknown-type' }
        }
        if (change.labels !== undefined) checkLabels(change.labels, this.#config.labelsMax)
        const changed = await this.#change(existing, markedChange(change, this.#options.clock.nowMs()))
        if (changed === undefined) continue
        return { status: 'registered', device: contentOf(changed), created: false }
      }
      const wanted = type ?? GENERIC_TYPE
      if (!(await this.#require().deviceTypes.has(tenant, wanted))) return { status: 'refused', reason: 'unknown-type' }
      const input = { id: device, type: wanted, labels: assigned?.labels ?? {} }
      const inserted = await this.#insert(tenant, input, by, { why: 'first heard of' })
      if (inserted !== undefined) return { status: 'registered', device: contentOf(inserted), created: true }
    }
  }

  /** See DeviceRegistrar. */
  async markProvisioned(tenant: string, device: string, by: Actor): Promise<Provisioning> {
    for (;;) {
      const found = await this.#require().devices.get(deviceKey(tenant, device))
      if (found === null) return { status: 'refused', reason: 'unknown-device' }
      const { state } = found
      if (state === 'suspended' || state === 'decommissioning' || state === 'decommissioned') return { status: 'refused', reason: state }
      const isFirst = state === 'registered' || (state === 'quarantined' && found.heldFrom === 'registered')
      if (!isFirst) return { status: 'provisioned', device: contentOf(found) }
      const moved = await this.#goOn(found, 'provisioned', by, 'first certificate issued')
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
      const isFirst = found?.state === 'provisioned' || (found?.state === 'quarantined' && found.heldFrom === 'provisioned')
      if (!isFirst || (await this.#goOn(found, 'active', `device:${device}`, 'first connection')) !== undefined) return
    }
  }

  /** Throws ConflictError when it exists, InvalidInputError for an unknown type or what is not a device. */
  async createDevice(tenant: string, input: NewDevice, by: Actor, note: StepNote = {}): Promise<DeviceView> {
    if (!(await this.#require().deviceTypes.has(tenant, input.type))) {
      throw new InvalidInputError(`type: there is no device type "${input.type}"`, { details: { field: 'type' } })
    }
    const created = await this.#insert(tenant, input, by, note)
    if (created === undefined) throw new ConflictError(`device ${input.id} exists already`)
    return viewOf(created)
  }

  /** Throws NotFoundError. */
  async getDevice(tenant: string, device: string): Promise<DeviceView> {
    return viewOf(await this.#existing(tenant, device))
  }

  /** The type of a device; null for one that is unknown or has left. */
  async typeInUse(tenant: string, device: string): Promise<string | null> {
    const found = await this.#require().devices.get(deviceKey(tenant, device))
    return found === null || found.state === 'decommissioned' ? null : found.type
  }

  /** The operator's labels of a device; none for an unknown one. */
  async labelsOf(tenant: string, device: string): Promise<Record<string, string>> {
    return (await this.#require().devices.get(deviceKey(tenant, device)))?.labels ?? {}
  }

  /** Those that have not left. */
  async countDevices(tenant: string): Promise<number> {
    return this.#require().devices.count({ tenant, state: { $ne: 'decommissioned' } })
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

  /** Ids of devices of a type that have not left, in order, at most `max`; with a label, only those that have it. */
  async idsOf(tenant: string, type: string, label: { label: string; value: string } | null, max: number): Promise<string[]> {
    const ids: string[] = []
    let after = ''
    for (;;) {
      const filter: Filter = { tenant, type, state: { $ne: 'decommissioned' }, id: { $gt: after } }
      const page = await this.#require().devices.find(filter, { sort: { id: 1 }, limit: this.#config.loadPageDocuments })
      for (const { id, labels } of page) if (ids.length < max && (label === null || labels[label.label] === label.value)) ids.push(id)
      after = page.at(-1)?.id ?? ''
      if (page.length < this.#config.loadPageDocuments || ids.length >= max) return ids
    }
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
      const changed = await this.#change(found, markedChange({ labels: change.labels }, this.#options.clock.nowMs()))
      if (changed !== undefined) return viewOf(changed)
    }
  }

  /**
   * Moves a device to another state; where it is there already, nothing changes. `active` takes a suspended or quarantined device back to
   * where it was before, which is earlier in its life when it never connected. Throws NotFoundError; InvalidInputError for a reason that is too
   * long; ConflictError: ILLEGAL_TRANSITION, naming both states and from where it can; CONFLICT when another transition came first;
   * VERSION_MISMATCH.
   */
  async transition(tenant: string, device: string, to: DeviceState, by: Actor, note: TransitionNote = {}): Promise<DeviceView> {
    checkWhy(note.why)
    let before: DeviceState | undefined
    for (;;) {
      const found = await this.#existing(tenant, device)
      if (note.version !== undefined && note.version !== found.revision) throw changedMeanwhile(`device ${device}`)
      const target = to === 'active' && isHeld(found.state) ? returnOf(found) : to
      if (found.state === target) return viewOf(found)
      // Whoever asked had another state before them: of two transitions at once one wins, and the other one is told.
      if (before !== undefined && found.state !== before) throw overtaken(device, before, found.state, to)
      if (!mayBecome(found, target)) throw illegal(device, found, target)
      before = found.state
      const moved = await this.#step(found, target, by, note)
      if (moved !== undefined) return viewOf(moved)
    }
  }

  /** The steps of its life, newest first, as far back as they are kept. Throws NotFoundError. */
  async history(tenant: string, device: string): Promise<DeviceTransition[]> {
    return (await this.#existing(tenant, device)).history?.toReversed() ?? []
  }

  /** Is there such a type in the tenant? */
  async hasType(tenant: string, type: string): Promise<boolean> {
    return this.#require().deviceTypes.has(tenant, type)
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
    const retryMs = this.#config.announceRetryMs
    const announcements = new Announcements({ collections, eventLog, clock, log, retryMs, audit: this.#options.auditTrail })
    try {
      await announcements.settle()
    } catch (error) {
      await announcements.stop()
      throw error
    }
    const deviceTypes = new DeviceTypes({ types: collections.types, announcements, clock })
    return { devices: collections.devices, deviceTypes, announcements }
  }

  async #insert(tenant: string, input: NewDevice, by: Actor, note: StepNote): Promise<(DeviceDocument & Stored) | undefined> {
    const { devices, announcements } = this.#require()
    const { id, type, labels } = input
    const nowMs = this.#options.clock.nowMs()
    const device: Device = { id, tenant, type, state: 'registered', labels, createdAt: nowMs, updatedAt: nowMs }
    checkDevice(device, this.#config.labelsMax)
    const step = firstStep(by, note, nowMs)
    const unaudited = this.#options.auditTrail === undefined ? [] : [step.step]
    const result = await devices.insert(deviceKey(tenant, id), { ...device, history: [step], unaudited, announced: false, revision: 1 })
    if (result.status === 'conflict') return undefined
    this.#options.log.debug({ audit: 'device-registered', tenant, device: id, type, by }, 'device registered')
    await announcements.device(result.document, step)
    return result.document
  }

  /** Undefined when the device was changed since `found`. */
  #step(found: DeviceDocument & Stored, to: DeviceState, by: Actor, note: StepNote): Promise<(DeviceDocument & Stored) | undefined> {
    const step = nextStep(found, to, by, note, this.#options.clock.nowMs())
    return this.#change(found, stepUpdate(found, step, this.#config.historyMax, this.#options.auditTrail !== undefined), step)
  }

  /** A step by itself along the road; a quarantined device stays so, and only where it goes back to moves on. */
  #goOn(found: DeviceDocument & Stored, to: RoadState, by: Actor, why: string): Promise<(DeviceDocument & Stored) | undefined> {
    if (!isHeld(found.state)) return this.#step(found, to, by, { why })
    return this.#change(found, markedChange({ heldFrom: to }, this.#options.clock.nowMs()))
  }

  async #change(found: DeviceDocument & Stored, update: Update, step?: DeviceTransition): Promise<(DeviceDocument & Stored) | undefined> {
    const { devices, announcements } = this.#require()
    const result = await devices.update(found._id, update, found.version)
    if (result.status !== 'written') return undefined
    if (step !== undefined) {
      const { tenant, id } = found
      const { from, to, by, why } = step
      this.#options.log.debug({ audit: 'device-state', tenant, device: id, from, to, by, why }, 'device changed state')
    }
    await announcements.device(result.document, step)
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

function illegal(device: string, { state, heldFrom }: Standing, to: DeviceState): ConflictError {
  const from = statesBefore(to).join(', ') || 'nowhere'
  const back = isHeld(state) && isLegalTransition(state, to) ? `; it was ${returnOf({ state, heldFrom })} before and goes back there` : ''
  const message = `device ${device} is ${state} and cannot become ${to}${back}; a device can from: ${from}`
  return new ConflictError(message, { code: 'ILLEGAL_TRANSITION', details: { from: state, to } })
}

function overtaken(device: string, before: DeviceState, now: DeviceState, to: DeviceState): ConflictError {
  return new ConflictError(`device ${device} was ${before} and became ${now} by another request before it could become ${to}`, {
    remedy: 'Read it again and decide anew.',
    details: { from: now, to },
  })
}

function contentOf(document: DeviceDocument & Stored): Device {
  const { version: _version, ...device } = viewOf(document)
  return device
}

/** What a door's decision changes of a device that has no certificate yet. */
function assignment(existing: Device, type: string | undefined, { labels }: Assigned): Partial<Pick<Device, 'type' | 'labels'>> {
  if (existing.state !== 'registered') return {}
  const addsLabels = Object.entries(labels).some(([name, value]) => existing.labels[name] !== value)
  const retypes = type !== undefined && existing.type === GENERIC_TYPE && type !== GENERIC_TYPE
  return { ...(addsLabels ? { labels: { ...existing.labels, ...labels } } : {}), ...(retypes ? { type } : {}) }
}
