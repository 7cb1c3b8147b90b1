import { Aedes, type AedesPublishPacket, type AuthenticateError, type Client, type PublishPacket, type Subscription } from 'aedes'
import type { FactoryCredential } from '../contracts/credential.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import { describeError, EnvironmentError, FleetpulseError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { aedesOptions } from './aedes-options.ts'
import type { FactoryAdmissions } from './claims/factory-admissions.ts'
import type { BrokerConfig } from './config.ts'
import { checkConnect, checkRoom, connectRefusal, NOT_AUTHORISED, SERVER_UNAVAILABLE, type ConnectVerdict } from './connect-check.ts'
import { devicePrincipal, type DeviceSession, type UplinkPacket } from './device-session.ts'
import type { TakeResult } from './edges/seats.ts'
import { DirectEmitter, type EmittedPacket } from './direct-emitter.ts'
import { GrantedFilters } from './granted-filters.ts'
import { partiesOf, sessionIdOfTopic } from './names.ts'
import type { PlainPublish } from './packets/publish.ts'
import type { StrictConnection } from './packets/strict-connection.ts'
import { EMPTY_SESSION_TOPIC, type DocumentsPersistence } from './persistence/documents-persistence.ts'
import type { BrokerPacket } from './persistence/packet.ts'
import type { RefusalReason, Refusals } from './refusals.ts'
import { mayHoldFilter } from './topic-policy.ts'
import type { UplinkGate } from './uplink-gate.ts'

type AuthenticateDone = (error: AuthenticateError | null, success: boolean | null) => void
type SubscribeDone = (error: Error | null, subscription?: Subscription | null) => void

const NO_FACTORIES: ConnectVerdict = {
  status: 'refused',
  reason: 'factory-refused',
  returnCode: NOT_AUTHORISED,
  detail: 'factory certificates are not taken here',
}

/** Why a device that is not held here is not let in. */
const NOT_HELD: Record<Exclude<TakeResult, 'held'>, string> = {
  taken: 'it connected to another edge after this',
  timeout: 'the edge that has its session did not give it up in time',
  uncertain: 'this edge cannot tell whether its lease on sessions still holds',
}

/** What happens to sessions, for whoever keeps a record of it. */
export interface SessionListener {
  connected(session: DeviceSession): void
  disconnected(session: DeviceSession): void
}

/** Where a device's state is held, as far as its CONNECT needs to know. */
export interface SeatKeeper {
  /** May the device have its session here, at once? */
  isReady(clientId: string): boolean
  /** Sees to it, within a bound. */
  take(clientId: string): Promise<TakeResult>
}

/** A message from the platform to a device, as Aedes tells messages apart. */
export type DownPacket = BrokerPacket & { cmd: 'publish'; qos: 1; brokerId: string; brokerCounter: number }

export interface DeviceBrokerOptions {
  config: BrokerConfig
  log: Logger
  registry: RegistryView
  refusals: Refusals
  gate: UplinkGate
  persistence: DocumentsPersistence
  listener: SessionListener
  /** Clients that were refused: their end must not touch the session they asked for. */
  refusedClients: WeakSet<object>
  /** Asked once, at start. */
  seats: () => SeatKeeper
  /** Lets devices with factory certificates in; without it none is. */
  factories?: FactoryAdmissions
}

/** Aedes with our checks in its hooks. Each connection it handles has a DeviceSession; its decisions rest on nothing else. */
export class DeviceBroker {
  readonly #options: DeviceBrokerOptions
  readonly #sessions = new WeakMap<Client, DeviceSession>()
  readonly #clients = new Map<string, Client>()
  readonly #granted = new GrantedFilters()
  readonly #emitter: DirectEmitter
  #seats: SeatKeeper | undefined
  readonly #aedes: Aedes

