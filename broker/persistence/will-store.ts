import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import { documentKey } from './document-key.ts'
import { LatestWriter, type WriteFence } from './latest-writer.ts'
import { loadAll, loadThese } from './load-all.ts'
import { fromDocument, toDocument, type BrokerPacket, type PacketDocument } from './packet.ts'

/** Last wills of connected clients, so that a run of the broker that ended without closing them still has them published [MQTT-3.1.2-8]. */
export class WillStore {
  readonly #documents: Documents
  readonly #collectionName: string
  readonly #wills = new Map<string, BrokerPacket>()
  readonly #fence: WriteFence | undefined
  #collection: Collection<PacketDocument> | undefined
  #writer: LatestWriter<PacketDocument> | undefined

  constructor(documents: Documents, collectionName: string, fence?: WriteFence) {
    this.#documents = documents
    this.#collectionName = collectionName
    this.#fence = fence
  }

  async open(): Promise<void> {
    this.#collection = await this.#documents.collection<PacketDocument>({ name: this.#collectionName, indexes: [] })
    this.#writer = new LatestWriter(this.#collection, this.#fence)
  }

  /** Takes every will for which `isWanted` into memory. */
  async load(isWanted: (clientId: string) => boolean): Promise<void> {
    if (this.#collection === undefined) return
    for await (const document of loadAll(this.#collection)) if (isWanted(document.clientId ?? '')) this.#take(document)
  }

  /** Takes the wills of these clients into memory. */
  async fetch(clientIds: readonly string[]): Promise<void> {
    if (this.#collection === undefined) return
    for await (const document of loadThese(this.#collection, clientIds.map(documentKey))) this.#take(document)
  }

  /** Drops a will from memory; what is stored stays. */
  async evict(clientId: string): Promise<void> {
    await this.#writer?.settled(documentKey(clientId))
    this.#wills.delete(clientId)
    this.#writer?.forget(documentKey(clientId))
  }

  get(clientId: string): BrokerPacket | undefined {
    return this.#wills.get(clientId)
  }

  clientIds(): string[] {
    return [...this.#wills.keys()]
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

  #take(document: PacketDocument & Stored): void {
    this.#writer?.loaded(document)
    this.#wills.set(document.clientId ?? '', fromDocument(document))
  }
}
