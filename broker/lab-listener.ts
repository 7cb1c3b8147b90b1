import { createServer, type Server, type Socket } from 'node:net'
import { Aedes, type AedesPublishPacket, type AuthenticateError, type Client, type Subscription } from 'aedes'
import { ConfigError, describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import { aedesOptions } from './aedes-options.ts'
import { bind, closeServer } from './bind.ts'
import type { BrokerConfig } from './config.ts'
import { connectRefusal, SERVER_UNAVAILABLE } from './connect-check.ts'
import { GrantedFilters } from './granted-filters.ts'
import { DeadlineWheel } from './packets/deadline-wheel.ts'
import type { PacketLimits } from './packets/limits.ts'
import { StrictConnection } from './packets/strict-connection.ts'
import { DocumentsPersistence, EMPTY_SESSION_TOPIC } from './persistence/documents-persistence.ts'

/** The one address that may be opened to anyone without a certificate. */
const LAB_HOST = '127.0.0.1'

/** What suites send is up to the protocol's own bounds; the packet check stays, our bounds on names and numbers do not. */
const PROTOCOL_BOUNDS: Partial<PacketLimits> = { topicBytesMax: 65_535, topicLevelsMax: 96, clientIdBytesMax: 60_000 }

export interface LabListenerOptions {
  config: BrokerConfig
  clock: Clock
  log: Logger
  documents: Documents
}

/**
 * The conformance listener: plain MQTT on 127.0.0.1 for protocol test suites, closed unless a port is configured. The same packet check and
 * persistence as for devices (under names of its own), but an Aedes of its own: no certificates, no topic policy, no connection limits,
 * and nothing published here is ingested or reaches a device.
 */
export class LabListener implements Service {
  readonly name = 'lab-listener'
  readonly #options: LabListenerOptions
  readonly #limits: PacketLimits
  readonly #persistence: DocumentsPersistence
  readonly #granted = new GrantedFilters()
  readonly #deadlines: DeadlineWheel
  readonly #sockets = new Set<Socket>()
  #aedes: Aedes | undefined
  #server: Server | undefined
  #port: number | undefined

  constructor(options: LabListenerOptions) {
    const { config, clock, documents } = options
    this.#options = options
    this.#limits = { ...config.packets, ...PROTOCOL_BOUNDS }
    this.#deadlines = new DeadlineWheel(clock)
    this.#persistence = new DocumentsPersistence({
      documents,
      clock,
      namespace: 'lab',
      // Topics here belong to no device, so only the bound on all of them counts.
      limits: {
        ...config,
        retainedPerDeviceMax: Infinity,
        retainedBytesPerDeviceMax: config.retainedBytesMax,
        subscriptionsPerSessionMax: Infinity,
      },
      onDropped: (drop) => options.log.warn(drop, 'conformance listener dropped a message'),
    })
  }

  /** The bound port; undefined while closed. */
  get port(): number | undefined {
    return this.#port
  }

  /** Does nothing without a port. Throws ConfigError for another address than 127.0.0.1, EnvironmentError when the port cannot be bound. */
  async start(): Promise<void> {
    const { lab } = this.#options.config
    if (lab.port === null || this.#aedes !== undefined) return
    if (lab.host !== LAB_HOST) {
      throw new ConfigError([
        { key: 'broker.lab.host (FLEETPULSE_LAB_MQTT_HOST)', problem: `${lab.host} would let anyone on the network in`, allowed: LAB_HOST },
      ])
    }
    this.#aedes = this.#createAedes(lab.denySubscribe)
    await this.#aedes.listen()
    this.#server = createServer({ noDelay: true }, (socket) => this.#welcome(socket))
    this.#port = await bind(this.#server, LAB_HOST, lab.port, 'the conformance listener', 'FLEETPULSE_LAB_MQTT_PORT')
    this.#options.log.warn(
      { host: LAB_HOST, port: this.#port },
      'CONFORMANCE LISTENER OPEN: plain MQTT, no certificates, no topic policy; every program on this machine can use it. Close it by unsetting FLEETPULSE_LAB_MQTT_PORT.',
    )
  }

  async stop(): Promise<void> {
    const aedes = this.#aedes
    if (aedes === undefined || aedes.closed) return
    const closed = this.#server === undefined ? Promise.resolve() : closeServer(this.#server)
    await new Promise<void>((resolve) => aedes.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
    this.#deadlines.stop()
    await this.#persistence.destroy()
    this.#port = undefined
  }

  #createAedes(denySubscribe: string | null): Aedes {
    const { config, log } = this.#options
    const aedes = new Aedes({
      ...aedesOptions(config, this.#limits, this.#persistence),
      authenticate: (client, _username, _password, done) => this.#authenticate(client, done),
      authorizeSubscribe: (client, subscription, done) => this.#authoriseSubscribe(client, subscription, denySubscribe, done),
      authorizeForward: (client, packet) => this.#authoriseForward(client, packet),
    })
    aedes.on('unsubscribe', (filters, client) => this.#granted.revoke(client, filters))
    ;(aedes as NodeJS.EventEmitter).on('error', (error: Error) => log.error({ error: describeError(error) }, 'conformance listener error'))
    return aedes
  }

  #welcome(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    const connection = new StrictConnection({
      socket,
      limits: this.#limits,
      deadlines: this.#deadlines,
      onViolation: ({ code, clause, sentence }) =>
        this.#options.log.debug({ code, clause, sentence }, 'conformance listener ended a connection'),
    })
    this.#aedes?.handle(connection)
  }

  #authenticate(client: Client, done: (error: AuthenticateError | null, success: boolean | null) => void): void {
    if (client.clean) {
      done(null, true)
      return
    }
    this.#persistence.openSession(client.id).then(
      () => done(null, true),
      (error: unknown) => done(connectRefusal(SERVER_UNAVAILABLE, error), false),
    )
  }

  #authoriseSubscribe(
    client: Client,
    subscription: Subscription,
    denied: string | null,
    done: (error: Error | null, subscription?: Subscription | null) => void,
  ): void {
    if (subscription.topic === denied || subscription.topic === EMPTY_SESSION_TOPIC) return done(null, null)
    done(null, this.#granted.grant(client, subscription))
  }

  #authoriseForward(client: Client, packet: AedesPublishPacket): AedesPublishPacket {
    if (packet.messageId === undefined) packet.qos = this.#granted.deliveryQos(client, packet.topic, packet.qos)
    return packet
  }
}
