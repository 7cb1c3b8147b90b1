import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { CompactSign } from 'jose'
import type { AuditedAct, AuditTrail } from '../../../contracts/audit.ts'
import { DEVICE_MESSAGE, type DeviceMessage } from '../../../contracts/device-message.ts'
import { DOWNLINK, type Downlink } from '../../../contracts/downlink.ts'
import { FORGET_DEVICE, FORGOTTEN_COLLECTION, type ForgetDevice, type Forgotten } from '../../../contracts/forget-device.ts'
import type { StatementSigner } from '../../../contracts/statement.ts'
import { deviceKey, TOPICS } from '../../../contracts/topics.ts'
import { jsonBytes, utf8Text } from '../../../kernel/bytes.ts'
import { canonicalJson } from '../../../kernel/canonical-json.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { systemClock } from '../../../kernel/time.ts'
import type { Collection, Documents } from '../../../storage/documents/documents.ts'
import { temporaryFolder } from '../../../storage/documents/testing/lmdb-fixture.ts'
import { topicSpec } from '../../../storage/event-log/temporary-log.ts'
import { TopicFollower } from '../../../storage/event-log/topic-follower.ts'
import type { SeriesStore } from '../../../storage/series/series-store.ts'
import { openStore } from '../../../storage/series/testing/store.ts'
import { Registry } from '../../registry.ts'
import { openStores, type Stores } from '../../testing/stores.ts'
import { decommissionConfig, type DecommissionConfig } from '../config.ts'
import { DecommissionWork, type DecommissionWorkOptions } from '../decommission-work.ts'
import { Decommission } from '../decommission.ts'
import type { CertificateFact, DeviceCredentials } from '../ports.ts'

/** Certificates by device, durable and with the rules of the real ones. */
export class CredentialsDouble implements DeviceCredentials {
  tokens = 0
  readonly #documents: Documents

  constructor(documents: Documents) {
    this.#documents = documents
  }

  async give(tenant: string, device: string, count: number): Promise<void> {
    const facts = Array.from({ length: count }, (_, index) => ({ serial: `0${index}`, sha256: 'ab', revokedAt: null, reason: null }))
    await (await this.#collection()).put(deviceKey(tenant, device), { facts })
  }
  async countValid(tenant: string, device: string): Promise<number> {
    return (await this.#of(tenant, device)).filter(({ revokedAt }) => revokedAt === null).length
  }
  async revokeAll(tenant: string, device: string, reason: string): Promise<{ certificates: CertificateFact[]; tokens: number }> {
    const nowMs = systemClock.nowMs()
    const facts = (await this.#of(tenant, device)).map((fact) => (fact.revokedAt === null ? { ...fact, revokedAt: nowMs, reason } : fact))
    await (await this.#collection()).put(deviceKey(tenant, device), { facts })
    const { tokens } = this
    this.tokens = 0
    return { certificates: facts, tokens }
  }
  async #of(tenant: string, device: string): Promise<CertificateFact[]> {
    return (await (await this.#collection()).get(deviceKey(tenant, device)))?.facts ?? []
  }
  #collection(): Promise<Collection<{ facts: CertificateFact[] }>> {
    return this.#documents.collection({ name: 'certificates-double', indexes: [] })
  }
}

/** An edge as the workflow sees it: forgets devices, and is the device that answers its wipe command. */
export class EdgeDouble {
  /** What a device says to its wipe; undefined: nothing. */
  wipeResult: object | undefined = { status: 'done' }
  readonly asked: ForgetDevice[] = []
  readonly sent: Downlink[] = []
  isAway = false
  readonly #stores: Stores
  #follower: TopicFollower | undefined

  constructor(stores: Stores) {
    this.#stores = stores
  }

  async start(): Promise<void> {
    const { eventLog, documents, clock, log } = this.#stores
    const answers = await documents.collection<Forgotten>({ name: FORGOTTEN_COLLECTION, indexes: [] })
    this.#follower = await TopicFollower.join({
      ...{ eventLog, clock, log, recordsMax: 100, retryMs: 10, waitMs: () => 500 },
      consumer: { topic: TOPICS.commands, from: 'earliest' },
      onRecords: async (records) => {
        for (const record of records) {
          const said = JSON.parse(utf8Text(record.value)) as unknown
          if (record.schema === DOWNLINK) await this.#deliver(said as Downlink)
          if (record.schema !== FORGET_DEVICE || this.isAway) continue
          const asked = said as ForgetDevice
          this.asked.push(asked)
          const { tenant, device, request, at } = asked
          await answers.insert(request, { tenant, device, connections: 1, sessions: 1, messages: 2, retained: 3, at })
        }
      },
    })
    this.#follower.run()
  }
  async stop(): Promise<void> {
    await this.#follower?.stop()
  }

  async #deliver(downlink: Downlink): Promise<void> {
    this.sent.push(downlink)
    if (this.wipeResult === undefined) return
    const { tenant, device, path } = downlink
    const commandId = path.slice('commands/'.length)
    const result: DeviceMessage = {
      tenant,
      device,
      kind: 'command-result',
      commandId,
      receivedAt: systemClock.nowMs(),
      correlationId: 'c',
      body: this.wipeResult,
    }
    await this.#stores.eventLog.append(TOPICS.commands, [
      { key: deviceKey(tenant, device), schema: DEVICE_MESSAGE, value: jsonBytes(result) },
    ])
  }
}

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
export const RECEIPT_PUBLIC_KEY = publicKey

