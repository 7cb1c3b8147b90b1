import { InternalError } from '../../kernel/errors.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import { documentKey } from './document-key.ts'
import { DoneMarks } from './done-marks.ts'
import { LatestWriter, type WriteFence } from './latest-writer.ts'
import { loadAll, loadBelow } from './load-all.ts'
import { placeOf, type LogPlace } from './log-place.ts'
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
  /** Where in the event log it came from, if it did. */
  place?: LogPlace
  /** The device has it; the document stays only until the log's place is on record. */
  done?: true
}

interface Entry {
  id: string
  order: number
  packet: BrokerPacket
  sizeBytes: number
  place: LogPlace | undefined
  /** It is stored: only then may it go out, for an acknowledgement takes it away. */
  durable: boolean
  /** It went out over the present connection. */
  sent: boolean
}

export interface OutgoingQueuesOptions {
  documents: Documents
  collectionName: string
  limits: QueueLimits
  onDropped: (clientId: string, reason: QueueDropReason) => void
  fence?: WriteFence | undefined
  /** Is it on record that everything for this client up to this place of the log was handled? Default: yes, nothing comes from the log. */
  isRecorded?: ((clientId: string, place: LogPlace) => boolean) | undefined
}

/**
 * Messages of QoS 1 and 2 on their way to persistent sessions, offline or not, in order; in memory within the bounds and written through
 * to one document a message. When a bound is reached the newest message is the one refused: what was already promised keeps its
 * place and order, and whoever sends the new one can still be told.
 */
export class OutgoingQueues {
  readonly #options: OutgoingQueuesOptions
  readonly #queues = new Map<string, Entry[]>()
  readonly #marks: DoneMarks
  /** Sessions whose queue is being sent to a connection that has just begun, and that connection. */
  readonly #streaming = new Map<string, object>()
  #collection: Collection<QueueDocument> | undefined
  #writer: LatestWriter<QueueDocument> | undefined
  #nextOrder = 1
  #messages = 0
  #sizeBytes = 0

  constructor(options: OutgoingQueuesOptions) {
    this.#options = options
    this.#marks = new DoneMarks(options.isRecorded ?? (() => true))
  }

  async open(): Promise<void> {
    const { documents, collectionName, fence } = this.#options
    this.#collection = await documents.collection<QueueDocument>({ name: collectionName, indexes: [] })
    this.#writer = new LatestWriter(this.#collection, fence)
  }

