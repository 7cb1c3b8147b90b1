import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Gauge } from 'prom-client'
import type { RemoteDoors, Trust } from '../contracts/credential.ts'
import type { DownlinksCancelled } from '../contracts/downlink.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import type { UplinkSink } from '../contracts/uplink.ts'
import { describeError, TimeoutError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import { systemRandom, type Random } from '../kernel/random.ts'
import { withTimeout } from '../kernel/retry.ts'
import type { Service } from '../kernel/service.ts'
import { every, type Clock, type Timer } from '../kernel/time.ts'
import type { TlsMaterial } from '../kernel/tls.ts'
import type { Documents } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import { ClaimBroker } from './claims/claim-broker.ts'
import { FactoryAdmissions } from './claims/factory-admissions.ts'
import { Commands, type DownlinkResult } from './commands.ts'
import type { BrokerConfig } from './config.ts'
import { DeviceAdmission } from './device-admission.ts'
import { DeviceBroker, type SeatKeeper } from './device-broker.ts'
import { DeviceConnections } from './device-connections.ts'
import { plainAddress, type DoorKeeper } from './device-door.ts'
import { DeviceSession, type ListenerName } from './device-session.ts'
import { Edge } from './edges/edge.ts'
import { Expulsion } from './expulsion.ts'
import { OWN_CERTIFICATES } from './identity.ts'
import { Forgetting } from './forgetting.ts'
import { IntakeBudget } from './intake-budget.ts'
import { LeftWills } from './left-wills.ts'
import { LoneDownlinks } from './lone-downlinks.ts'
import { createMqttsListener, type DeviceListener } from './mqtts-listener.ts'
import { sessionIdOfTopic, topicGroupOf } from './names.ts'
import { DeadlineWheel } from './packets/deadline-wheel.ts'
import { StrictConnection } from './packets/strict-connection.ts'
import type { Violation } from './packets/violations.ts'
import { DocumentsPersistence, type PersistenceDrop } from './persistence/documents-persistence.ts'
import { exposePersistence } from './persistence/persistence-gauges.ts'
import { Refusals, type RefusalContext, type RefusalReason } from './refusals.ts'
import { SeatedDevices } from './seated-devices.ts'
import { mayHoldFilter } from './topic-policy.ts'
import { UplinkGate } from './uplink-gate.ts'
import { UplinkRoad } from './uplink-road.ts'
import { createWssListener } from './wss-listener.ts'

/** First part of the names of the broker's collections. */
const NAMESPACE = 'broker'

/** Of a broker that is alone on its documents: it holds every device. */
const ALONE: SeatKeeper = { isReady: () => true, take: () => Promise.resolve('held') }

/** A device's session began or ended. */
export interface SessionEvent {
  kind: 'connected' | 'disconnected'
  tenant: string
  device: string
  listener: ListenerName
  remoteAddress: string
  /** Of the certificate that it showed, upper-case hex. */
  serial: string
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
  /** Factory CAs and claims, and who decides about their devices; without them only devices with certificates of ours come in. */
  doors?: { trust: Trust; remote: RemoteDoors }
  uplinks: UplinkSink
  documents: Documents
  /** Source of chance for pauses between tries; default the system's. */
  random?: Random
  /**
   * This edge among others over the same documents and event log: `id` is the data folder's, the same after every start; `eventLog` carries
   * messages to devices (`downlink/1` on topic `commands`). Without it the broker is alone on its documents.
   */
  edge?: { id: string; eventLog: EventLog }
  /** For a broker that is alone on its documents: the event log whose topic `commands` carries messages to devices (`downlink/1`). */
  downlinks?: EventLog
  /** Is the device without a valid certificate since one was revoked? Default: none is. */
  isCutOff?: (tenant: string, device: string) => Promise<boolean>
  /** Told of every session's begin and end; may not throw. */
  onSession?: (event: SessionEvent) => void
  /** Told of everybody who is not let in or through; may not throw. */
  onRefusal?: (reason: RefusalReason, context: RefusalContext) => void
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
  readonly #budget: IntakeBudget
  readonly #road: UplinkRoad
  readonly #gate: UplinkGate
  readonly #leftWills: LeftWills
  readonly #edge: Edge | undefined
  readonly #seated: SeatedDevices
  readonly #broker: DeviceBroker
  readonly #trust: Trust
  readonly #claims: ClaimBroker | undefined
  readonly #commands: Commands
  readonly #expulsion: Expulsion
  readonly #forgetting: Forgetting
  readonly #deadlines: DeadlineWheel
  readonly #listeners: Partial<Record<ListenerName, DeviceListener>> = {}
  #ports: BrokerPorts | undefined
  #downlinks: LoneDownlinks | undefined
  #sweep: Timer | undefined
  #unfollow: (() => void) | undefined
  #state: 'new' | 'running' | 'stopped' = 'new'

  constructor(options: BrokerOptions) {
    const { config, clock, log, metrics, registry } = options
    this.#options = options
    this.#refusals = new Refusals({ metrics, log, clock, logsPerS: config.refusalLogsPerS, onNote: options.onRefusal })
    this.#violations = metrics.counter('broker_packet_violations_total', 'Connections ended by the packet check, by kind of rule', ['code'])
    this.#open = metrics.gauge('broker_connections', 'Open connections of devices', ['listener'])
    this.#trust = options.doors?.trust ?? OWN_CERTIFICATES
    this.#admission = new DeviceAdmission({
      ...{ config, clock, registry, trust: this.#trust },
      ...{ refusals: this.#refusals, connections: this.#connections },
    })
    const doors = options.doors?.remote
    this.#claims = doors === undefined ? undefined : new ClaimBroker({ config, trust: this.#trust, doors, refusals: this.#refusals, log })
    const refusedClients = new WeakSet<object>()
    this.#edge = options.edge === undefined ? undefined : this.#createEdge(options.edge)
    this.#persistence = this.#createPersistence(refusedClients)
    this.#budget = new IntakeBudget(config.uplinkBytesMax)
    this.#road = this.#createRoad()
    this.#gate = new UplinkGate({
      road: this.#road,
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
      seats: () => (this.#edge === undefined ? ALONE : this.#seated.keeper(this.#edge)),
      ...(doors === undefined ? {} : { factories: new FactoryAdmissions({ doors, registry, clock, log }) }),
    })
    this.#leftWills = new LeftWills({ wills: this.#persistence.wills, publish: (will) => this.#broker.publishWill(will), log })
    this.#seated = this.#createSeated()
    this.#commands = new Commands({
      broker: this.#broker,
      persistence: this.#persistence,
      metrics,
      clock,
      packetBytesMax: config.packets.packetBytesMax,
      queueMessagesMax: config.queueMessagesMax,
      isCutOff: options.isCutOff ?? (() => Promise.resolve(false)),
      forwarder: this.#edge,
      onDropped: (drop) => this.#onDropped(drop),
    })
    this.#expulsion = new Expulsion({ connections: this.#connections, clock, log, metrics })
    this.#forgetting = new Forgetting({
      ...options,
      commands: this.#commands,
      broker: this.#broker,
      connections: this.#connections,
      persistence: this.#persistence,
    })
    this.#deadlines = new DeadlineWheel(clock)
    exposePersistence(metrics, this.#persistence)
  }

  /** Bound ports; undefined while it does not listen. */
  get ports(): BrokerPorts | undefined {
    return this.#ports
  }

  /** Why nothing is acknowledged, or no session changes, now; one sentence, or null when all is well. */
  get failing(): string | null {
    return this.#road.failing ?? this.#edge?.failing ?? null
  }

  /** Opens both listeners. Throws EnvironmentError PORT_IN_USE or LISTEN_FAILED, with nothing left open. */
  async start(): Promise<void> {
    if (this.#state !== 'new') return
    this.#state = 'running'
    const { config, clock, log, registry } = this.#options
    const unfollow = [
      this.#expulsion.follow(registry),
      this.#trust.onChanged(() => {
        this.reloadTls()
        this.#expulsion.endLapsed(this.#trust)
      }),
    ]
    this.#unfollow = () => unfollow.forEach((stop) => stop())
    try {
      await this.#edge?.open()
      await this.#broker.start()
      await this.#claims?.start()
      this.#edge?.run()
      await this.#followDownlinks()
      if (this.#edge !== undefined) this.#leftWills.say(this.#persistence.wills.clientIds(), this.#broker.id)
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
    await this.#downlinks?.stop()
    await this.#drain()
    await this.#claims?.stop()
    await this.#broker.stop()
    await this.#drain()
    this.#road.stop()
    await this.#edge?.stop()
    await Promise.all(Object.values(this.#listeners).map((listener) => listener.door.close()))
    this.#deadlines.stop()
    this.#gate.flush()
    this.#refusals.flush()
  }

  /** Takes the new certificates into use for new connections; sessions stay. */
  reloadTls(): void {
    const material = this.#material()
    this.#admission.trust(material)
    for (const listener of Object.values(this.#listeners)) listener.reloadTls(material)
    this.#options.log.debug('broker certificates reloaded')
  }

  /**
   * Sends a message to a device with QoS 1, on `devices/{device}/{path}` where `path` is `commands/{id}` or `twin/desired`.
   * A device that is not held by this edge gets it through the event log. Throws InvalidInputError for another path or a payload that fits
   * no packet, EnvironmentError LOG_UNAVAILABLE.
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

  /** Is the device connected to this edge now? */
  isConnected(tenant: string, device: string): boolean {
    return this.#broker.isLive(`${tenant}/${device}`)
  }

  /** What listeners present, and whom they trust: our CAs and those of factories. */
  #material(): TlsMaterial {
    const material = this.#options.tls()
    return { ...material, caPem: material.caPem + this.#trust.anchorsPem }
  }

  async #followDownlinks(): Promise<void> {
    const { downlinks: eventLog, clock, log, config } = this.#options
    if (eventLog === undefined || this.#edge !== undefined) return
    this.#downlinks = new LoneDownlinks({
      ...{ eventLog, clock, log, config: config.edges },
      deliver: (clientId, downlink, place) => this.#commands.deliver(clientId, downlink, place),
      cancel: (cancelled) => this.#cancel(cancelled),
      forget: (forgetting) => this.#forgetting.forget(forgetting),
    })
    await this.#downlinks.start()
  }

  async #cancel({ tenant, device, reason }: DownlinksCancelled): Promise<void> {
    const messages = await this.#commands.cancel(tenant, device)
    if (messages > 0) this.#options.log.warn({ tenant, device, reason, messages }, 'messages to a device cancelled')
  }

  #createPersistence(refusedClients: WeakSet<object>): DocumentsPersistence {
    const { documents, clock, config } = this.#options
    return new DocumentsPersistence({
      documents,
      clock,
      namespace: NAMESPACE,
      limits: config,
      mayHold: mayHoldFilter,
      mayForget: (client) => !refusedClients.has(client),
      onDropped: (drop) => this.#onDropped(drop),
      ...(this.#edge === undefined ? {} : { ownership: this.#edge, groups: { of: topicGroupOf, clientOf: sessionIdOfTopic } }),
    })
  }

  #createRoad(): UplinkRoad {
    const { uplinks, clock, log, metrics, config, random } = this.#options
    return new UplinkRoad({
      uplinks,
      clock,
      random: random ?? systemRandom,
      log,
      metrics,
      budget: this.#budget,
      retryInitialMs: config.uplinkRetryInitialMs,
      retryMaxMs: config.uplinkRetryMaxMs,
      slowMs: config.uplinkSlowMs,
    })
  }

  #createSeated(): SeatedDevices {
    const { clock, log, config } = this.#options
    return new SeatedDevices({
      connections: this.#connections,
      broker: this.#broker,
      gate: this.#gate,
      persistence: this.#persistence,
      leftWills: this.#leftWills,
      clock,
      log,
      releaseTimeoutMs: config.edges.releaseTimeoutMs,
    })
  }

  #createEdge({ id, eventLog }: { id: string; eventLog: EventLog }): Edge {
    const { documents, clock, log, metrics, config } = this.#options
    const persistence = (): DocumentsPersistence => this.#persistence
    return new Edge({
      edgeId: id,
      documents,
      eventLog,
      clock,
      log,
      metrics,
      config: config.edges,
      namespace: NAMESPACE,
      mirror: {
        adopt: (clientIds) => persistence().adopt(clientIds),
        isWarm: (clientId) => persistence().isWarm(clientId),
        warm: (clientId) => persistence().warm(clientId),
        release: (clientId) => persistence().release(clientId),
      },
      host: {
        deliver: (clientId, downlink, place) => this.#commands.deliver(clientId, downlink, place),
        cancel: (cancelled) => this.#cancel(cancelled),
        forget: (forgetting) => this.#forgetting.forget(forgetting),
        vacate: (clientId) => this.#seated.vacate(clientId),
        onOrphans: (clientIds) => this.#leftWills.say(clientIds, this.#broker.id),
        onLost: () => this.#seated.endAll(),
        isIdle: (clientId) => this.#seated.isIdle(clientId),
        onRecorded: () => persistence().queues.purge(),
      },
    })
  }

  async #openListeners(): Promise<BrokerPorts> {
    const { clock, config } = this.#options
    const material = this.#material()
    this.#admission.trust(material)
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
    const holder = this.#state === 'running' ? this.#admission.admitCertificate(tls, listener, remoteAddress) : undefined
    if (holder === undefined) {
      stream.on('error', () => stream.destroy())
      tls.destroy()
      return
    }
    const nowMs = clock.monotonicMs()
    const { identity, credential } = holder
    const certificatePem = credential.kind === 'factory' ? pemOf(tls) : ''
    const session = new DeviceSession({
      ...{ identity, credential, certificatePem, listener, remoteAddress },
      ...{ socket: tls, tokens: config.publishBurstMax, nowMs },
    })
    session.correlationId = this.#gate.nextCorrelationId()
    this.#connections.add(session)
    this.#open.inc({ listener })
    session.onceClosed(() => {
      this.#connections.remove(session)
      this.#gate.leave(session)
      this.#open.dec({ listener })
    })
    const prefix = credential.kind === 'claim' ? this.#claims?.nextPrefix(session) : session.topicPrefix
    if (prefix === undefined) return session.cut()
    const connection = new StrictConnection({
      socket: stream,
      limits: config.packets,
      deadlines: this.#deadlines,
      budget: this.#budget,
      prefixes: { topicPrefix: prefix, clientIdPrefix: prefix },
      onViolation: (violation) => this.#onViolation(violation, session),
    })
    if (credential.kind === 'claim') this.#claims?.handle(session, credential, connection, prefix)
    else this.#broker.handle(session, connection)
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
    const { tenant, device, serial } = session.identity
    const { listener, remoteAddress, correlationId } = session
    this.#options.log.debug({ tenant, device, listener, remoteAddress, correlationId }, `device ${kind}`)
    this.#options.onSession?.({ kind, tenant, device, serial, listener, remoteAddress, at: this.#options.clock.nowMs(), correlationId })
  }

  async #expireSessions(): Promise<void> {
    const { clock, config, log } = this.#options
    const expired = await this.#persistence.expireSessions(clock.nowMs() - config.sessionExpiryMs, (sessionId) =>
      this.#broker.isLive(sessionId),
    )
    if (expired > 0) log.info({ sessions: expired }, 'expired sessions removed')
    await this.#edge?.giveUpIdle()
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

function pemOf(tls: TLSSocket): string {
  const base64 =
    tls
      .getPeerCertificate()
      .raw.toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${base64.join('\n')}\n-----END CERTIFICATE-----\n`
}
