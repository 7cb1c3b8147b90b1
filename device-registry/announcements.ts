import type { AuditTrail } from '../contracts/audit.ts'
import type { DeviceTransition } from '../contracts/device.ts'
import { DEVICE_EVENT, type DeviceEvent } from '../contracts/device-event.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Clock, Timer } from '../kernel/time.ts'
import type { Collection, Stored } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import type { DeviceDocument, DeviceTypeDocument, Kept, RegistryCollections } from './collections.ts'
import { actOf } from './steps.ts'

export interface AnnouncementsOptions {
  collections: RegistryCollections
  eventLog: EventLog
  clock: Clock
  log: Logger
  retryMs: number
  /** Where the steps of devices are recorded; without it nothing is owed to it. */
  audit: AuditTrail | undefined
}

/** Documents announced per search for owed ones. */
const OWED_PAGE_DOCUMENTS = 200

/**
 * Tells `device-events` what changed, at least once. A change is written with `announced: false`; its event is appended; then the mark is
 * taken away, unless a newer change has set it again. Whatever comes between leaves the mark, and `settle` makes up for it: at
 * start, and after a while when the log failed. An event tells that something changed; readers look the document up.
 * The audit trail is owed the steps of devices in the same way (`unaudited`): at least once, each with its number.
 */
export class Announcements {
  readonly #options: AnnouncementsOptions
  #timer: Timer | undefined
  #settling: Promise<void> | undefined
  #stopped = false

  constructor(options: AnnouncementsOptions) {
    this.#options = options
  }

  /**
   * Resolves when the event is durable, and `step`, if that is what changed, is in the audit trail. When one of them fails it throws, and
   * both are made up for later all the same.
   */
  async device(document: DeviceDocument & Stored, step?: DeviceTransition): Promise<void> {
    const { tenant, id, type, state } = document
    const event: DeviceEvent = { event: 'device-changed', tenant, device: id, type, state, at: document.updatedAt }
    const { audit } = this.#options
    const owed = audit === undefined ? undefined : step
    try {
      // Both are waited for: a trail that takes nothing keeps no door from being told, nor the other way round.
      const [told, kept] = await Promise.allSettled([
        this.#append(deviceKey(tenant, id), event),
        owed === undefined ? undefined : audit?.record(actOf(tenant, id, owed)),
      ])
      await this.#mark(document, told.status === 'fulfilled', kept.status === 'fulfilled' ? owed : undefined)
      for (const result of [told, kept]) if (result.status === 'rejected') throw result.reason
    } catch (error) {
      this.#settleLater()
      throw error
    }
  }

  /** As `device`. */
  async type(document: DeviceTypeDocument & Stored): Promise<void> {
    const { tenant, id, updatedAt } = document
    try {
      await this.#append(deviceKey(tenant, id), { event: 'device-type-changed', tenant, type: id, at: updatedAt })
      await this.#options.collections.types.update(document._id, { $set: { announced: true } }, document.version)
    } catch (error) {
      this.#settleLater()
      throw error
    }
  }

  /** Announces every change that is still owed. */
  async settle(): Promise<void> {
    const { devices, types } = this.#options.collections
    while (!this.#stopped) {
      const owedDevices = await owed(devices)
      const owedTypes = await owed(types)
      const unaudited =
        this.#options.audit === undefined ? [] : await devices.find({ unaudited: { $gt: 0 } }, { limit: OWED_PAGE_DOCUMENTS })
      if (owedDevices.length + owedTypes.length + unaudited.length === 0) return
      for (const document of owedDevices) await this.device(document)
      for (const document of owedTypes) await this.type(document)
      for (const document of unaudited) {
        await this.#audit(
          document,
          (document.history ?? []).filter(({ step }) => document.unaudited?.includes(step) === true),
        )
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#settling
  }

  /** What is not owed any more. */
  async #mark({ _id, version }: DeviceDocument & Stored, announced: boolean, audited: DeviceTransition | undefined): Promise<void> {
    const { devices } = this.#options.collections
    const paid = audited === undefined ? undefined : { $pull: { unaudited: audited.step } }
    const marked = announced ? await devices.update(_id, { $set: { announced }, ...paid }, version) : undefined
    // A newer change is announced by itself; this step is in the trail all the same.
    if (marked?.status !== 'written' && paid !== undefined) await devices.update(_id, paid)
  }

  async #append(key: string, event: DeviceEvent): Promise<void> {
    await this.#options.eventLog.append(TOPICS.deviceEvents, [{ key, schema: DEVICE_EVENT, value: jsonBytes(event) }])
  }

  async #audit({ _id, tenant, id }: DeviceDocument & Stored, steps: readonly DeviceTransition[]): Promise<void> {
    const { audit, collections } = this.#options
    if (audit === undefined) return
    try {
      for (const step of steps) {
        await audit.record(actOf(tenant, id, step))
        await collections.devices.update(_id, { $pull: { unaudited: step.step } })
      }
    } catch (error) {
      this.#settleLater()
      throw error
    }
  }

  #settleLater(): void {
    if (this.#stopped || this.#timer !== undefined) return
    this.#timer = this.#options.clock.after(this.#options.retryMs, () => {
      this.#timer = undefined
      this.#settling = this.settle().catch((error: unknown) => {
        this.#options.log.warn({ error: describeError(error) }, 'changed devices still wait to be announced')
        this.#settleLater()
      })
    })
  }
}

function owed<T extends object & Kept>(collection: Collection<T>): Promise<(T & Stored)[]> {
  return collection.find({ announced: false }, { limit: OWED_PAGE_DOCUMENTS })
}