  /** Takes the queue of every session for which `isWanted` into memory. */
  async load(isWanted: (clientId: string) => boolean): Promise<void> {
    if (this.#collection === undefined) return
    for await (const document of loadAll(this.#collection)) if (isWanted(document.clientId)) this.#load(document)
    for (const clientId of this.#queues.keys()) this.#arrange(clientId)
  }

  /** Takes one session's queue into memory. */
  async fetch(clientId: string): Promise<void> {
    if (this.#collection === undefined) return
    for await (const document of loadBelow(this.#collection, documentKey(clientId))) this.#load(document)
    this.#arrange(clientId)
  }

  /** Drops one session's queue from memory; what is stored stays. */
  async evict(clientId: string): Promise<void> {
    const entries = this.#queues.get(clientId) ?? []
    const ids = [...entries.map(({ id }) => id), ...this.#marks.drop(clientId)]
    for (const id of ids) await this.#writer?.settled(id)
    for (const entry of this.#queues.get(clientId) ?? []) this.#discount(entry)
    this.#queues.delete(clientId)
    this.#streaming.delete(clientId)
    for (const id of ids) this.#writer?.forget(id)
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
    const { queueMessagesMax, queuesBytesMax } = this.#options.limits
    if (this.lengthOf(clientId) >= queueMessagesMax) return 'session-queue-full'
    if (this.#sizeBytes + sizeBytes > queuesBytesMax) return 'all-queues-full'
    return undefined
  }
  /** Was the message from this place of the log queued for the session before, delivered since or not? */
  knows(clientId: string, place: LogPlace): boolean {
    if (this.#marks.has(clientId, place)) return true
    return this.#queues.get(clientId)?.some((entry) => isSamePlace(entry.place, place)) === true
  }

  /**
   * Resolves when the message is durable; a message over a bound is reported as dropped and resolves at once. It is delivered with at
   * most the QoS granted to the session [MQTT-3.8.4-6].
   */
  async enqueue(clientId: string, packet: BrokerPacket, qosGranted = 2): Promise<void> {
    const copy = copyForQueue(packet)
    copy.qos = Math.min(copy.qos, qosGranted) as 0 | 1 | 2
    const place = placeOf(packet)
    if (place !== undefined && this.knows(clientId, place)) return
    const sizeBytes = packetSizeBytes(copy)
    const full = this.fullness(clientId, sizeBytes)
    if (full !== undefined) {
      this.#options.onDropped(clientId, full)
      return
    }
    const order = this.#nextOrder++
    const entry: Entry = { id: entryId(clientId, order, place), order, packet: copy, sizeBytes, place, durable: false, sent: false }
    this.#place(clientId, entry)
    try {
      await this.#store(clientId, entry)
      entry.durable = true
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
      // Only a release follows by its id: packet ids come round, and another message may have this one still.
      if (packet.cmd !== 'publish' && entry.packet.messageId === packet.messageId) {
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
    const { id, order, place } = entry
    const marked = place !== undefined && this.#marks.add(clientId, { id, place })
    await this.#writer?.write(id, marked ? { clientId, order, place, done: true } : null)
    return entry.packet
  }

  /** Removes what was kept only until its place in the log was on record. */
  async purge(): Promise<void> {
    const writer = this.#writer
    if (writer !== undefined) await Promise.all(this.#marks.takeRecorded().map((id) => writer.write(id, null)))
  }

  /** Forgets a session's queue. */
  async delete(clientId: string): Promise<void> {
    const entries = this.#queues.get(clientId) ?? []
    for (const entry of entries) this.#discount(entry)
    this.#queues.delete(clientId)
    this.#streaming.delete(clientId)
    const ids = [...entries.map(({ id }) => id), ...this.#marks.drop(clientId)]
    const writer = this.#writer
    if (writer !== undefined) await Promise.all(ids.map((id) => writer.write(id, null)))
  }

  /**
   * A connection begins: until `endStream` what is queued for it goes out by `stream` alone, so that it keeps its order. Without `connection`
   * nobody asks `holdsBack` nor tells the end.
   */
  beginStream(clientId: string, connection: object | undefined): void {
    if (connection !== undefined) this.#streaming.set(clientId, connection)
    for (const entry of this.#queues.get(clientId) ?? []) {
      entry.sent = false
      markRepetition(entry.packet)
    }
  }

  /** The queue in its order, with what comes to it meanwhile; ends early for a connection that another one has followed. */
  *stream(clientId: string, connection: object): Generator<BrokerPacket> {
    for (let last = 0; (this.#streaming.get(clientId) ?? connection) === connection;) {
      const next = this.#queues.get(clientId)?.find(({ order }) => order > last)
      if (next?.durable !== true) return
      last = next.order
      next.sent = true
      yield next.packet
    }
  }

  /** What was streamed is written; answers what became durable too late for it, to be sent now. */
  endStream(clientId: string, connection: object): BrokerPacket[] {
    if (this.#streaming.get(clientId) !== connection) return []
    this.#streaming.delete(clientId)
    return (this.#queues.get(clientId) ?? []).filter(({ durable, sent }) => durable && !sent).map(({ packet }) => packet)
  }

  /** Is a message that is about to be sent on its way already, or will it be with the stream? Otherwise it counts as sent from now on. */
  holdsBack(clientId: string, { brokerId, brokerCounter }: BrokerPacket): boolean {
    const entry = this.#queues.get(clientId)?.find(({ packet }) => packet.brokerCounter === brokerCounter && packet.brokerId === brokerId)
    if (entry === undefined) return false
    if (entry.sent || this.#streaming.has(clientId)) return true
    entry.sent = true
    return false
  }

  packets(clientId: string): BrokerPacket[] {
    return (this.#queues.get(clientId) ?? []).map((entry) => entry.packet)
  }

  async settled(): Promise<void> {
    await this.#writer?.settled()
  }

  #load(document: QueueDocument & Stored): void {
    this.#writer?.loaded(document)
    const { clientId, order, place } = document
    this.#nextOrder = Math.max(this.#nextOrder, order + 1)
    if (document.done === true && place !== undefined) {
      this.#marks.keep(clientId, { id: document._id, place })
      return
    }
    const packet = fromDocument(document)
    delete packet.clientId
    this.#place(clientId, { id: document._id, order, packet, sizeBytes: packetSizeBytes(packet), place, durable: true, sent: false })
  }

  #arrange(clientId: string): void {
    const queue = this.#queues.get(clientId) ?? []
    queue.sort((a, b) => a.order - b.order)
    for (const { packet } of queue) markRepetition(packet)
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

  async #store(clientId: string, { id, order, place, packet }: Entry): Promise<void> {
    await this.#writer?.write(id, { ...toDocument(packet), clientId, order, ...(place === undefined ? {} : { place }) })
  }
}

/** The id of a message from the log is its place there: two processes that handle it write the same document. */
function entryId(clientId: string, order: number, place: LogPlace | undefined): string {
  const name = place === undefined ? order.toString(36).padStart(11, '0') : `log-${place.partition}-${place.offset}`
  return `${documentKey(clientId)}/${name}`
}

function isSamePlace(a: LogPlace | undefined, b: LogPlace): boolean {
  return a?.partition === b.partition && a.offset === b.offset
}

/** What was sent on an earlier connection is a repetition on the next one [MQTT-3.3.1-1]. */
function markRepetition(packet: BrokerPacket): void {
  if (packet.messageId !== undefined && packet.cmd === 'publish') packet.dup = true
}
