import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ReadyLine } from '../../app/ready.ts'
import type { Target } from '../../app/targets.ts'
import { enrolDevice, type DeviceBundle } from '../../provisioning/doors/device-bundle.ts'
import { EstClient } from '../../provisioning/doors/est-client.ts'
import { PlatformProcess } from './platform-process.ts'
import type { ServerAddresses } from './server-addresses.ts'

/** One process of the cluster: a few targets, with a data folder of its own. */
export interface Member {
  readonly name: string
  readonly targets: readonly Target[]
  readonly process: PlatformProcess
}

/** The platform as several processes over Kafka, QuestDB and MongoDB, apart from every other by its names there. */
export class Cluster {
  readonly #env: Record<string, string>
  readonly members: Member[] = []

  constructor(servers: ServerAddresses, name: string, env: Record<string, string> = {}) {
    this.#env = {
      FLEETPULSE_EVENT_LOG_ENGINE: 'kafka',
      FLEETPULSE_KAFKA_BROKERS: servers.kafka,
      FLEETPULSE_SERIES_ENGINE: 'questdb',
      FLEETPULSE_QUESTDB_HTTP_URL: servers.questdbHttp,
      FLEETPULSE_QUESTDB_PG_URL: servers.questdbPg,
      FLEETPULSE_DOCUMENTS_ENGINE: 'mongodb',
      FLEETPULSE_MONGODB_URL: servers.mongodb,
      FLEETPULSE_PLATFORM_TOPIC_PREFIX: `${name}.`,
      FLEETPULSE_QUESTDB_TABLE_PREFIX: `${name}_`,
      FLEETPULSE_MONGODB_DATABASE: name,
      FLEETPULSE_PLATFORM_PARTITIONS: '6',
      ...env,
    }
  }

  /** Starts one more process. */
  async add(name: string, ...targets: Target[]): Promise<Member> {
    const member: Member = { name, targets, process: new PlatformProcess(this.#env) }
    this.members.push(member)
    await this.start(member)
    return member
  }

  /** Again after its end; same ports. */
  async start(member: Member): Promise<ReadyLine> {
    return member.process.start([`--target=${member.targets.join(',')}`])
  }

  /** Stops a process for good. */
  async take(member: Member): Promise<void> {
    this.members.splice(this.members.indexOf(member), 1)
    await member.process.stop()
    await member.process.remove()
  }

  /** A member that runs this target. */
  with(target: Target): Member {
    const found = this.members.find((member) => member.targets.includes(target))
    if (found === undefined) throw new TypeError(`nothing here runs ${target}`)
    return found
  }

  get<T>(path: string): Promise<T> {
    return this.with('dashboard').process.get<T>(path)
  }

  /** A token from the API, a certificate over EST. */
  async enrol(device: string, type: string): Promise<DeviceBundle> {
    const { status, body } = await this.with('dashboard').process.post<{ token: string }>('/enrolment-tokens', { deviceId: device, type })
    assert.equal(status, 201, JSON.stringify(body))
    const { process } = this.with('registry')
    const est = new EstClient({
      origin: `https://localhost:${process.ready?.https}`,
      caPem: readFileSync(join(process.data, 'pki', 'ca.pem'), 'utf8'),
    })
    try {
      return await enrolDevice(device, (csr) => est.enrol(csr, { deviceId: device, token: body.token }))
    } finally {
      await est.close()
    }
  }

  /** Ends every process and removes their folders. */
  async remove(): Promise<void> {
    await Promise.all(this.members.map((member) => member.process.remove()))
  }
}
