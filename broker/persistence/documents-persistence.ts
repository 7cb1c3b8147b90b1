import { Readable } from 'node:stream'
import type { Subscription } from 'aedes'
import { EnvironmentError } from '../../kernel/errors.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { IncomingStore } from './incoming-store.ts'
import type { WriteFence } from './latest-writer.ts'
import type { LogPlace } from './log-place.ts'
import { OutgoingQueues, type QueueDropReason, type QueueLimits } from './outgoing-queues.ts'
import type { BrokerPacket } from './packet.ts'
import { RetainedStore, type RetainedDropReason, type RetainedLimits } from './retained-store.ts'
import { SessionStore, type MatchedSubscription, type StoredSubscription } from './session-store.ts'
import { WillStore } from './will-store.ts'

/** Something a bound kept out, for counting and logging: a session's message, or a topic's retained message. */
export type PersistenceDrop = { reason: QueueDropReason; clientId: string } | { reason: RetainedDropReason; topic: string }

/** Which clients' state this process holds, where several processes share the documents. */
export interface Ownership extends WriteFence {
  /** May this process read and write the client's state now? */
  owns(clientId: string): boolean
  /** Is it on record that everything for this client up to this place of the log was handled? */
  isRecorded(clientId: string, place: LogPlace): boolean
}

export interface DocumentsPersistenceOptions {
  documents: Documents
  clock: Clock
  /** First part of the collections' names: two brokers on one store keep apart. */
  namespace: string
  limits: QueueLimits & RetainedLimits & { subscriptionsPerSessionMax: number }
  onDropped: (drop: PersistenceDrop) => void
  /** May this connection's end forget the session's QoS 2 receipts? Aedes asks for it for refused clients too. Default: yes. */
  mayForget?: (client: object) => boolean
  /** May this session hold this filter? Aedes offers all filters of a SUBSCRIBE when one of them was granted. Default: yes. */
  mayHold?: (clientId: string, filter: string) => boolean
  /** Without it this process is alone on its documents and holds everything. */
  ownership?: Ownership
  /** First three levels of the topics of a client's retained messages, and back. Needed with `ownership`. */
  groups?: { of(clientId: string): string; clientOf(group: string): string | undefined }
}

/** A client as far as persistence needs to know it. */
interface ClientRef {
  id: string
}

/**
 * Topic of the one subscription that stands for "a session exists, with no subscription in it": Aedes tells from the number of stored
 * subscriptions whether a session was present. No device can subscribe to it (nor anything be published on it); the subscribe
 * check refuses it, so that it has no effect.
 */
export const EMPTY_SESSION_TOPIC = '$fleetpulse/empty-session'

/**
 * What Aedes must remember, over the documents port: sessions, queues, QoS 2 receipts, retained messages and wills survive a restart, and
 * a kill, as far as their promises resolved. All state but QoS 2 packets is also in memory, within named bounds. Where several
 * processes share the documents, each holds the clients that it owns, and nobody else reads or writes their state meanwhile.
 */
export class DocumentsPersistence {
  readonly sessions: SessionStore
  readonly queues: OutgoingQueues
  readonly incoming: IncomingStore
  readonly retained: RetainedStore
  readonly wills: WillStore
  readonly #mayHold: (clientId: string, filter: string) => boolean
  readonly #mayForget: (client: object) => boolean
  readonly #ownership: Ownership | undefined
  readonly #groups: DocumentsPersistenceOptions['groups']
  /** Clients of whom only sessions and wills were loaded so far; a promise while the rest is being loaded. */
  readonly #cold = new Map<string, Promise<void> | undefined>()
  #broker: { id: string } | undefined

  constructor(options: DocumentsPersistenceOptions) {
    const { documents, namespace, limits, onDropped, ownership } = options
    this.sessions = new SessionStore({
      documents,
      collectionName: `${namespace}-sessions`,
      nowMs: () => options.clock.nowMs(),
      subscriptionsPerSessionMax: limits.subscriptionsPerSessionMax,
      fence: ownership,
    })
    this.queues = new OutgoingQueues({
      documents,
      collectionName: `${namespace}-queues`,
      limits,
      onDropped: (clientId, reason) => onDropped({ reason, clientId }),
      fence: ownership,
      isRecorded: ownership === undefined ? undefined : (clientId, place) => ownership.isRecorded(clientId, place),
    })
    this.incoming = new IncomingStore(documents, `${namespace}-incoming`, ownership)
    this.retained = new RetainedStore({
      documents,
      collectionName: `${namespace}-retained`,
      limits,
      onDropped: (topic, reason) => onDropped({ reason, topic }),
      fence: ownership,
    })
    this.wills = new WillStore(documents, `${namespace}-wills`, ownership)
    this.#mayHold = options.mayHold ?? (() => true)
    this.#mayForget = options.mayForget ?? (() => true)
    this.#ownership = ownership
    this.#groups = options.groups
  }

