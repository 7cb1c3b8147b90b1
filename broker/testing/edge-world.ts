import { once } from 'node:events'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { DOWNLINK, DOWNLINKS_CANCELLED, type Downlink, type DownlinksCancelled } from '../../contracts/downlink.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import { silentLogger, type Logger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemClock } from '../../kernel/time.ts'
import type { TlsMaterial } from '../../kernel/tls.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { openTemporaryLog, topicSpec, type TemporaryLog } from '../../storage/event-log/temporary-log.ts'
import { Broker } from '../broker.ts'
import { brokerConfig, RegistryDouble, SinkDouble, until } from './broker-fixture.ts'
import { Line } from './cuttable.ts'
import { PlainClient } from './plain-client.ts'
import { connect } from './raw-packets.ts'
import { TemporaryDocuments } from './temporary-documents.ts'
import { TestAuthority, type TestCertificate } from './test-authority.ts'

/** Short, so that a dead edge is found soon; several times what a busy test machine may pause. */
export const TEST_LEASE_MS = 600

/** One edge process, as far as one can be had without a process. */
export class TestEdge {
  /** To everything. */
  readonly line = new Line()
  /** To the event log alone, as far as sessions and commands need it. */
  readonly logLine = new Line()
  readonly broker: Broker
  readonly metrics = new Metrics()

  constructor(world: EdgeWorld, id: string, config: object) {
    this.broker = new Broker({
      config: brokerConfig({ stopTimeoutMs: 50, edges: { leaseMs: TEST_LEASE_MS, followRetryMs: 20 }, ...config }),
      clock: systemClock,
      log: world.log,
      metrics: this.metrics,
      tls: () => world.material,
      registry: world.registry,
      uplinks: this.line.uplinks(world.sink),
      isCutOff: (tenant, device) => world.registry.isCutOff(tenant, device),
      documents: this.line.documents(world.documents),
      edge: { id, eventLog: this.line.eventLog(this.logLine.eventLog(world.eventLog.log)) },
    })
  }

  /** Ends as by kill -9: nothing is said to anyone, nothing more is written. */
  async kill(): Promise<void> {
    this.line.isCut = true
    await this.broker.stop()
  }

  async metric(name: string): Promise<number> {
    const metric = await this.metrics.registry.getSingleMetric(`fleetpulse_${name}`)?.get()
    return (metric?.values ?? []).reduce((sum, { value }) => sum + value, 0)
  }
}

/** Documents and an event log, with as many edges over them as a test wants. */
export class EdgeWorld {
  readonly registry = new RegistryDouble()
  readonly sink = new SinkDouble()
  readonly authority: TestAuthority
  readonly material: TlsMaterial
  readonly documents: Documents
  readonly eventLog: TemporaryLog
  readonly log: Logger
  readonly #folder: TemporaryDocuments
  readonly #edges = new Set<TestEdge>()
  readonly #sockets = new Set<TLSSocket>()
  readonly #certificates = new Map<string, Promise<TestCertificate>>()

  private constructor(
    parts: Pick<EdgeWorld, 'authority' | 'material' | 'documents' | 'eventLog' | 'log'> & { folder: TemporaryDocuments },
  ) {
    this.authority = parts.authority
    this.material = parts.material
    this.documents = parts.documents
    this.eventLog = parts.eventLog
    this.log = parts.log
    this.#folder = parts.folder
  }

  static async open(log: Logger = silentLogger): Promise<EdgeWorld> {
    const authority = await TestAuthority.create(systemClock)
    const folder = await TemporaryDocuments.create()
    const eventLog = await openTemporaryLog()
    await eventLog.log.ensureTopics([topicSpec(TOPICS.commands, 2)])
    return new EdgeWorld({ authority, material: await authority.server(), folder, documents: await folder.open(), eventLog, log })
  }

  async edge(id: string, config: object = {}): Promise<TestEdge> {
    const edge = new TestEdge(this, id, config)
    this.#edges.add(edge)
    await edge.broker.start()
    return edge
  }

  /** A device's connection to an edge; fails unless the CONNACK accepts. */
  async connected(edge: TestEdge, device: string, options: Parameters<typeof connect>[1] = {}): Promise<PlainClient> {
    const client = await this.opened(edge, device)
    client.socket.write(connect(device, options))
    const connack = await client.wait('CONNACK', 'connack')
    if (connack.returnCode !== 0) throw new Error(`${device} was refused with ${connack.returnCode}`)
    return client
  }

  /** A connection that has not said anything yet. */
  async opened(edge: TestEdge, device: string): Promise<PlainClient> {
    const certificate = await this.#certificate(device)
    const socket = connectTls({
      host: '127.0.0.1',
      port: edge.broker.ports?.mqtts ?? 0,
      ca: this.authority.caPem,
      servername: 'localhost',
      key: certificate.key,
      cert: certificate.cert,
    })
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    const client = PlainClient.over(socket)
    await once(socket, 'secureConnect')
    return client
  }

  /** Sends a message to a device the way every part of the platform does: through the log. */
  async send(device: string, path: string, text: string, retain = false): Promise<void> {
    const downlink: Downlink = {
      tenant: 'default',
      device,
      path,
      payloadBase64: Buffer.from(text).toString('base64'),
      retain,
      at: systemClock.nowMs(),
    }
    await this.eventLog.log.append(TOPICS.commands, [{ key: deviceKey('default', device), schema: DOWNLINK, value: jsonBytes(downlink) }])
  }

  /** What the revocation of a device's last certificate puts into the log. */
  async cancel(device: string): Promise<void> {
    const cancelled: DownlinksCancelled = { tenant: 'default', device, reason: 'keyCompromise', at: systemClock.nowMs() }
    const message = { key: deviceKey('default', device), schema: DOWNLINKS_CANCELLED, value: jsonBytes(cancelled) }
    await this.eventLog.log.append(TOPICS.commands, [message])
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    for (const edge of this.#edges) await edge.broker.stop()
    await this.documents.stop()
    await this.eventLog.dispose()
    await this.#folder.remove()
  }

  #certificate(device: string): Promise<TestCertificate> {
    const known = this.#certificates.get(device)
    if (known !== undefined) return known
    this.registry.know(device)
    const issued = this.authority.device(device, { tenant: 'default' })
    this.#certificates.set(device, issued)
    return issued
  }
}

/** The connection has ended. */
export function ended(client: PlainClient): Promise<void> {
  return until('the connection to end', () => client.socket.destroyed || client.socket.readableEnded)
}