const signer: StatementSigner = {
  sign: (typ, statement) =>
    new CompactSign(Buffer.from(canonicalJson(statement))).setProtectedHeader({ alg: 'EdDSA', typ }).sign(privateKey),
  publicKeys: () => Promise.resolve([]),
}

export const FAST: Partial<DecommissionConfig> = { pollMs: 5, retryMs: 10, wipeTimeoutMs: 5_000, storedTimeoutMs: 2_000, askAgainMs: 1_000 }

/** The workflow on real stores, with doubles for the stations around it. */
export class LeavingWorld {
  readonly credentials: CredentialsDouble

  private constructor(
    readonly stores: Stores,
    readonly series: SeriesStore,
    readonly registry: Registry,
    readonly edge: EdgeDouble,
    readonly acts: AuditedAct[],
  ) {
    this.credentials = new CredentialsDouble(stores.documents)
  }

  static async open(t: TestContext): Promise<LeavingWorld> {
    return LeavingWorld.openIn(t, await temporaryFolder(t))
  }

  static async openIn(t: Pick<TestContext, 'after'>, folder: string): Promise<LeavingWorld> {
    const stores = await openStores(t, folder)
    await stores.eventLog.ensureTopics([topicSpec(TOPICS.commands, 2), topicSpec(TOPICS.readings, 1)])
    const series = await openStore(join(folder, 'series'))
    stores.stopAtEnd(series)
    const edge = new EdgeDouble(stores)
    await edge.start()
    stores.stopAtEnd({ name: 'edge', start: () => Promise.resolve(), stop: () => edge.stop() })
    const acts: AuditedAct[] = []
    const registry = new Registry({ ...stores, auditTrail: { record: (act) => Promise.resolve(void acts.push(act)) } })
    await registry.start()
    stores.stopAtEnd(registry)
    return new LeavingWorld(stores, series, registry, edge, acts)
  }

  /** Others keep two notes of every device. */
  readonly traces = {
    erased: new Set<string>(),
    erase(tenant: string, device: string): Promise<Record<string, number>> {
      this.erased.add(`${tenant}/${device}`)
      return Promise.resolve({ notes: 2 })
    },
  }

  get auditTrail(): AuditTrail {
    return { record: (act) => Promise.resolve(void this.acts.push(act)) }
  }

  options(changes: Partial<DecommissionConfig> = {}): DecommissionWorkOptions {
    return {
      ...this.stores,
      series: this.series,
      registry: this.registry,
      credentials: this.credentials,
      signer,
      auditTrail: this.auditTrail,
      traces: this.traces,
      metrics: new Metrics(),
      decommissionConfig: decommissionConfig({ ...FAST, ...changes }),
    }
  }

  async start(changes: Partial<DecommissionConfig> = {}): Promise<Decommission> {
    const service = new Decommission(this.options(changes))
    await service.start()
    await this.work(changes)
    return service
  }

  async work(changes: Partial<DecommissionConfig> = {}): Promise<DecommissionWork> {
    const work = new DecommissionWork(this.options(changes))
    await work.start()
    this.stores.stopAtEnd(work)
    return work
  }

  /** A device with a certificate, and readings stored. */
  async device(id: string, readings: number, tenant = 'default'): Promise<void> {
    await this.registry.ensureRegistered(tenant, id, undefined, 'user:t')
    await this.registry.markProvisioned(tenant, id, 'user:t')
    await this.registry.markActive(tenant, id)
    await this.credentials.give(tenant, id, 2)
    await this.store(id, readings, tenant)
  }

  async store(id: string, readings: number, tenant = 'default'): Promise<void> {
    if (readings === 0) return
    const next = (await this.series.positions()).get(0) ?? 0
    const nowMs = systemClock.nowMs() - 1_000
    const rows = Array.from({ length: readings }, (_, index) => ({
      ...{ tenant, device: id, type: 'generic', correlationId: 'c', boot: 'b', partition: 0, offset: next + index },
      ...{ ts: nowMs + index, receivedAt: nowMs + index, seq: index, values: { temperature: index, mode: 'eco' } },
    }))
    await this.series.write(rows, new Map([[0, next + readings]]))
  }
}
