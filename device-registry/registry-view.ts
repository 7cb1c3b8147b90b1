import { CERTIFICATES_COLLECTION, type CertificateRecord } from '../contracts/certificate.ts'
import { DEVICE_EVENT, type DeviceEvent } from '../contracts/device-event.ts'
import type { Device, DeviceType } from '../contracts/device.ts'
import type { Admission, RegistryView } from '../contracts/registry-view.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { utf8Text } from '../kernel/bytes.ts'
import { describeError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { Logger } from '../kernel/log.ts'
import type { Service } from '../kernel/service.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import type { Consumer, EventLog, LogRecord } from '../storage/event-log/event-log.ts'
import { openRegistryCollections, type RegistryCollections } from './collections.ts'

type Expelled = Parameters<Parameters<RegistryView['onExpelled']>[0]>[0]

const POLL_RECORDS_MAX = 500
const POLL_WAIT_MS = 1_000
const RETRY_MS = 200

/** What the doors know, in memory. It begins to follow events before it loads, so that no change falls between. */
export class FollowingRegistryView implements Service, RegistryView {
  readonly name = 'registry-view'
  readonly #options: { documents: Documents; eventLog: EventLog; clock: Clock; log: Logger }
  readonly #devices = new Map<string, Device>()
  readonly #types = new Map<string, DeviceType>()
  readonly #revoked = new Set<string>()
  readonly #listeners = new Set<(expelled: Expelled) => void>()
  #collections: RegistryCollections | undefined
  #consumer: Consumer | undefined
  #loop: Promise<void> | undefined
  readonly #stopping = new AbortController()

  constructor(options: { documents: Documents; eventLog: EventLog; clock: Clock; log: Logger }) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#consumer !== undefined) return
    const { documents, eventLog, clock } = this.#options
    this.#collections = await openRegistryCollections(documents)
    this.#consumer = await eventLog.consume({ group: `registry-view-${newId(clock.nowMs())}`, topic: TOPICS.deviceEvents, from: 'latest' })
    for (const device of await this.#collections.devices.find({})) this.#devices.set(deviceKey(device.tenant, device.id), device)
    for (const type of await this.#collections.types.find({})) this.#types.set(deviceKey(type.tenant, type.id), type)
    const certificates = await documents.collection<CertificateRecord>({ name: CERTIFICATES_COLLECTION, indexes: [{ name: 'by-state', paths: ['state', 'notAfter'] }] })
    for (const certificate of await certificates.find({ state: 'revoked' })) this.#revoked.add(certificate.serial)
    this.#loop = this.#follow(this.#consumer)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#consumer?.close()
    await this.#loop
    this.#consumer = undefined
  }

  admit(tenant: string, device: string, serial: string): Admission {
    if (this.#revoked.has(serial)) return { status: 'refused', reason: 'certificate-revoked' }
    const known = this.#devices.get(deviceKey(tenant, device))
    if (known === undefined) return { status: 'refused', reason: 'unknown-device' }
    if (known.state === 'suspended' || known.state === 'decommissioned') return { status: 'refused', reason: known.state }
    return { status: 'admitted', device: known }
  }

  typeOf(tenant: string, device: string): DeviceType | undefined {
    const known = this.#devices.get(deviceKey(tenant, device))
    return known === undefined ? undefined : this.#types.get(deviceKey(tenant, known.type))
  }

  /** A type by name; undefined when there is none. */
  type(tenant: string, type: string): DeviceType | undefined {
    return this.#types.get(deviceKey(tenant, type))
  }

  onExpelled(listener: (expelled: Expelled) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async #follow(consumer: Consumer): Promise<void> {
    const { clock, log } = this.#options
    while (!this.#stopping.signal.aborted) {
      try {
        await this.#applyAll(consumer, await consumer.poll(POLL_RECORDS_MAX, POLL_WAIT_MS))
      } catch (error) {
        log.error({ error: describeError(error) }, 'device events not readable, trying again')
        await sleep(clock, RETRY_MS, this.#stopping.signal)
      }
    }
  }

  /** A record that could not be applied is polled again, with those after it. */
  async #applyAll(consumer: Consumer, records: readonly LogRecord[]): Promise<void> {
    for (const [at, record] of records.entries()) {
      try {
        await this.#apply(record)
      } catch (error) {
        for (const later of records.slice(at).toReversed()) consumer.seek(later.partition, later.offset)
        throw error
      }
    }
  }

  async #apply(record: LogRecord): Promise<void> {
    if (record.schema !== DEVICE_EVENT) return
    const event = JSON.parse(utf8Text(record.value)) as DeviceEvent
    if (event.event === 'certificate-revoked') {
      this.#revoked.add(event.serial)
      this.#expel({ tenant: event.tenant, device: event.device, serial: event.serial, reason: event.reason })
    } else if (event.event === 'device-changed') {
      if (event.state === 'suspended' || event.state === 'decommissioned') this.#expel({ tenant: event.tenant, device: event.device, reason: event.state })
      const key = deviceKey(event.tenant, event.device)
      const device = await this.#collections?.devices.get(key)
      if (device === null || device === undefined) this.#devices.delete(key)
      else this.#devices.set(key, device)
    } else {
      const key = deviceKey(event.tenant, event.type)
      const type = await this.#collections?.types.get(key)
      if (type !== null && type !== undefined) this.#types.set(key, type)
    }
  }

  #expel(expelled: Expelled): void {
    for (const listener of this.#listeners) listener(expelled)
  }
}