  /** Named as Aedes' abstract test-suite wants it. */
  get broker(): { id: string } | undefined {
    return this.#broker
  }

  /** Loads what this process holds. */
  async setup(broker: { id: string }): Promise<void> {
    this.#broker = broker
    const stores = [this.sessions, this.queues, this.incoming, this.retained, this.wills]
    await Promise.all(stores.map((store) => store.open()))
    const owns = (clientId: string): boolean => this.#owns(clientId)
    const ownsGroup = (group: string): boolean => this.#ownsTopic(group)
    await Promise.all([this.sessions, this.queues, this.incoming, this.wills].map((store) => store.load(owns)))
    await this.retained.load(ownsGroup)
  }

  /** Takes over clients: their sessions and wills are loaded now, the rest when `warm` asks for it. */
  async adopt(clientIds: readonly string[]): Promise<void> {
    for (const clientId of clientIds) this.#cold.set(clientId, undefined)
    await Promise.all([this.sessions.fetch(clientIds), this.wills.fetch(clientIds)])
  }

  /** May a message of this client's queue go out over its connection here? */
  holds(clientId: string): boolean {
    return this.#owns(clientId)
  }

  isWarm(clientId: string): boolean {
    return !this.#cold.has(clientId)
  }

  /** Makes sure that all of a client's state is in memory; undefined, and no wait, when it is. */
  warm(clientId: string): Promise<void> | undefined {
    if (!this.#cold.has(clientId)) return undefined
    let loading = this.#cold.get(clientId)
    if (loading === undefined) {
      loading = this.#load(clientId)
      this.#cold.set(clientId, loading)
    }
    return loading
  }

  /** Gives a client up: waits for what is being written and drops what is in memory; what is stored stays. */
  async release(clientId: string): Promise<void> {
    await this.#cold.get(clientId)?.catch(nothing)
    this.#cold.delete(clientId)
    const group = this.#groups?.of(clientId)
    await Promise.all([
      this.sessions.evict(clientId),
      this.wills.evict(clientId),
      this.queues.evict(clientId),
      this.incoming.evict(clientId),
      ...(group === undefined ? [] : [this.retained.evict(group)]),
    ])
  }

  async #load(clientId: string): Promise<void> {
    try {
      const group = this.#groups?.of(clientId)
      await Promise.all([
        this.queues.fetch(clientId),
        this.incoming.fetch(clientId),
        ...(group === undefined ? [] : [this.retained.fetch(group)]),
      ])
      this.#cold.delete(clientId)
    } catch (error) {
      // Half of it may be there: the next one begins anew.
      await Promise.all([this.queues.evict(clientId), this.incoming.evict(clientId)])
      this.#cold.set(clientId, undefined)
      throw error
    }
  }

