import { InternalError } from '../../kernel/errors.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import { documentKey } from './document-key.ts'
import { LatestWriter, type WriteFence } from './latest-writer.ts'
import { loadAll, loadBelow } from './load-all.ts'
import { copyForQueue, fromDocument, toDocument, type BrokerPacket, type PacketDocument } from './packet.ts'

interface IncomingDocument extends PacketDocument {
  clientId: string
}

/**
 * QoS 2 publishes received and not yet released by PUBREL [MQTT-4.3.3-2]. Memory holds only their packet ids (Aedes bounds how many a
 * session may leave open); the packets are documents.
 */
export class IncomingStore {
  readonly #documents: Documents
  readonly #collectionName: string
  readonly #fence: WriteFence | undefined
  readonly #idsByClient = new Map<string, Set<number>>()
  #collection: Collection<IncomingDocument> | undefined
  #writer: LatestWriter<IncomingDocument> | undefined

  constructor(documents: Documents, collectionName: string, fence?: WriteFence) {
    this.#documents = documents
    this.#collectionName = collectionName
    this.#fence = fence
  }

  async open(): Promise<void> {
    this.#collection = await this.#documents.collection<IncomingDocument>({ name: this.#collectionName, indexes: [] })
    this.#writer = new LatestWriter(this.#collection, this.#fence)
  }

  /** Takes the receipts of every client for which `isWanted` into memory. */
  async load(isWanted: (clientId: string) => boolean): Promise<void> {
    if (this.#collection === undefined) return
    for await (const document of loadAll(this.#collection)) if (isWanted(document.clientId)) this.#take(document)
  }

  /** Takes one client's receipts into memory. */
  async fetch(clientId: string): Promise<void> {
    if (this.#collection === undefined) return
    for await (const document of loadBelow(this.#collection, documentKey(clientId))) this.#take(document)
  }

  /** Drops one client's receipts from memory; what is stored stays. */
  async evict(clientId: string): Promise<void> {
    const ids = [...(this.#idsByClient.get(clientId) ?? [])].map((messageId) => documentId(clientId, messageId))
    this.#idsByClient.delete(clientId)
    for (const id of ids) {
      await this.#writer?.settled(id)
      this.#writer?.forget(id)
    }
  }

  /** Was this packet id received and not released yet? Synchronous, for the check before an append. */
  has(clientId: string, messageId: number): boolean {
    return this.#idsByClient.get(clientId)?.has(messageId) === true
  }

  async store(clientId: string, packet: BrokerPacket): Promise<void> {
    const messageId = packet.messageId ?? 0
    this.#note(clientId, messageId)
    const copy = copyForQueue(packet)
    copy.messageId = messageId
    await this.#writer?.write(documentId(clientId, messageId), { ...toDocument(copy), clientId })
  }

  /** Rejects when the packet id is not held. */
  async get(clientId: string, messageId: number): Promise<BrokerPacket> {
    if (!this.has(clientId, messageId)) throw new InternalError('no such incoming packet')
    const id = documentId(clientId, messageId)
    await this.#writer?.settled(id)
    const document = await this.#collection?.get(id)
    if (document === null || document === undefined) throw new InternalError('no such incoming packet')
    const packet = fromDocument(document)
    delete packet.clientId
    return packet
  }

  /** Rejects when the packet id is not held. */
  async delete(clientId: string, messageId: number): Promise<void> {
    const ids = this.#idsByClient.get(clientId)
    if (ids?.delete(messageId) !== true) throw new InternalError('no such incoming packet')
    if (ids.size === 0) this.#idsByClient.delete(clientId)
    await this.#writer?.write(documentId(clientId, messageId), null)
  }

  async deleteAll(clientId: string): Promise<void> {
    const ids = this.#idsByClient.get(clientId)
    if (ids === undefined) return
    this.#idsByClient.delete(clientId)
    const writer = this.#writer
    if (writer !== undefined) await Promise.all([...ids].map((messageId) => writer.write(documentId(clientId, messageId), null)))
  }

  async settled(): Promise<void> {
    await this.#writer?.settled()
  }

  #take(document: IncomingDocument & Stored): void {
    this.#writer?.loaded(document)
    this.#note(document.clientId, document.messageId ?? 0)
  }

  #note(clientId: string, messageId: number): void {
    const ids = this.#idsByClient.get(clientId)
    if (ids === undefined) this.#idsByClient.set(clientId, new Set([messageId]))
    else ids.add(messageId)
  }
}

function documentId(clientId: string, messageId: number): string {
  return `${documentKey(clientId)}/${messageId}`
}
