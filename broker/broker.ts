import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Gauge } from 'prom-client'
import type { RegistryView } from '../contracts/registry-view.ts'
import type { UplinkSink } from '../contracts/uplink.ts'
import { describeError, TimeoutError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import { withTimeout } from '../kernel/retry.ts'
import type { Service } from '../kernel/service.ts'
import { every, type Clock, type Timer } from '../kernel/time.ts'
import type { TlsMaterial } from '../kernel/tls.ts'
import type { Documents } from '../storage/documents/documents.ts'
import { Commands, type DownlinkResult } from './commands.ts'
import type { BrokerConfig } from './config.ts'
import { DeviceAdmission } from './device-admission.ts'
import { DeviceBroker } from './device-broker.ts'
import { DeviceConnections } from './device-connections.ts'
import { plainAddress, type DoorKeeper } from './device-door.ts'
import { DeviceSession, type ListenerName } from './device-session.ts'
import { Expulsion } from './expulsion.ts'
import { createMqttsListener, type DeviceListener } from './mqtts-listener.ts'
import { DeadlineWheel } from './packets/deadline-wheel.ts'
import { StrictConnection } from './packets/strict-connection.ts'
import type { Violation } from './packets/violations.ts'
import { DocumentsPersistence, type PersistenceDrop } from './persistence/documents-persistence.ts'
import { exposePersistence } from './persistence/persistence-gauges.ts'
import { Refusals } from './refusals.ts'
import { mayHoldFilter } from './topic-policy.ts'
import { UplinkGate } from './uplink-gate.ts'
import { createWssListener } from './wss-listener.ts'

/** A device's session began or ended. */
export interface SessionEvent {
  kind: 'connected' | 'disconnected'
  tenant: string
  device: string
  listener: ListenerName
  remoteAddress: string
  /** Epoch ms. */
  at: number
  /** The same for both ends of one connection. */
  correlationId: string
}

export interface BrokerOptions {
  config: BrokerConfig
  clock: Clock
  log: Logger
  metrics: Metrics
  /** What the listeners present and trust, asked at start and at every `reloadTls`. */
  tls: () => TlsMaterial
  registry: RegistryView
  uplinks: UplinkSink
  documents: Documents
  /** Told of every session's begin and end; may not throw. */
  onSession?: (event: SessionEvent) => void
}

/** Ports that were bound. */
export interface BrokerPorts {
  mqtts: number
  wss: number
}

/** Where devices connect: MQTT 3.1.1 over TLS and over secure WebSocket, with their certificates as the only identity. */
export class Broker implements Service {
  readonly name = 'broker'
  readonly #options: BrokerOptions
  readonly #connections = new DeviceConnections()
  readonly #refusals: Refusals
  readonly #violations
  readonly #open: Gauge<'listener'>
  readonly #admission: DeviceAdmission
  readonly #persistence: DocumentsPersistence
  readonly #gate: UplinkGate
  readonly #broker: DeviceBroker
  readonly #commands: Commands
  readonly #expulsion: Expulsion
  readonly #deadlines: DeadlineWheel
  readonly #listeners: Partial<Record<ListenerName, DeviceListener>> = {}
  #ports: BrokerPorts | undefined
  #sweep: Timer | undefined
  #unfollow: (() => void) | undefined
  #state: 'new' | 'running' | 'stopped' = 'new'

  constructor(options: BrokerOptions) {
    const { config, clock, log, metrics, registry } = options
    this.#options = options
    this.#refusals = new Refusals({ metrics, log, clock, logsPerS: config.refusalLogsPerS })
    this.#violations = metrics.counter('broker_packet_violations_total', 'Connections ended by the packet check, by kind of rule', ['code'])
    this.#open = metrics.gauge('broker_connections', 'Open connections of devices', ['listener'])
    this.#admission = new DeviceAdmission({ config, clock, registry, refusals: this.#refusals, connections: this.#connections })
    const refusedClients = new WeakSet<object>()
    this.#persistence = new DocumentsPersistence({
      documents: options.documents,
      clock,
      namespace: 'broker',
      limits: config,
      mayHold: mayHoldFilter,
      mayForget: (client) => !refusedClients.has(client),
      onDropped: (drop) => this.#onDropped(drop),
    })
    this.#gate = new UplinkGate({
      uplinks: options.uplinks,
      clock,
      metrics,
      refusals: this.#refusals,
      persistence: this.#persistence,
      publishRatePerS: config.publishRatePerS,
      publishBurstMax: config.publishBurstMax,
    })
    this.#broker = new DeviceBroker({
      config,
      log,
      registry,
      refusals: this.#refusals,
      gate: this.#gate,
      persistence: this.#persistence,
      refusedClients,
      listener: {
        connected: (session) => this.#tell('connected', session),
        disconnected: (session) => this.#tell('disconnected', session),
      },
    })
    this.#commands = new Commands({
      broker: this.#broker,
      persistence: this.#persistence,
      metrics,
      packetBytesMax: config.packets.packetBytesMax,
      queueMessagesMax: config.queueMessagesMax,
    })
    this.#expulsion = new Expulsion({ connections: this.#connections, clock, log, metrics })
    this.#deadlines = new DeadlineWheel(clock)
    exposePersistence(metrics, this.#persistence)
  }

  /** Bound ports; undefined while it does not listen. */
  get ports(): BrokerPorts | undefined {
    return this.#ports
  }

  /** Opens both listeners. Throws EnvironmentError PORT_IN_USE or LISTEN_FAILED, with nothing left open. */
  async start(): Promise<void> {
    if (this.#state !== 'new') return
    this.#state = 'running'
    const { config, clock, log, registry } = this.#options
    this.#unfollow = this.#expulsion.follow(registry)
    try {
      await this.#broker.start()
      this.#ports = await this.#openListeners()
    } catch (error) {
      await this.stop()
      throw error
    }
    this.#sweep = every(
      clock,
      config.sessionSweepMs,
      () => this.#expireSessions(),
      (error) => {
        log.error({ error: describeError(error) }, 'expired sessions were not removed')
      },
    )
    log.info({ host: config.host, ...this.#ports }, 'broker listens')
  }

  /** Accepts nobody more, lets pending publishes become durable and be acknowledged within `stopTimeoutMs`, and ends every connection. */
  async stop(): Promise<void> {
    if (this.#state !== 'running') return
    this.#state = 'stopped'
    this.#ports = undefined
    this.#sweep?.cancel()
    this.#unfollow?.()
    for (const listener of Object.values(this.#listeners)) listener.door.shut()
    await this.#drain()
    await this.#broker.stop()
    await this.#drain()
    await Promise.all(Object.values(this.#listeners).map((listener) => listener.door.close()))
    this.#deadlines.stop()
    this.#gate.flush()
    this.#refusals.flush()
  }

  /** Takes the new certificates into use for new connections; sessions stay. */
  reloadTls(): void {
    const material = this.#options.tls()
    for (const listener of Object.values(this.#listeners)) listener.reloadTls(material)
    this.#options.log.info('broker certificates reloaded')
  }

  /**
   * Sends a message to a device with QoS 1, on `devices/{device}/{path}` where `path` is `commands/{id}` or `twin/desired`.
   * Throws InvalidInputError for another path or a payload that fits no packet.
   */
  publishDown(
    tenant: string,
    device: string,
    path: string,
    payload: Uint8Array,
    options: { retain?: boolean } = {},
  ): Promise<DownlinkResult> {
    return this.#commands.publishDown(tenant, device, path, payload, options)
  }

  /** Is the device connected now? */
  isConnected(tenant: string, device: string): boolean {
    return this.#broker.isLive(`${tenant}/${device}`)
  }

  async #openListeners(): Promise<BrokerPorts> {
    const { clock, config, tls } = this.#options
    const material = tls()
    const keeper: DoorKeeper = {
      admitAddress: (remoteAddress, listener) => this.#admission.admitAddress(remoteAddress, listener, this.#openSockets()),
      welcome: (socket, stream, listener) => this.#welcome(socket, stream, listener),
      refused: (reason, listener, remoteAddress, detail) => this.#refusals.note(reason, { listener, remoteAddress, detail }),
    }
    const mqtts = createMqttsListener(material, config.handshakeTimeoutMs, keeper)
    // A frame may carry more than one packet.
    const frameBytesMax = config.packets.packetBytesMax + config.packets.bufferedBytesMax
    const wss = createWssListener(material, { handshakeTimeoutMs: config.handshakeTimeoutMs, frameBytesMax, clock }, keeper)
    this.#listeners.mqtts = mqtts
    this.#listeners.wss = wss
    return { mqtts: await mqtts.door.open(config.host, config.mqttsPort), wss: await wss.door.open(config.host, config.wssPort) }
  }

  #openSockets(): number {
    return Object.values(this.#listeners).reduce((sum, listener) => sum + listener.door.size, 0)
  }

  #welcome(tls: TLSSocket, stream: Duplex, listener: ListenerName): void {
    const { config, clock } = this.#options
    const remoteAddress = plainAddress(tls.remoteAddress)
    const identity = this.#state === 'running' ? this.#admission.admitCertificate(tls, listener, remoteAddress) : undefined
    if (identity === undefined) {
      stream.on('error', () => stream.destroy())
      tls.destroy()
      return
    }
    const nowMs = clock.monotonicMs()
    const session = new DeviceSession({ identity, listener, remoteAddress, socket: tls, tokens: config.publishBurstMax, nowMs })
    session.correlationId = this.#gate.nextCorrelationId()
    this.#connections.add(session)
    this.#open.inc({ listener })
    session.onceClosed(() => {
      this.#connections.remove(session)
      this.#open.dec({ listener })
    })
    const connection = new StrictConnection({
      socket: stream,
      limits: config.packets,
      deadlines: this.#deadlines,
      prefixes: { topicPrefix: session.topicPrefix, clientIdPrefix: session.topicPrefix },
      onViolation: (violation) => this.#onViolation(violation, session),
    })
    this.#broker.handle(session, connection)
  }

  #onViolation(violation: Violation, session: DeviceSession): void {
    this.#violations.inc({ code: violation.code })
    this.#refusals.note('packet', { ...session.context, clause: violation.clause, detail: violation.sentence })
  }

  #onDropped(drop: PersistenceDrop): void {
    const whose = 'clientId' in drop ? { session: drop.clientId } : { topic: drop.topic }
    this.#refusals.note(drop.reason, whose)
  }

  #tell(kind: SessionEvent['kind'], session: DeviceSession): void {
    const { tenant, device } = session.identity
    const { listener, remoteAddress, correlationId } = session
    this.#options.log.debug({ tenant, device, listener, remoteAddress, correlationId }, `device ${kind}`)
    this.#options.onSession?.({ kind, tenant, device, listener, remoteAddress, at: this.#options.clock.nowMs(), correlationId })
  }

  async #expireSessions(): Promise<void> {
    const { clock, config, log } = this.#options
    const expired = await this.#persistence.expireSessions(clock.nowMs() - config.sessionExpiryMs, (sessionId) =>
      this.#broker.isLive(sessionId),
    )
    if (expired > 0) log.info({ sessions: expired }, 'expired sessions removed')
  }

  async #drain(): Promise<void> {
    const { clock, config, log } = this.#options
    try {
      await withTimeout(clock, config.stopTimeoutMs, 'making pending publishes durable', this.#gate.drained())
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error
      log.warn(
        { stopTimeoutMs: config.stopTimeoutMs },
        'stopped with publishes pending; they are not acknowledged and their devices send them again',
      )
    }
  }
}
