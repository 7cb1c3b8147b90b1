import type { Subscription } from 'aedes'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import { documentKey } from './document-key.ts'
import { LatestWriter, type WriteFence } from './latest-writer.ts'
import { loadAll, loadThese } from './load-all.ts'
import { TopicIndex } from './topic-index.ts'

/** One subscription of a persistent session; the MQTT 5 options are kept when a caller gives them. */
export interface StoredSubscription {
  topic: string
  qos: 0 | 1 | 2
  rh?: number
  rap?: boolean
  nl?: boolean
  subscriptionIdentifier?: number
}

/** A subscription as a message finds it. */
export interface MatchedSubscription extends StoredSubscription {
  clientId: string
}

interface SessionDocument {
  clientId: string
  subscriptions: StoredSubscription[]
  /** Epoch ms at which the session was last connected or disconnected: expiry counts from here. */
  seenAt: number
}

interface Session {
  subscriptions: Map<string, StoredSubscription>
  seenAt: number
  /** It existed before the present connection, so the CONNACK says so, even with no subscription in it [MQTT-3.2.2-2]. */
  resumed: boolean
}

/**
 * Persistent sessions (clean session 0) and their subscriptions: all in memory, bounded by the limits on sessions and subscriptions,
 * and written through to one document a session.
 */
export class SessionStore {
  readonly #documents: Documents
  readonly #collectionName: string
  readonly #nowMs: () => number
  readonly #subscriptionsPerSessionMax: number
  readonly #fence: WriteFence | undefined
  readonly #sessions = new Map<string, Session>()
  readonly #index = new TopicIndex<MatchedSubscription>()
  #collection: Collection<SessionDocument> | undefined
  #writer: LatestWriter<SessionDocument> | undefined
  #queueing = 0
  #subscribed = 0

  constructor(options: {
    documents: Documents
    collectionName: string
    nowMs: () => number
    subscriptionsPerSessionMax: number
    fence?: WriteFence | undefined
  }) {
    this.#documents = options.documents
    this.#collectionName = options.collectionName
    this.#nowMs = options.nowMs
    this.#subscriptionsPerSessionMax = options.subscriptionsPerSessionMax
    this.#fence = options.fence
  }

  async open(): Promise<void> {
    this.#collection = await this.#documents.collection<SessionDocument>({ name: this.#collectionName, indexes: [] })
    this.#writer = new LatestWriter(this.#collection, this.#fence)
  }

