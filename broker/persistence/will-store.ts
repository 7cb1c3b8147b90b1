import type { Documents } from '../../storage/documents/documents.ts'
import { documentKey } from './document-key.ts'
import { LatestWriter } from './latest-writer.ts'
import { loadAll } from './load-all.ts'
import { fromDocument, toDocument, type BrokerPacket, type PacketDocument } from './packet.ts'

/** Last wills of connected clients, so that a run of the broker that ended without closing them still has them published [MQTT-3.1.2-8]. */
export class WillStore {
  readonly #documents: Documents
  readonly #collectionName: string
  readonly #wills = new Map<string, BrokerPacket>()
  #writer: LatestWriter<PacketDocument> | undefined

  constructor(documents: Documents, collectionName: string) {
    this.#documents = documents
    this.#collectionName = collectionName
  }

  async load(): Promise<void> {
    const collection = await this.#documents.collection<PacketDocument>({ name: this.#collectionName, indexes: [] })
    this.#writer = new LatestWriter(collection)
    for await (const document of loadAll(collection)) this.#wills.set(document.clientId ?? '', fromDocument(document))
  }

  get(clientId: string): BrokerPacket | undefined {
    return this.#wills.get(clientId)
  }

  async put(clientId: string, will: BrokerPacket): Promise<void> {
    this.#wills.set(clientId, will)
    await this.#writer?.write(documentKey(clientId), toDocument(will))
  }

  async delete(clientId: string): Promise<BrokerPacket | undefined> {
    const will = this.#wills.get(clientId)
    if (will === undefined) return undefined
    this.#wills.delete(clientId)
    await this.#writer?.write(documentKey(clientId), null)
    return will
  }

  /** Wills left by broker runs that are not among the living. */
  *leftBehind(living: Readonly<Record<string, unknown>>): Generator<BrokerPacket> {
    for (const will of this.#wills.values()) if (living[will.brokerId ?? ''] === undefined) yield will
  }

  async settled(): Promise<void> {
    await this.#writer?.settled()
  }
}
