import assert from 'node:assert/strict'
import { once, type EventEmitter } from 'node:events'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { MessageChannel } from 'node:worker_threads'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import type { Device, DeviceState } from '../../contracts/device.ts'
import type { Admission, Expelled, RegistryView } from '../../contracts/registry-view.ts'
import { TOPICS } from '../../contracts/topics.ts'
import type { Uplink, UplinkSink } from '../../contracts/uplink.ts'
import { silentLogger, type Logger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import type { TlsMaterial } from '../../kernel/tls.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { openTemporaryLog, topicSpec, type TemporaryLog } from '../../storage/event-log/temporary-log.ts'
import { Broker, type SessionEvent } from '../broker.ts'
import { brokerConfigSchema, type BrokerConfig } from '../config.ts'
import { TemporaryDocuments } from './temporary-documents.ts'
import { TestAuthority, type TestCertificate } from './test-authority.ts'

const checkConfig = compileSchema(brokerConfigSchema)

/** Defaults, on loopback and free ports, with some keys changed. */
export function brokerConfig(changes: object = {}): BrokerConfig {
  const result = checkConfig({ host: '127.0.0.1', mqttsPort: 0, wssPort: 0, packets: { closeGraceMs: 50 }, lab: {}, ...changes })
  assert.equal(result.status, 'valid', JSON.stringify(result))
  return (result as { value: BrokerConfig }).value
}

/** A registry that knows the devices it was told of. */
export class RegistryDouble implements RegistryView {
  readonly #states = new Map<string, DeviceState>()
  readonly #revoked = new Set<string>()
  readonly #cutOff = new Set<string>()
  readonly #listeners = new Set<(expelled: Expelled) => void>()

  know(device: string, state: DeviceState = 'active', tenant = 'default'): void {
    this.#states.set(`${tenant}/${device}`, state)
  }
  /** `isLast`: no other certificate of the device is valid; messages to it are refused until `enrolAgain`. */
  revoke(tenant: string, device: string, serial: string, isLast = false): void {
    this.#revoked.add(serial)
    if (isLast) this.#cutOff.add(`${tenant}/${device}`)
    const at = systemClock.nowMs()
    for (const listener of this.#listeners) listener({ tenant, device, serial, reason: 'certificate-revoked', at, isLast })
  }
  isCutOff(tenant: string, device: string): Promise<boolean> {
    return Promise.resolve(this.#cutOff.has(`${tenant}/${device}`))
  }
  enrolAgain(tenant: string, device: string): void {
    this.#cutOff.delete(`${tenant}/${device}`)
  }
  /** The certificate is bad from now on, but nobody is told: what happens between two looks. */
  revokeSilently(serial: string): void {
    this.#revoked.add(serial)
  }
  suspend(tenant: string, device: string): void {
    this.#states.set(`${tenant}/${device}`, 'suspended')
    for (const listener of this.#listeners) listener({ tenant, device, reason: 'suspended' })
  }
  admit(tenant: string, device: string, serial: string): Admission {
    const state = this.#states.get(`${tenant}/${device}`)
    if (state === undefined) return { status: 'refused', reason: 'unknown-device' }
    if (state === 'suspended' || state === 'decommissioned') return { status: 'refused', reason: state }
    if (this.#revoked.has(serial)) return { status: 'refused', reason: 'certificate-revoked' }
    const known: Device = { id: device, tenant, type: 'generic', state, labels: {}, createdAt: 0, updatedAt: 0 }
    return { status: 'admitted', device: known }
  }
  stateOf(tenant: string, device: string): DeviceState | undefined {
    return this.#states.get(`${tenant}/${device}`)
  }
  typeOf(tenant: string, device: string): ReturnType<RegistryView['typeOf']> {
    if (!this.#states.has(`${tenant}/${device}`)) return undefined
    return {
      id: 'generic',
      tenant,
      open: true,
      metrics: {},
      silenceAfterMs: 0,
      futureToleranceMs: 0,
      earliestTs: 0,
      createdAt: 0,
      updatedAt: 0,
    }
  }
  onExpelled(listener: (expelled: Expelled) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

/** Takes uplinks and answers at once, or when the test says so. */
export class SinkDouble implements UplinkSink {
  readonly taken: Uplink[] = []
  readonly held: ((error?: Error) => void)[] = []
  holds = false
  fails = false
  /** Every uplink is refused with this; counted in `refused`, not taken. */
  failure: Error | undefined
  refused = 0

  accept(uplink: Uplink, done: (error?: Error) => void): void {
    if (this.failure !== undefined) {
      this.refused++
      const { failure } = this
      setImmediate(() => done(failure))
      return
    }
    this.taken.push({ ...uplink, payload: Buffer.from(uplink.payload) })
    if (this.holds) this.held.push(done)
    else done(this.fails ? new Error('no space on the disk') : undefined)
  }
  get texts(): string[] {
    return this.taken.map(({ path, payload }) => `${path}=${Buffer.from(payload).toString()}`)
  }
}

export interface FixtureOptions {
  config?: object
  log?: Logger
  /** Alone on its documents: no other edge can be beside it. */
  alone?: boolean
}

/** A broker with everything around it; what it opened is closed by `close`. */
export class BrokerFixture {
  readonly authority: TestAuthority
  readonly registry = new RegistryDouble()
  readonly sink = new SinkDouble()
  readonly sessions: SessionEvent[] = []
  documents: Documents
  readonly #folder: TemporaryDocuments
  #eventLog: TemporaryLog
  readonly log: Logger
  readonly config: BrokerConfig
  readonly #alone: boolean
  metrics = new Metrics()
  broker: Broker
  material: TlsMaterial
  readonly #clients = new Set<MqttClient>()
  readonly #sockets = new Set<TLSSocket>()

  private constructor(
    world: { authority: TestAuthority; material: TlsMaterial; folder: TemporaryDocuments; documents: Documents; eventLog: TemporaryLog },
    options: FixtureOptions,
  ) {
    this.authority = world.authority
    this.material = world.material
    this.#folder = world.folder
    this.documents = world.documents
    this.#eventLog = world.eventLog
    this.log = options.log ?? silentLogger
    this.config = brokerConfig(options.config)
    this.#alone = options.alone ?? false
    this.broker = this.#create()
  }

  get eventLog(): EventLog {
    return this.#eventLog.log
  }

  static async open(options: FixtureOptions = {}): Promise<BrokerFixture> {
    const authority = await TestAuthority.create(systemClock)
    const folder = await TemporaryDocuments.create()
    const eventLog = await openTemporaryLog()
    await eventLog.log.ensureTopics([topicSpec(TOPICS.commands)])
    const documents = await folder.open()
    const fixture = new BrokerFixture({ authority, material: await authority.server(), folder, documents, eventLog }, options)
    try {
      await fixture.broker.start()
    } catch (error) {
      await fixture.close()
      throw error
    }
    return fixture
  }

  /** Stops the broker and starts a new one on the same folder. */
  async restart(): Promise<void> {
    await this.broker.stop()
    await this.documents.stop()
    this.documents = await this.#folder.open()
    this.#eventLog = await this.#eventLog.reopen()
    this.metrics = new Metrics()
    this.broker = this.#create()
    await this.broker.start()
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.end(true)
    for (const socket of this.#sockets) socket.destroy()
    await this.broker.stop()
    await this.documents.stop()
    await this.#folder.remove()
    await this.#eventLog.dispose()
  }

  /** A device the registry knows, with its certificate. */
  async device(id: string, tenant = 'default'): Promise<TestCertificate> {
    this.registry.know(id, 'active', tenant)
    return this.authority.device(id, { tenant })
  }

  url(listener: 'mqtts' | 'wss'): string {
    const ports = this.broker.ports
    assert.ok(ports)
    return listener === 'mqtts' ? `mqtts://127.0.0.1:${ports.mqtts}` : `wss://127.0.0.1:${ports.wss}/mqtt`
  }

  /** Does not wait for anything. */
  client(id: string, certificate: TestCertificate, options: IClientOptions & { listener?: 'mqtts' | 'wss' } = {}): MqttClient {
    const { listener = 'mqtts', ...rest } = options
    const client = mqtt.connect(this.url(listener), {
      clientId: id,
      key: certificate.key,
      cert: certificate.cert,
      ca: this.authority.caPem,
      servername: 'localhost',
      protocolVersion: 4,
      reconnectPeriod: 0,
      connectTimeout: 5_000,
      ...rest,
    })
    client.on('error', () => client.end(true))
    this.#clients.add(client)
    return client
  }

  async connected(
    id: string,
    certificate: TestCertificate,
    options: IClientOptions & { listener?: 'mqtts' | 'wss' } = {},
  ): Promise<MqttClient> {
    const client = this.client(id, certificate, options)
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve())
      client.once('error', reject)
      client.once('close', () => reject(new Error(`${id} was closed before its CONNACK`)))
    })
    return client
  }

  /** A bare TLS connection, for packets no library would send. */
  async socket(certificate: TestCertificate | undefined, options: object = {}): Promise<TLSSocket> {
    const socket = connectTls({
      host: '127.0.0.1',
      port: this.broker.ports?.mqtts ?? 0,
      ca: this.authority.caPem,
      servername: 'localhost',
      ...(certificate === undefined ? {} : { key: certificate.key, cert: certificate.cert }),
      ...options,
    })
    this.#sockets.add(socket)
    await once(socket, 'secureConnect')
    socket.on('error', () => socket.destroy())
    return socket
  }

  async refusals(reason: string): Promise<number> {
    return this.counted('fleetpulse_broker_refusals_total', { reason })
  }

  async counted(name: string, labels: Record<string, string> = {}): Promise<number> {
    const metric = await this.metrics.registry.getSingleMetric(name)?.get()
    const found = (metric?.values ?? []).find((value) =>
      Object.entries(labels).every(([key, wanted]) => (value.labels as Record<string, unknown>)[key] === wanted),
    )
    return found?.value ?? 0
  }

  #create(): Broker {
    return new Broker({
      config: this.config,
      clock: systemClock,
      log: this.log,
      metrics: this.metrics,
      tls: () => this.material,
      registry: this.registry,
      uplinks: this.sink,
      documents: this.documents,
      ...(this.#alone ? { downlinks: this.eventLog } : { edge: { id: 'edge-1', eventLog: this.eventLog } }),
      isCutOff: (tenant, device) => this.registry.isCutOff(tenant, device),
      onSession: (event) => this.sessions.push(event),
    })
  }
}

/** Waits until a condition holds; fails with what was waited for. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 5_000): Promise<void> {
  const startedMs = systemClock.monotonicMs()
  // The clock's timers do not hold the process; an open port does, while a test waits.
  const hold = new MessageChannel()
  hold.port1.ref()
  hold.port1.start()
  try {
    while (!(await condition())) {
      if (systemClock.monotonicMs() - startedMs > timeoutMs) assert.fail(`waited ${timeoutMs} ms for: ${what}`)
      await sleep(systemClock, 5)
    }
  } finally {
    hold.port1.close()
  }
}

/** Waits for the end of a connection, whatever kind of end it is; what still comes is thrown away. */
export async function closed(socket: EventEmitter & { resume?: () => unknown; closed?: boolean }): Promise<void> {
  let ended = socket.closed === true
  socket.on('error', () => undefined)
  socket.once('close', () => {
    ended = true
  })
  if (socket.listenerCount('data') === 0) socket.resume?.()
  await until('the connection to be closed', () => ended)
}
