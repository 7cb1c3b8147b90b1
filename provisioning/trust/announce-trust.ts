import { DEVICE_EVENT, type DeviceEvent } from '../../contracts/device-event.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Stored } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { Announced } from './collections.ts'

/** Tells every listener of a change that is durable already; until it is told, the document's mark says that it is owed. */
export class TrustAnnouncer<T extends Announced & { tenant: string; id: string }> {
  readonly #options: { eventLog: EventLog; clock: Clock; kind: 'factory' | 'claim'; collection: Collection<T> }

  constructor(options: { eventLog: EventLog; clock: Clock; kind: 'factory' | 'claim'; collection: Collection<T> }) {
    this.#options = options
  }

  async tell(document: T & Stored): Promise<void> {
    await this.say(document)
    await this.#options.collection.update(document._id, { $set: { announced: true } }, document.version)
  }

  /** Of a document that may be gone. */
  async say({ tenant, id }: { tenant: string; id: string }): Promise<void> {
    const { eventLog, clock, kind } = this.#options
    const event: DeviceEvent = { event: 'trust-changed', tenant, kind, id, at: clock.nowMs() }
    await eventLog.append(TOPICS.deviceEvents, [{ key: deviceKey(tenant, `${kind}:${id}`), schema: DEVICE_EVENT, value: jsonBytes(event) }])
  }

  /** What a crash left untold. */
  async settle(): Promise<void> {
    for (const document of await this.#options.collection.find({ announced: false })) await this.tell(document)
  }
}
