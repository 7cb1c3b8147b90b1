import { ID_BYTES_MAX, type Collection, type Documents, type Stored } from '../../storage/documents/documents.ts'
import { documentKey } from './document-key.ts'
import { LatestWriter, type WriteFence } from './latest-writer.ts'
import { loadAll, loadBelow } from './load-all.ts'
import { fromDocument, packetSizeBytes, toDocument, type BrokerPacket, type PacketDocument } from './packet.ts'
import { hasWildcard, literalPrefix, topicMatches, topicPrefix } from './topic-index.ts'

/** Bounds of retained messages; they are held in memory as well as on disk. `Group` is the first three topic levels: one device. */
export interface RetainedLimits {
  retainedPerDeviceMax: number
  retainedBytesPerDeviceMax: number
  /** Over all devices. */
  retainedBytesMax: number
}

export type RetainedDropReason = 'retained-per-device' | 'retained-bytes-per-device' | 'retained-bytes'

interface Group {
  packets: Map<string, BrokerPacket>
  sizeBytes: number
}

/** The last retained message of each topic [MQTT-3.3.1-5], in groups of the first three topic levels, so that one device's filters read only its own. */
export class RetainedStore {
  readonly #documents: Documents
  readonly #collectionName: string
  readonly #limits: RetainedLimits
  readonly #onDropped: (topic: string, reason: RetainedDropReason) => void
  readonly #groups = new Map<string, Group>()
  readonly #fence: WriteFence | undefined
  #collection: Collection<PacketDocument> | undefined
  #writer: LatestWriter<PacketDocument> | undefined
  #messages = 0
  #sizeBytes = 0

  constructor(options: {
    documents: Documents
    collectionName: string
    limits: RetainedLimits
    onDropped: (topic: string, reason: RetainedDropReason) => void
    fence?: WriteFence | undefined
  }) {
    this.#documents = options.documents
    this.#collectionName = options.collectionName
    this.#limits = options.limits
    this.#onDropped = options.onDropped
    this.#fence = options.fence
  }

  async open(): Promise<void> {
    this.#collection = await this.#documents.collection<PacketDocument>({ name: this.#collectionName, indexes: [] })
    this.#writer = new LatestWriter(this.#collection, this.#fence)
  }

  /** Takes the messages of every group for which `isWanted` into memory. */
  async load(isWanted: (group: string) => boolean): Promise<void> {
    if (this.#collection === undefined) return
    for await (const document of loadAll(this.#collection)) if (isWanted(groupOf(document.topic ?? ''))) this.#take(document)
  }

  /** Takes one group's messages into memory. */
  async fetch(group: string): Promise<void> {
    if (this.#collection === undefined) return
    for await (const document of loadBelow(this.#collection, group)) this.#take(document)
  }

  /** Drops one group's messages from memory; what is stored stays. */
  async evict(group: string): Promise<void> {
    for (const topic of [...(this.#groups.get(group)?.packets.keys() ?? [])]) {
      await this.#writer?.settled(idOf(topic))
      this.#unset(topic)
      this.#writer?.forget(idOf(topic))
    }
  }

  get messages(): number {
    return this.#messages
  }
  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /**
   * Resolves when the message is durable. An empty payload removes the topic's message [MQTT-3.3.1-10] [MQTT-3.3.1-11]. One over a bound
   * is not kept: it is reported and the topic keeps nothing, so that nobody is served what it was to replace.
   */
  async store(packet: BrokerPacket): Promise<void> {
    const known = this.#groups.get(groupOf(packet.topic))?.packets.get(packet.topic)
    if (known !== undefined && isSame(known, packet)) return this.#writer?.settled(idOf(packet.topic))
    this.#unset(packet.topic)
    const refusal = packet.payload.length === 0 ? undefined : this.#refusal(packet)
    if (packet.payload.length === 0 || refusal !== undefined) {
      if (refusal !== undefined) this.#onDropped(packet.topic, refusal)
      if (known !== undefined) await this.#writer?.write(idOf(packet.topic), null)
      return
    }
    this.#set({ ...packet })
    await this.#writer?.write(idOf(packet.topic), toDocument(packet))
  }

  /** Retained messages under any of these filters, one after the other. */
  *matching(filters: readonly string[]): Generator<BrokerPacket> {
    for (const filter of filters) yield* this.#matchingOne(filter)
  }

  async settled(): Promise<void> {
    await this.#writer?.settled()
  }

  *#matchingOne(filter: string): Generator<BrokerPacket> {
    if (!hasWildcard(filter)) {
      const packet = this.#groups.get(groupOf(filter))?.packets.get(filter)
      if (packet !== undefined) yield packet
      return
    }
    const prefix = literalPrefix(filter)
    const group = prefix === undefined ? undefined : this.#groups.get(prefix)
    if (prefix !== undefined && group === undefined) return
    for (const { packets } of group === undefined ? this.#groups.values() : [group]) {
      for (const packet of packets.values()) if (topicMatches(filter, packet.topic)) yield packet
    }
  }

  #refusal(packet: BrokerPacket): RetainedDropReason | undefined {
    const group = this.#groups.get(groupOf(packet.topic))
    const sizeBytes = packetSizeBytes(packet)
    if ((group?.packets.size ?? 0) >= this.#limits.retainedPerDeviceMax) return 'retained-per-device'
    if ((group?.sizeBytes ?? 0) + sizeBytes > this.#limits.retainedBytesPerDeviceMax) return 'retained-bytes-per-device'
    if (this.#sizeBytes + sizeBytes > this.#limits.retainedBytesMax) return 'retained-bytes'
    return undefined
  }

  #take(document: PacketDocument & Stored): void {
    this.#writer?.loaded(document)
    const packet = fromDocument(document)
    this.#unset(packet.topic)
    this.#set(packet)
  }

  #set(packet: BrokerPacket): void {
    const key = groupOf(packet.topic)
    const group = this.#groups.get(key) ?? { packets: new Map<string, BrokerPacket>(), sizeBytes: 0 }
    this.#groups.set(key, group)
    group.packets.set(packet.topic, packet)
    group.sizeBytes += packetSizeBytes(packet)
    this.#sizeBytes += packetSizeBytes(packet)
    this.#messages++
  }

  #unset(topic: string): void {
    const key = groupOf(topic)
    const group = this.#groups.get(key)
    const packet = group?.packets.get(topic)
    if (group === undefined || packet === undefined) return
    group.packets.delete(topic)
    group.sizeBytes -= packetSizeBytes(packet)
    this.#sizeBytes -= packetSizeBytes(packet)
    this.#messages--
    if (group.packets.size === 0) this.#groups.delete(key)
  }
}

/** Topics of fewer than three levels share one group; devices' own always have more. */
function groupOf(topic: string): string {
  return topicPrefix(topic) ?? ''
}

/** Also the id of a topic that is too long for one begins with its group. */
function idOf(topic: string): string {
  const key = documentKey(topic)
  const group = topicPrefix(topic)
  if (key === topic || group === undefined) return key
  const below = `${group}/${key}`
  return Buffer.byteLength(below) <= ID_BYTES_MAX ? below : key
}

function isSame(a: BrokerPacket, b: BrokerPacket): boolean {
  return (
    a.qos === b.qos && a.payload.length === b.payload.length && Buffer.from(a.payload as Buffer).equals(Buffer.from(b.payload as Buffer))
  )
}
