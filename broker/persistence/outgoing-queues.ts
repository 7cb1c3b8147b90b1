import { InternalError } from '../../kernel/errors.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { documentKey } from './document-key.ts'
import { LatestWriter } from './latest-writer.ts'
import { loadAll } from './load-all.ts'
import { copyForQueue, fromDocument, packetSizeBytes, toDocument, type BrokerPacket, type PacketDocument } from './packet.ts'

/** Bounds of what waits for devices. */
export interface QueueLimits {
  /** Messages waiting in one session. */
  queueMessagesMax: number
  /** Bytes waiting in all sessions together; they are held in memory as well as on disk. */
  queuesBytesMax: number
}

export type QueueDropReason = 'session-queue-full' | 'all-queues-full'

interface QueueDocument extends PacketDocument {
  clientId: string
  /** Order within the session. */
  order: number
}

interface Entry {
  id: string
  order: number
  packet: BrokerPacket
  sizeBytes: number
}

/**
 * Messages of QoS 1 and 2 on their way to persistent sessions, offline or not, in order; in memory within the bounds and written through
 * to one document a message. When a bound is reached the newest message is the one refused: what was already promised keeps its
 * place and order, and whoever sends the new one can still be told.
 */
export class OutgoingQueues {
  readonly #documents: Documents
  readonly #collectionName: string
  readonly #limits: QueueLimits
  readonly #onDropped: (clientId: string, reason: QueueDropReason) => void
  readonly #queues = new Map<string, Entry[]>()
  #writer: LatestWriter<QueueDocument> | undefined
  #nextOrder = 1
  #messages = 0
  #sizeBytes = 0

  constructor(options: {
    documents: Documents
    collectionName: string
    limits: QueueLimits
    onDropped: (clientId: string, reason: QueueDropReason) => void
  }) {
    this.#documents = options.documents
    this.#collectionName = options.collectionName
    this.#limits = options.limits
    this.#onDropped = options.onDropped
  }

  async load(): Promise<void> {
    const collection = await this.#documents.collection<QueueDocument>({ name: this.#collectionName, indexes: [] })
    this.#writer = new LatestWriter(collection)
    for await (const document of loadAll(collection)) {
      const packet = fromDocument(document)
      delete packet.clientId
      this.#nextOrder = Math.max(this.#nextOrder, document.order + 1)
      this.#place(document.clientId, { id: document._id, order: document.order, packet, sizeBytes: packetSizeBytes(packet) })
    }
    for (const queue of this.#queues.values()) queue.sort((a, b) => a.order - b.order)
    for (const clientId of this.#queues.keys()) this.markRedelivered(clientId)
  }

  get messages(): number {
    return this.#messages
  }
  get sizeBytes(): number {
    return this.#sizeBytes
  }
  lengthOf(clientId: string): number {
    return this.#queues.get(clientId)?.length ?? 0
  }
  /** The bound that would refuse one more message for this session, if any. */
  fullness(clientId: string, sizeBytes = 0): QueueDropReason | undefined {
    if (this.lengthOf(clientId) >= this.#limits.queueMessagesMax) return 'session-queue-full'
    if (this.#sizeBytes + sizeBytes > this.#limits.queuesBytesMax) return 'all-queues-full'
    return undefined
  }

  /**
   * Resolves when the message is durable; a message over a bound is reported as dropped and resolves at once. It is delivered with at
   * most the QoS granted to the session [MQTT-3.8.4-6].
   */
  async enqueue(clientId: string, packet: BrokerPacket, qosGranted = 2): Promise<void> {
    const copy = copyForQueue(packet)
    copy.qos = Math.min(copy.qos, qosGranted) as 0 | 1 | 2
    const sizeBytes = packetSizeBytes(copy)
    const full = this.fullness(clientId, sizeBytes)
    if (full !== undefined) {
      this.#onDropped(clientId, full)
      return
    }
    const order = this.#nextOrder++
    const entry: Entry = { id: `${documentKey(clientId)}/${order.toString(36).padStart(11, '0')}`, order, packet: copy, sizeBytes }
    this.#place(clientId, entry)
    try {
      await this.#store(clientId, entry)
    } catch (error) {
      this.#take(clientId, this.#queues.get(clientId)?.indexOf(entry) ?? -1)
      throw error
    }
  }

  /** Gives a queued message its packet id, or turns it into the PUBREL that follows it [MQTT-4.3.3-2]. Rejects when there is no such message. */
  async update(clientId: string, packet: BrokerPacket): Promise<void> {
    for (const entry of this.#queues.get(clientId) ?? []) {
      if (entry.packet.brokerId === packet.brokerId) {
        if (entry.packet.brokerCounter !== packet.brokerCounter) continue
        if (entry.packet.messageId === packet.messageId) return
        entry.packet.messageId = packet.messageId
        return this.#store(clientId, entry)
      }
      if (entry.packet.messageId === packet.messageId) {
        entry.packet = packet
        return this.#store(clientId, entry)
      }
    }
    throw new InternalError('no such packet in the outgoing queue')
  }

  /**
   * Takes out what the device acknowledged; resolves to it, or undefined when nothing has this packet id. Aedes also calls this, without
   * an id, for each further matching subscription of a message; the queue holds it once, so that takes nothing out.
   */
  async clear(clientId: string, messageId: number | undefined): Promise<BrokerPacket | undefined> {
    if (messageId === undefined) return undefined
    const at = this.#queues.get(clientId)?.findIndex((entry) => entry.packet.messageId === messageId) ?? -1
    const entry = this.#take(clientId, at)
    if (entry === undefined) return undefined
    await this.#writer?.write(entry.id, null)
    return entry.packet
  }

  /** Forgets a session's queue. */
  async delete(clientId: string): Promise<void> {
    const entries = this.#queues.get(clientId) ?? []
    for (const entry of entries) this.#discount(entry)
    this.#queues.delete(clientId)
    const writer = this.#writer
    if (writer !== undefined) await Promise.all(entries.map((entry) => writer.write(entry.id, null)))
  }

  packets(clientId: string): BrokerPacket[] {
    return (this.#queues.get(clientId) ?? []).map((entry) => entry.packet)
  }

  /** What was sent on an earlier connection is a repetition on the next one [MQTT-3.3.1-1]. */
  markRedelivered(clientId: string): void {
    for (const { packet } of this.#queues.get(clientId) ?? [])
      if (packet.messageId !== undefined && packet.cmd === 'publish') packet.dup = true
  }

  async settled(): Promise<void> {
    await this.#writer?.settled()
  }

  #place(clientId: string, entry: Entry): void {
    const queue = this.#queues.get(clientId)
    if (queue === undefined) this.#queues.set(clientId, [entry])
    else queue.push(entry)
    this.#messages++
    this.#sizeBytes += entry.sizeBytes
  }

  #take(clientId: string, at: number): Entry | undefined {
    const queue = this.#queues.get(clientId)
    if (queue === undefined || at < 0) return undefined
    const entry = queue.splice(at, 1)[0]
    if (queue.length === 0) this.#queues.delete(clientId)
    if (entry !== undefined) this.#discount(entry)
    return entry
  }

  #discount(entry: Entry): void {
    this.#messages--
    this.#sizeBytes -= entry.sizeBytes
  }

  async #store(clientId: string, entry: Entry): Promise<void> {
    await this.#writer?.write(entry.id, { ...toDocument(entry.packet), clientId, order: entry.order })
  }
}