  /** Takes every session for which `isWanted` into memory. */
  async load(isWanted: (clientId: string) => boolean): Promise<void> {
    if (this.#collection === undefined) return
    for await (const document of loadAll(this.#collection)) if (isWanted(document.clientId)) this.#take(document)
  }

  /** Takes the sessions of these clients into memory. */
  async fetch(clientIds: readonly string[]): Promise<void> {
    if (this.#collection === undefined) return
    for await (const document of loadThese(this.#collection, clientIds.map(documentKey))) this.#take(document)
  }

  /** Drops a session from memory; what is stored stays. */
  async evict(clientId: string): Promise<void> {
    await this.#writer?.settled(documentKey(clientId))
    this.#drop(clientId)
    this.#writer?.forget(documentKey(clientId))
  }

  get size(): number {
    return this.#sessions.size
  }
  /** Subscriptions that queue (QoS 1 and 2), and sessions with at least one subscription. */
  counts(): { subsCount: number; clientsCount: number } {
    return { subsCount: this.#queueing, clientsCount: this.#subscribed }
  }
  has(clientId: string): boolean {
    return this.#sessions.has(clientId)
  }
  wasResumed(clientId: string): boolean {
    return this.#sessions.get(clientId)?.resumed === true
  }

  /** Opens or resumes a persistent session; resolves when a new one is durable. */
  async begin(clientId: string): Promise<'resumed' | 'created'> {
    const known = this.#sessions.get(clientId)
    const session = known ?? this.#create(clientId, this.#nowMs())
    session.resumed = known !== undefined
    session.seenAt = this.#nowMs()
    await this.#store(clientId, session)
    return session.resumed ? 'resumed' : 'created'
  }

  /** Notes that the session was in use until now; resolves when that is durable. */
  async touch(clientId: string): Promise<void> {
    const session = this.#sessions.get(clientId)
    if (session === undefined) return
    session.seenAt = this.#nowMs()
    await this.#store(clientId, session)
  }

  /** Sessions last in use before this instant. */
  *seenBefore(instantMs: number): Generator<string> {
    for (const [clientId, session] of this.#sessions) if (session.seenAt < instantMs) yield clientId
  }

  async addSubscriptions(clientId: string, subscriptions: readonly Subscription[]): Promise<void> {
    const session = this.#sessions.get(clientId) ?? this.#create(clientId, this.#nowMs())
    for (const subscription of subscriptions) this.#set(clientId, session, subscription)
    await this.#store(clientId, session)
  }

  async removeSubscriptions(clientId: string, filters: readonly string[]): Promise<void> {
    const session = this.#sessions.get(clientId)
    if (session === undefined) return
    for (const filter of filters) this.#unset(clientId, session, filter)
    await this.#store(clientId, session)
  }

  /** Forgets the session [MQTT-3.1.2-6]. */
  async delete(clientId: string): Promise<void> {
    if (this.#drop(clientId)) await this.#writer?.write(documentKey(clientId), null)
  }

  subscriptionsOf(clientId: string): StoredSubscription[] {
    return [...(this.#sessions.get(clientId)?.subscriptions.values() ?? [])].map((subscription) => ({ ...subscription }))
  }
  countOf(clientId: string): number {
    return this.#sessions.get(clientId)?.subscriptions.size ?? 0
  }
  /** Subscriptions of QoS 1 and 2 that a message on this topic is queued for. */
  matching(topic: string): MatchedSubscription[] {
    return this.#queueing === 0 ? [] : this.#index.match(topic)
  }
  /** Is there such a subscription? */
  isQueued(topic: string): boolean {
    return this.#queueing > 0 && this.#index.matches(topic)
  }
  /** Sessions subscribed with exactly this filter. */
  *clientsWith(filter: string): Generator<string> {
    for (const [clientId, session] of this.#sessions) if (session.subscriptions.has(filter)) yield clientId
  }

  async settled(): Promise<void> {
    await this.#writer?.settled()
  }

  #take(document: SessionDocument & Stored): void {
    this.#writer?.loaded(document)
    const session = this.#create(document.clientId, document.seenAt)
    for (const subscription of document.subscriptions) this.#set(document.clientId, session, subscription)
  }

  #drop(clientId: string): boolean {
    const session = this.#sessions.get(clientId)
    if (session === undefined) return false
    for (const filter of [...session.subscriptions.keys()]) this.#unset(clientId, session, filter)
    return this.#sessions.delete(clientId)
  }

  #create(clientId: string, seenAt: number): Session {
    const session: Session = { subscriptions: new Map(), seenAt, resumed: false }
    this.#sessions.set(clientId, session)
    return session
  }

  #set(clientId: string, session: Session, subscription: StoredSubscription): void {
    this.#unset(clientId, session, subscription.topic)
    // The subscribe check has answered 0x80 for what is over the bound; here it is only not kept.
    if (session.subscriptions.size >= this.#subscriptionsPerSessionMax) return
    if (session.subscriptions.size === 0) this.#subscribed++
    const kept = keep(subscription)
    session.subscriptions.set(kept.topic, kept)
    if (kept.qos === 0) return
    this.#queueing++
    this.#index.add(kept.topic, { clientId, ...kept })
  }

  #unset(clientId: string, session: Session, filter: string): void {
    const known = session.subscriptions.get(filter)
    if (known === undefined) return
    session.subscriptions.delete(filter)
    if (session.subscriptions.size === 0) this.#subscribed--
    if (known.qos === 0) return
    this.#queueing--
    this.#index.remove(filter, (value) => value.clientId === clientId)
  }

  async #store(clientId: string, session: Session): Promise<void> {
    await this.#writer?.write(documentKey(clientId), {
      clientId,
      subscriptions: [...session.subscriptions.values()],
      seenAt: session.seenAt,
    })
  }
}

function keep(subscription: StoredSubscription): StoredSubscription {
  const kept: StoredSubscription = { topic: subscription.topic, qos: subscription.qos }
  if (subscription.rh !== undefined) kept.rh = subscription.rh
  if (subscription.rap !== undefined) kept.rap = subscription.rap
  if (subscription.nl !== undefined) kept.nl = subscription.nl
  if (subscription.subscriptionIdentifier !== undefined) kept.subscriptionIdentifier = subscription.subscriptionIdentifier
  return kept
}