  constructor(options: DeviceBrokerOptions) {
    this.#options = options
    const { config, persistence } = options
    this.#emitter = new DirectEmitter((packet) => this.#holdsBack(packet))
    this.#aedes = new Aedes({
      ...aedesOptions(config, config.packets, persistence),
      mq: this.#emitter,
      preConnect: (client, packet, done) => {
        const session = this.#sessions.get(client)
        if (session !== undefined) session.willTopic = packet.will?.topic
        done(null, session !== undefined)
      },
      authenticate: (client, _username, _password, done) => this.#authenticate(client, done),
      authorizePublish: (client, packet, done) => this.#authorisePublish(client, packet, done),
      authorizeSubscribe: (client, subscription, done) => this.#authoriseSubscribe(client, subscription, done),
      authorizeForward: (client, packet) => this.#authoriseForward(client, packet),
    })
  }

  async start(): Promise<void> {
    const aedes = this.#aedes
    this.#seats = this.#options.seats()
    aedes.on('client', (client) => {
      const session = this.#sessions.get(client)
      // One that left during its CONNECT is told of by nobody.
      if (session === undefined || session.isClosed) return
      this.#clients.set(client.id, client)
      this.#options.listener.connected(session)
    })
    aedes.on('clientReady', (client) => this.#onReady(client))
    aedes.on('clientDisconnect', (client) => this.#onDisconnect(client))
    aedes.on('unsubscribe', (filters, client) => this.#granted.revoke(client, filters))
    aedes.on('clientError', (client, error) => this.#onClientError(client, error))
    aedes.on('connectionError', (client, error) => this.#onClientError(client, error))
    // Aedes reports failed background work (an unreadable store) here; unheard it would end the process.
    ;(aedes as NodeJS.EventEmitter).on('error', (error: Error) => this.#options.log.error({ error: describeError(error) }, 'broker error'))
    await aedes.listen()
  }

  /** Ends every connection. */
  async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.#aedes.close(() => resolve()))
    await this.#options.persistence.destroy()
  }

  handle(session: DeviceSession, connection: StrictConnection): void {
    const client = this.#aedes.handle(connection)
    this.#sessions.set(client, session)
    connection.offerPublishes((publish) => this.#takePublish(client, session, connection, publish))
  }

  isLive(sessionId: string): boolean {
    return this.#clients.has(sessionId)
  }

  /** Is a connected client subscribed so that a message on this topic reaches it? */
  isListening(sessionId: string, topic: string): boolean {
    const client = this.#clients.get(sessionId)
    return client !== undefined && this.#granted.matches(client, topic)
  }

  /** This run of the broker, as packets name it. */
  get id(): string {
    return this.#aedes.id
  }

  /** Makes a message durable where it must be: retained, and queued for the device's persistent session. */
  async queue(packet: DownPacket): Promise<void> {
    if (this.#aedes.closed) throw new EnvironmentError('BROKER_STOPPED', 'the broker is not running', { retryable: true })
    const { persistence } = this.#options
    if (packet.retain) await persistence.storeRetained(packet)
    await persistence.outgoingEnqueueCombi(persistence.sessions.matching(packet.topic), packet)
  }

  /** Sends a message that was queued to whoever listens; resolves when it is written. */
  emit(packet: DownPacket): Promise<void> {
    return new Promise((resolve) => void this.#emitter.emit(packet, () => resolve()))
  }

  /** Publishes the will of a connection that ended with the process that held it. */
  publishWill({ topic, payload, qos, retain, clientId = '' }: BrokerPacket): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#willLeftBehind({ topic, payload, qos, retain, clientId }, (error) => {
        if (error) reject(error)
        else
          this.#aedes.publish({ cmd: 'publish', dup: false, topic, payload, qos, retain }, (failure) =>
            failure ? reject(failure) : resolve(),
          )
      })
    })
  }

  #authenticate(client: Client, done: AuthenticateDone): void {
    const session = this.#sessions.get(client)
    if (session === undefined || session.expelled !== undefined) {
      this.#options.refusedClients.add(client)
      done(connectRefusal(NOT_AUTHORISED), false)
      return
    }
    if (session.credential.kind === 'factory' && !session.isAdmitted && client.id === session.sessionId) {
      void this.#admitFactory(client, session, session.credential, done)
      return
    }
    const verdict = checkConnect(session, client, this.#options.registry)
    if (verdict.status === 'refused') this.#refuseConnect(client, session, verdict, done)
    else if (this.#seats?.isReady(client.id) === true) this.#openSession(client, session, done)
    else void this.#seat(client, session, done)
  }

  /** A factory certificate: the registry knows it, or decides about it now. */
  async #admitFactory(client: Client, session: DeviceSession, credential: FactoryCredential, done: AuthenticateDone): Promise<void> {
    const { factories } = this.#options
    const { certificatePem, remoteAddress } = session
    const verdict = (await factories?.admit(credential, certificatePem, remoteAddress)) ?? NO_FACTORIES
    if (verdict.status === 'refused') return this.#refuseConnect(client, session, verdict, done)
    session.isAdmitted = true
    this.#authenticate(client, done)
  }

  /** The device was held elsewhere, or by nobody. */
  async #seat(client: Client, session: DeviceSession, done: AuthenticateDone): Promise<void> {
    const seats = (this.#seats ??= this.#options.seats())
    try {
      while (!seats.isReady(client.id)) {
        const result = await seats.take(client.id)
        if (result === 'held') continue
        const detail = NOT_HELD[result]
        this.#refuseConnect(client, session, { status: 'refused', reason: 'session-taken', returnCode: SERVER_UNAVAILABLE, detail }, done)
        return
      }
    } catch (error) {
      this.#refuse(client, session, 'store-failed', `its session could not be found: ${describeError(error)}`)
      done(connectRefusal(SERVER_UNAVAILABLE), false)
      return
    }
    const verdict = checkConnect(session, client, this.#options.registry)
    if (verdict.status === 'refused') this.#refuseConnect(client, session, verdict, done)
    else this.#openSession(client, session, done)
  }

  #openSession(client: Client, session: DeviceSession, done: AuthenticateDone): void {
    const { persistence, config } = this.#options
    const verdict = checkRoom(client, persistence.sessions, config.sessionsMax)
    if (verdict.status === 'refused') {
      this.#refuseConnect(client, session, verdict, done)
      return
    }
    session.seated = true
    if (client.clean) {
      done(null, true)
      return
    }
    persistence.openSession(client.id, client).then(
      () => done(null, true),
      (error: unknown) => {
        this.#refuse(client, session, 'store-failed', `its session could not be stored: ${describeError(error)}`)
        done(connectRefusal(SERVER_UNAVAILABLE), false)
      },
    )
  }

  #refuseConnect(
    client: Client,
    session: DeviceSession,
    verdict: Extract<ConnectVerdict, { status: 'refused' }>,
    done: AuthenticateDone,
  ): void {
    this.#refuse(client, session, verdict.reason, verdict.detail)
    done(connectRefusal(verdict.returnCode), false)
  }

  #refuse(client: Client, session: DeviceSession, reason: RefusalReason, detail: string | undefined): void {
    this.#options.refusedClients.add(client)
    this.#options.refusals.note(reason, { ...session.context, ...(detail === undefined ? {} : { detail }) })
  }

  /** What a device sends and nobody listens to goes to the gate at once: of Aedes it would need nothing but the PUBACK. */
  #takePublish(client: Client, session: DeviceSession, connection: StrictConnection, publish: PlainPublish): boolean {
    const { gate, persistence } = this.#options
    const { topic, payload, messageId } = publish
    const route = topic === session.lastTopic ? session.lastRoute : session.topicPrefix + topic
    if (this.#emitter.hasListener(route) || persistence.queuesFor(route)) return false
    gate.publish(session, { topic, payload, qos: 1, retain: false, messageId }, (error) => {
      if (error) (client as unknown as NodeJS.EventEmitter).emit('error', error)
      else connection.acknowledge(messageId)
    })
    return true
  }

  #authorisePublish(client: Client | null, packet: PublishPacket, done: (error?: Error | null) => void): void {
    const uplink = packet as UplinkPacket & { clientId?: string }
    const session = client === null ? undefined : this.#sessions.get(client)
    if (session === undefined) this.#willLeftBehind(uplink, done)
    else if (uplink.cmd === 'publish') this.#options.gate.publish(session, uplink, done)
    else this.#options.gate.will(session, uplink, done)
  }

  /** A will of a broker run that was killed. Its topic passed the policy at CONNECT; a device no longer known is not heard. */
  #willLeftBehind(will: UplinkPacket & { clientId?: string }, done: (error?: Error | null) => void): void {
    const parties = partiesOf(will.clientId ?? '')
    if (parties === undefined || this.#options.registry.typeOf(parties.tenant, parties.device) === undefined) return done()
    const { tenant, device } = parties
    this.#options.gate.will(
      { identity: parties, principal: devicePrincipal(tenant, device), context: parties, expelled: undefined },
      will,
      done,
    )
  }

  #authoriseSubscribe(client: Client, subscription: Subscription, done: SubscribeDone): void {
    const session = this.#sessions.get(client)
    const filter = subscription.topic
    // Not an error: refused filters are answered 0x80 [MQTT-3.9.3-2], the connection stays.
    if (session === undefined || filter === EMPTY_SESSION_TOPIC) return done(null, null)
    if (!mayHoldFilter(session.sessionId, filter)) {
      this.#options.refusals.note('foreign-filter', session.context)
      return done(null, null)
    }
    const isNew = !this.#granted.has(client, filter)
    if (isNew && this.#granted.count(client) >= this.#options.config.subscriptionsPerSessionMax) {
      this.#options.refusals.note('subscriptions-max', session.context)
      return done(null, null)
    }
    done(null, this.#granted.grant(client, subscription))
  }

  /** A second look at what goes down: only the device's own topics, and no more than the granted QoS. */
  #authoriseForward(client: Client, packet: AedesPublishPacket): AedesPublishPacket | null {
    const session = this.#sessions.get(client)
    // One that is being expelled gets nothing more, retained or not.
    if (session === undefined || session.expelled !== undefined || !packet.topic.startsWith(session.ownPrefix)) return null
    // A packet with an id comes from the session's queue, where its QoS was settled.
    if (packet.messageId === undefined) packet.qos = this.#granted.deliveryQos(client, packet.topic, packet.qos)
    return packet
  }

  /** A message is sent once per connection: with the queue while that is being sent, by itself afterwards. */
  #holdsBack(packet: EmittedPacket): boolean {
    if (packet.qos === 0) return false
    const sessionId = sessionIdOfTopic(packet.topic)
    const { persistence } = this.#options
    return sessionId !== undefined && (!persistence.holds(sessionId) || persistence.queues.holdsBack(sessionId, packet as BrokerPacket))
  }

  /** Its queue is written; what came to it in the last moment follows. */
  #onReady(client: Client): void {
    if (client.clean) return
    for (const packet of this.#options.persistence.queues.endStream(client.id, client)) this.#emitter.emit(packet, () => undefined)
  }

  #onDisconnect(client: Client): void {
    if (this.#clients.get(client.id) === client) this.#clients.delete(client.id)
    const session = this.#sessions.get(client)
    if (session === undefined) return
    this.#options.listener.disconnected(session)
    if (client.clean || !this.#options.persistence.holds(client.id)) return
    this.#options.persistence.sessions
      .touch(client.id)
      .catch((error: unknown) => this.#options.log.error({ ...session.context, error: describeError(error) }, 'session was not stored'))
  }

  #onClientError(client: Client, error: Error): void {
    const context = this.#sessions.get(client)?.context ?? {}
    // Ours were noted where they arose, and those with a code are the network's; what is left are Aedes' own bounds.
    const isAedes = !(error instanceof FleetpulseError) && (error as NodeJS.ErrnoException).code === undefined
    if (isAedes) this.#options.refusals.note('broker-error', { ...context, detail: describeError(error) })
    else this.#options.log.debug({ ...context, error: describeError(error) }, 'connection ended with an error')
  }
}
