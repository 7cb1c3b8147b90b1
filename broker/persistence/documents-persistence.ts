import { Readable } from 'node:stream'
import type { Subscription } from 'aedes'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { IncomingStore } from './incoming-store.ts'
import { OutgoingQueues, type QueueDropReason, type QueueLimits } from './outgoing-queues.ts'
import type { BrokerPacket } from './packet.ts'
import { RetainedStore, type RetainedDropReason, type RetainedLimits } from './retained-store.ts'
import { SessionStore, type MatchedSubscription, type StoredSubscription } from './session-store.ts'
import { WillStore } from './will-store.ts'

/** Something a bound kept out, for counting and logging: a session's message, or a topic's retained message. */
export type PersistenceDrop = { reason: QueueDropReason; clientId: string } | { reason: RetainedDropReason; topic: string }

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
 * a kill, as far as their promises resolved. All state but QoS 2 packets is also in memory, within named bounds; one broker
 * process owns a namespace.
 */
export class DocumentsPersistence {
  readonly sessions: SessionStore
  readonly queues: OutgoingQueues
  readonly incoming: IncomingStore
  readonly retained: RetainedStore
  readonly #wills: WillStore
  readonly #mayHold: (clientId: string, filter: string) => boolean
  readonly #mayForget: (client: object) => boolean
  #broker: { id: string } | undefined

  constructor(options: DocumentsPersistenceOptions) {
    const { documents, namespace, limits, onDropped } = options
    this.sessions = new SessionStore({
      documents,
      collectionName: `${namespace}-sessions`,
      nowMs: () => options.clock.nowMs(),
      subscriptionsPerSessionMax: limits.subscriptionsPerSessionMax,
    })
    this.queues = new OutgoingQueues({
      documents,
      collectionName: `${namespace}-queues`,
      limits,
      onDropped: (clientId, reason) => onDropped({ reason, clientId }),
    })
    this.incoming = new IncomingStore(documents, `${namespace}-incoming`)
    this.retained = new RetainedStore({
      documents,
      collectionName: `${namespace}-retained`,
      limits,
      onDropped: (topic, reason) => onDropped({ reason, topic }),
    })
    this.#wills = new WillStore(documents, `${namespace}-wills`)
    this.#mayHold = options.mayHold ?? (() => true)
    this.#mayForget = options.mayForget ?? (() => true)
  }

  /** Named as Aedes' abstract test-suite wants it. */
  get broker(): { id: string } | undefined {
    return this.#broker
  }

  async setup(broker: { id: string }): Promise<void> {
    this.#broker = broker
    await Promise.all([this.sessions.load(), this.queues.load(), this.incoming.load(), this.retained.load(), this.#wills.load()])
  }

  /** To be called before Aedes looks for the session of a client that connects with clean session 0. */
  async openSession(clientId: string): Promise<'resumed' | 'created'> {
    this.queues.markRedelivered(clientId)
    return this.sessions.open(clientId)
  }

  /** Ends sessions last in use before this instant, unless `isLive`; resolves to how many. */
  async expireSessions(instantMs: number, isLive: (clientId: string) => boolean): Promise<number> {
    const expired = [...this.sessions.seenBefore(instantMs)].filter((clientId) => !isLive(clientId))
    for (const clientId of expired) await Promise.all([this.cleanSubscriptions({ id: clientId }), this.incoming.deleteAll(clientId)])
    return expired.length
  }

  storeRetained(packet: BrokerPacket): Promise<void> {
    return this.retained.store(packet)
  }
  createRetainedStream(filter: string): Readable {
    return Readable.from(this.retained.matching([filter]))
  }
  createRetainedStreamCombi(filters: string[]): Readable {
    return Readable.from(this.retained.matching(filters))
  }

  async addSubscriptions(client: ClientRef, subscriptions: Subscription[]): Promise<void> {
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
    return Readable.from(this.queues.packets(client.id))
  }

  incomingStorePacket(client: ClientRef, packet: BrokerPacket): Promise<void> {
    return this.incoming.store(client.id, packet)
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
    will.brokerId = this.#broker?.id
    will.clientId = client.id
    await this.#wills.put(client.id, will)
  }
  async getWill(client: ClientRef): Promise<BrokerPacket | undefined> {
    return this.#wills.get(client.id)
  }
  async delWill(client: ClientRef): Promise<BrokerPacket | undefined> {
    return this.#wills.delete(client.id)
  }
  streamWill(living: Readonly<Record<string, unknown>> = {}): Readable {
    return Readable.from(this.#wills.leftBehind(living))
  }

  getClientList(filter: string): Readable {
    return Readable.from(this.sessions.clientsWith(filter))
  }

  /** Waits for what is being written; the documents engine belongs to whoever opened it. */
  async destroy(): Promise<void> {
    await Promise.all([this.sessions, this.queues, this.incoming, this.retained, this.#wills].map((store) => store.settled()))
  }
}

function nothing(): void {
  // Aedes waits for the writes and wants no value.
}

/** Shared answers: most publishes match no queueing subscription, and a promise for each would be garbage. */
const NOTHING_MATCHED: Promise<MatchedSubscription[]> = Promise.resolve([])
const DONE: Promise<void> = Promise.resolve()
