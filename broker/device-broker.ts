import { Aedes, type AedesPublishPacket, type AuthenticateError, type Client, type PublishPacket, type Subscription } from 'aedes'
import type { RegistryView } from '../contracts/registry-view.ts'
import { describeError, EnvironmentError, FleetpulseError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { aedesOptions } from './aedes-options.ts'
import type { BrokerConfig } from './config.ts'
import { checkConnect, connectRefusal, NOT_AUTHORISED, SERVER_UNAVAILABLE } from './connect-check.ts'
import { devicePrincipal, type DeviceSession, type UplinkPacket } from './device-session.ts'
import { GrantedFilters } from './granted-filters.ts'
import { partiesOf } from './names.ts'
import type { StrictConnection } from './packets/strict-connection.ts'
import { EMPTY_SESSION_TOPIC, type DocumentsPersistence } from './persistence/documents-persistence.ts'
import type { RefusalReason, Refusals } from './refusals.ts'
import { mayHoldFilter } from './topic-policy.ts'
import type { UplinkGate } from './uplink-gate.ts'

type SubscribeDone = (error: Error | null, subscription?: Subscription | null) => void

/** What happens to sessions, for whoever keeps a record of it. */
export interface SessionListener {
  connected(session: DeviceSession): void
  disconnected(session: DeviceSession): void
}

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
}

/** Aedes with our checks in its hooks. Each connection it handles has a DeviceSession; its decisions rest on nothing else. */
export class DeviceBroker {
  readonly #options: DeviceBrokerOptions
  readonly #sessions = new WeakMap<Client, DeviceSession>()
  readonly #clients = new Map<string, Client>()
  readonly #granted = new GrantedFilters()
  readonly #aedes: Aedes

  constructor(options: DeviceBrokerOptions) {
    this.#options = options
    const { config, persistence } = options
    this.#aedes = new Aedes({
      ...aedesOptions(config, config.packets, persistence),
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
    aedes.on('client', (client) => {
      const session = this.#sessions.get(client)
      if (session === undefined) return
      this.#clients.set(client.id, client)
      this.#options.listener.connected(session)
    })
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
    this.#sessions.set(this.#aedes.handle(connection), session)
  }

  isLive(sessionId: string): boolean {
    return this.#clients.has(sessionId)
  }

  /** Is a connected client subscribed so that a message on this topic reaches it? */
  isListening(sessionId: string, topic: string): boolean {
    const client = this.#clients.get(sessionId)
    return client !== undefined && this.#granted.matches(client, topic)
  }

  /** Publishes from the platform; resolves when it is queued durably where it must be, and written where somebody listens. */
  publish(message: { topic: string; payload: Buffer; retain: boolean }): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#aedes.closed) {
        reject(new EnvironmentError('BROKER_STOPPED', 'the broker is not running', { retryable: true }))
        return
      }
      this.#aedes.publish({ cmd: 'publish', qos: 1, dup: false, ...message }, (error) => (error ? reject(error) : resolve()))
    })
  }

  #authenticate(client: Client, done: (error: AuthenticateError | null, success: boolean | null) => void): void {
    const session = this.#sessions.get(client)
    if (session === undefined || session.expelled !== undefined) {
      this.#options.refusedClients.add(client)
      done(connectRefusal(NOT_AUTHORISED), false)
      return
    }
    const { registry, persistence, config } = this.#options
    const verdict = checkConnect(session, client, { registry, persistence, sessionsMax: config.sessionsMax })
    if (verdict.status === 'refused') {
      this.#refuse(client, session, verdict.reason, verdict.detail)
      done(connectRefusal(verdict.returnCode), false)
      return
    }
    if (client.clean) {
      done(null, true)
      return
    }
    persistence.openSession(client.id).then(
      () => done(null, true),
      (error: unknown) => {
        this.#refuse(client, session, 'store-failed', `its session could not be stored: ${describeError(error)}`)
        done(connectRefusal(SERVER_UNAVAILABLE), false)
      },
    )
  }

  #refuse(client: Client, session: DeviceSession, reason: RefusalReason, detail: string | undefined): void {
    this.#options.refusedClients.add(client)
    this.#options.refusals.note(reason, { ...session.context, ...(detail === undefined ? {} : { detail }) })
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
    if (session === undefined || !packet.topic.startsWith(session.ownPrefix)) return null
    // A packet with an id comes from the session's queue, where its QoS was settled.
    if (packet.messageId === undefined) packet.qos = this.#granted.deliveryQos(client, packet.topic, packet.qos)
    return packet
  }

  #onDisconnect(client: Client): void {
    if (this.#clients.get(client.id) === client) this.#clients.delete(client.id)
    const session = this.#sessions.get(client)
    if (session === undefined) return
    this.#options.listener.disconnected(session)
    if (client.clean) return
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