  #owns(clientId: string): boolean {
    return this.#ownership === undefined || this.#ownership.owns(clientId)
  }

  #ownsTopic(topic: string): boolean {
    if (this.#ownership === undefined || this.#groups === undefined) return true
    const clientId = this.#groups.clientOf(topic)
    return clientId !== undefined && this.#ownership.owns(clientId)
  }

  /** A client that was given up, or taken over by another process, is written here no more. */
  #require(owned: boolean): void {
    if (!owned) throw new EnvironmentError('SESSION_TAKEN', 'another edge has this session now', { retryable: true })
  }

  /** To be called before Aedes looks for the session of a client that connects with clean session 0; `connection` is the client. */
  async openSession(clientId: string, connection?: object): Promise<'resumed' | 'created'> {
    this.#require(this.#owns(clientId))
    this.queues.beginStream(clientId, connection)
    return this.sessions.begin(clientId)
  }

  /** Ends sessions last in use before this instant, unless `isLive`; resolves to how many. */
  async expireSessions(instantMs: number, isLive: (clientId: string) => boolean): Promise<number> {
    const expired = [...this.sessions.seenBefore(instantMs)].filter((clientId) => !isLive(clientId))
    for (const clientId of expired) {
      await this.warm(clientId)
      await Promise.all([this.cleanSubscriptions({ id: clientId }), this.incoming.deleteAll(clientId)])
    }
    return expired.length
  }

  async storeRetained(packet: BrokerPacket): Promise<void> {
    this.#require(this.#ownsTopic(packet.topic))
    await this.retained.store(packet)
  }
  createRetainedStream(filter: string): Readable {
    return Readable.from(this.retained.matching([filter]))
  }
  createRetainedStreamCombi(filters: string[]): Readable {
    return Readable.from(this.retained.matching(filters))
  }

  async addSubscriptions(client: ClientRef, subscriptions: Subscription[]): Promise<void> {
    this.#require(this.#owns(client.id))
    await this.sessions.addSubscriptions(
      client.id,
      subscriptions.filter(({ topic }) => this.#mayHold(client.id, topic)),
    )
  }
  async removeSubscriptions(client: ClientRef, filters: string[]): Promise<void> {
    await this.sessions.removeSubscriptions(client.id, filters)
  }
  async subscriptionsByClient(client: ClientRef): Promise<StoredSubscription[]> {
    const held = this.sessions.subscriptionsOf(client.id)
    if (held.length > 0 || !this.sessions.wasResumed(client.id)) return held
    return [{ topic: EMPTY_SESSION_TOPIC, qos: 0 }]
  }
  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    return this.sessions.counts()
  }
  subscriptionsByTopic(topic: string): Promise<MatchedSubscription[]> {
    const matched = this.sessions.matching(topic)
    return matched.length === 0 ? NOTHING_MATCHED : Promise.resolve(matched)
  }
  /** Is a message of QoS 1 on this topic queued for a session? */
  queuesFor(topic: string): boolean {
    return this.sessions.isQueued(topic)
  }
  /** Forgets the whole outgoing side of a session: with its subscriptions goes what was queued for it [MQTT-3.1.2-6]. */
  async cleanSubscriptions(client: ClientRef): Promise<void> {
    await Promise.all([this.sessions.delete(client.id), this.queues.delete(client.id)])
  }

  outgoingEnqueue(subscription: { clientId: string }, packet: BrokerPacket): Promise<void> {
    return this.queues.enqueue(subscription.clientId, packet)
  }
  /** Once per session however many of its filters match, at the highest QoS granted to them [MQTT-3.3.5-1]. */
  outgoingEnqueueCombi(subscriptions: readonly { clientId: string; qos?: number }[], packet: BrokerPacket): Promise<void> {
    if (subscriptions.length === 0) return DONE
    const granted = new Map<string, number>()
    for (const { clientId, qos = packet.qos } of subscriptions) granted.set(clientId, Math.max(qos, granted.get(clientId) ?? 0))
    return Promise.all([...granted].map(([clientId, qos]) => this.queues.enqueue(clientId, packet, qos))).then(nothing)
  }
  async outgoingUpdate(client: ClientRef, packet: BrokerPacket): Promise<void> {
    // Delivered with QoS 0, as granted: it was never queued.
    if (packet.qos === 0 && packet.cmd === 'publish') return
    await this.queues.update(client.id, packet)
  }
  async outgoingClearMessageId(client: ClientRef, packet: { messageId?: number }): Promise<BrokerPacket | undefined> {
    return this.queues.clear(client.id, packet.messageId)
  }
  outgoingStream(client: ClientRef): Readable {
    return Readable.from(this.queues.stream(client.id, client))
  }

  async incomingStorePacket(client: ClientRef, packet: BrokerPacket): Promise<void> {
    this.#require(this.#owns(client.id))
    await this.incoming.store(client.id, packet)
  }
  async incomingGetPacket(client: ClientRef, packet: { messageId?: number }): Promise<BrokerPacket> {
    return this.incoming.get(client.id, packet.messageId ?? 0)
  }
  async incomingDelPacket(client: ClientRef, packet: { messageId?: number }): Promise<void> {
    await this.incoming.delete(client.id, packet.messageId ?? 0)
  }
  async cleanIncoming(client: ClientRef): Promise<void> {
    if (this.#mayForget(client)) await this.incoming.deleteAll(client.id)
  }

  async putWill(client: ClientRef, will: BrokerPacket): Promise<void> {
    this.#require(this.#owns(client.id))
    will.brokerId = this.#broker?.id
    will.clientId = client.id
    await this.wills.put(client.id, will)
  }
  async getWill(client: ClientRef): Promise<BrokerPacket | undefined> {
    return this.wills.get(client.id)
  }
  async delWill(client: ClientRef): Promise<BrokerPacket | undefined> {
    return this.wills.delete(client.id)
  }
  streamWill(living: Readonly<Record<string, unknown>> = {}): Readable {
    // Where clients are owned, whoever takes them over publishes what their last connection left behind, at once.
    return Readable.from(this.#ownership === undefined ? this.wills.leftBehind(living) : [])
  }

  getClientList(filter: string): Readable {
    return Readable.from(this.sessions.clientsWith(filter))
  }

  /** Waits for what is being written; the documents engine belongs to whoever opened it. */
  async destroy(): Promise<void> {
    await Promise.all([this.sessions, this.queues, this.incoming, this.retained, this.wills].map((store) => store.settled()))
  }
}

function nothing(): void {
  // Aedes waits for the writes and wants no value.
}

/** Shared answers: most publishes match no queueing subscription, and a promise for each would be garbage. */
const NOTHING_MATCHED: Promise<MatchedSubscription[]> = Promise.resolve([])
const DONE: Promise<void> = Promise.resolve()
