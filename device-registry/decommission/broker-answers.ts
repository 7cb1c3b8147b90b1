import { FORGET_DEVICE, FORGOTTEN_COLLECTION, type ForgetDevice, type Forgotten } from '../../contracts/forget-device.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'

/** Asks whichever edge holds a device to forget it, and looks for its answer. */
export class BrokerAnswers {
  readonly #documents: Documents
  readonly #eventLog: EventLog
  #answers: Collection<Forgotten> | undefined

  constructor(documents: Documents, eventLog: EventLog) {
    this.#documents = documents
    this.#eventLog = eventLog
  }

  async open(): Promise<void> {
    this.#answers ??= await this.#documents.collection<Forgotten>({ name: FORGOTTEN_COLLECTION, indexes: [] })
  }

  async ask(asked: ForgetDevice): Promise<void> {
    const key = deviceKey(asked.tenant, asked.device)
    await this.#eventLog.append(TOPICS.commands, [{ key, schema: FORGET_DEVICE, value: jsonBytes(asked) }])
  }

  async answer(request: string): Promise<Forgotten | null> {
    const found = await this.#answers?.get(request)
    if (found === undefined || found === null) return null
    const { _id, version: _version, ...forgotten } = found
    return forgotten
  }

  async drop(requests: readonly string[]): Promise<void> {
    for (const request of requests) await this.#answers?.delete(request)
  }
}
