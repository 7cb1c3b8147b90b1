import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { missingForServers } from '../../deploy/servers/jars.ts'
import { LocalServers } from '../../deploy/servers/local-servers.ts'
import { Cluster } from '../../test/testing/cluster.ts'
import type { PlatformProcess } from '../../test/testing/platform-process.ts'
import { BenchPlatform } from './bench-platform.ts'
import { enrolMany } from './enrol-many.ts'

/** A platform with devices to be revoked: where they connect, who revokes, who measures. */
export interface RevocationWorld {
  readonly name: string
  /** MQTTS ports of every edge. */
  readonly ports: readonly number[]
  readonly httpsPort: number
  readonly certs: string
  start(): Promise<void>
  enrol(devices: readonly string[]): Promise<void>
  revoke(serial: string): Promise<void>
  /** Prometheus text of every process. */
  metrics(): Promise<string[]>
  remove(): Promise<void>
}

function limits(devices: number): Record<string, string> {
  return {
    FLEETPULSE_BROKER_CONNECTIONS_MAX: String(devices + 100),
    FLEETPULSE_BROKER_CONNECT_RATE_PER_S: '100000',
    FLEETPULSE_BROKER_CONNECT_BURST_MAX: '100000',
    FLEETPULSE_PROVISIONING_CONNECTIONS_MAX: String(devices + 100),
    FLEETPULSE_PROVISIONING_TOKENS_MAX: String(devices + 100),
    // Nobody asks anything of the HTTPS connections that are kept.
    FLEETPULSE_PROVISIONING_KEEP_ALIVE_TIMEOUT_MS: '3600000',
  }
}

async function revokeAt(process: PlatformProcess, serial: string): Promise<void> {
  const { status, body } = await process.post(`/certificates/${serial}/revoke`, { reason: 'keyCompromise' })
  if (status !== 200) throw new TypeError(`revoking ${serial} answered ${status}: ${JSON.stringify(body)}`)
}

async function metricsAt(origin: string): Promise<string> {
  return (await fetch(`${origin}/metrics`)).text()
}

/** Everything in one process, on embedded engines. */
export class EmbeddedWorld implements RevocationWorld {
  readonly name = 'one process, embedded engines'
  readonly #platform: BenchPlatform

  constructor(devices: number) {
    this.#platform = new BenchPlatform(limits(devices))
  }
  get ports(): number[] {
    return [this.#platform.port]
  }
  get httpsPort(): number {
    return this.#platform.process.ready?.https ?? 0
  }
  get certs(): string {
    return this.#platform.certs
  }
  start(): Promise<void> {
    return this.#platform.start()
  }
  enrol(devices: readonly string[]): Promise<void> {
    return this.#platform.enrol(devices)
  }
  revoke(serial: string): Promise<void> {
    return revokeAt(this.#platform.process, serial)
  }
  async metrics(): Promise<string[]> {
    return [await metricsAt(this.#platform.process.api)]
  }
  remove(): Promise<void> {
    return this.#platform.remove()
  }
}

/** Registry, dashboard and several edges as processes of their own, over Kafka and the MongoDB stand-in. */
export class ClusterWorld implements RevocationWorld {
  readonly name: string
  readonly #edges: number
  readonly #devices: number
  readonly #folder = mkdtempSync(join(tmpdir(), 'fleetpulse-revocation-'))
  readonly #servers = new LocalServers(join(this.#folder, 'servers'), {}, { mongodbInMemory: true })
  #cluster: Cluster | undefined

  constructor(devices: number, edges: number) {
    this.name = `${edges} edges over Kafka and MongoDB's protocol`
    this.#edges = edges
    this.#devices = devices
  }

  /** Why it cannot run here; null when it can. */
  static missing(): string | null {
    return missingForServers()
  }
  get ports(): number[] {
    return this.#members('edge').map(({ process }) => process.ready?.mqtts ?? 0)
  }
  get httpsPort(): number {
    return this.#running.with('registry').process.ready?.https ?? 0
  }
  get certs(): string {
    return join(this.#folder, 'devices')
  }

  async start(): Promise<void> {
    await this.#servers.start()
    const { kafka, questdb, mongodb } = this.#servers
    const addresses = { kafka: kafka.address, questdbHttp: questdb.address, questdbPg: questdb.pgAddress, mongodb: mongodb.address }
    const cluster = new Cluster(addresses, 'revocation', limits(this.#devices))
    this.#cluster = cluster
    await cluster.add('registry', 'registry')
    await cluster.add('dashboard', 'dashboard')
    for (let i = 1; i <= this.#edges; i++) await cluster.add(`edge-${i}`, 'edge')
  }

  async enrol(devices: readonly string[]): Promise<void> {
    const { process: registry } = this.#running.with('registry')
    const { process: dashboard } = this.#running.with('dashboard')
    await enrolMany({
      devices,
      certs: this.certs,
      origin: `https://localhost:${registry.ready?.https}`,
      caPem: readFileSync(join(registry.data, 'pki', 'ca.pem'), 'utf8'),
      post: (path, body) => dashboard.post(path, body),
    })
  }

  revoke(serial: string): Promise<void> {
    return revokeAt(this.#running.with('dashboard').process, serial)
  }

  metrics(): Promise<string[]> {
    return Promise.all(
      this.#running.members.map(({ process: { ready, api } }) =>
        metricsAt((ready as { operations?: string } | undefined)?.operations ?? api),
      ),
    )
  }

  async remove(): Promise<void> {
    await this.#cluster?.remove()
    await this.#servers.stop()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  get #running(): Cluster {
    if (this.#cluster === undefined) throw new TypeError('the world was not started')
    return this.#cluster
  }
  #members(target: 'edge') {
    return this.#running.members.filter(({ targets }) => targets.includes(target))
  }
}
