import { rm } from 'node:fs/promises'
import { MessageChannel } from 'node:worker_threads'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { DeviceBundle } from '../doors/device-bundle.ts'
import { DEVICE_EVENT } from '../../contracts/device-event.ts'
import { DEVICE_MESSAGE, type DeviceMessage } from '../../contracts/device-message.ts'
import type { Downlink } from '../../contracts/downlink.ts'
import type { CertificateNotice } from '../../contracts/renewal.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { sleep, systemClock, type Clock, type Timer } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { CertificateAuthority } from '../ca/authority.ts'
import { Certificates, type StoredCertificate } from '../certificates.ts'
import { newDeviceRequest } from '../doors/device-bundle.ts'
import { EnrolmentTokens } from '../doors/enrolment-tokens.ts'
import { EnrolmentSteps } from '../doors/enrolment-steps.ts'
import { Enrolment } from '../doors/enrolment.ts'
import { EnrolmentHook } from '../doors/hook.ts'
import { RotationConfigSchema, type RotationConfig } from '../rotation/config.ts'
import { RotationService } from '../rotation/rotation-service.ts'
import { RegistrarDouble } from './registrar-double.ts'
import { temporaryFolder, TENANT, testConfig, testEnrolmentConfig } from './station.ts'
import { openStores, type Stores } from './stores.ts'

export const HOUR_MS = 3_600_000
/** Of the certificates of this world: due after 66 h, late after 85 h. */
export const LIFETIME_HOURS = 100

export function rotationConfig(changes: Partial<RotationConfig> = {}): RotationConfig {
  const checked = compileSchema(RotationConfigSchema)({ checkIntervalMs: HOUR_MS, pollWaitMs: 50, retryMs: 10, ...changes })
  if (checked.status === 'invalid') throw new Error(JSON.stringify(checked.faults))
  return checked.value
}

/** Wall time that can be moved on; timers are real, so that what follows the log goes on. */
class ShiftedClock implements Clock {
  shiftMs = 0
  nowMs(): number {
    return systemClock.nowMs() + this.shiftMs
  }
  monotonicMs(): number {
    return systemClock.monotonicMs()
  }
  after(delayMs: number, run: () => void): Timer {
    return systemClock.after(delayMs, run)
  }
}

/** Certificates and their rotation on embedded stores, on a clock that moves when told to. */
export class RotationWorld {
  readonly clock = new ShiftedClock()
  readonly registrar = new RegistrarDouble()
  readonly config: RotationConfig
  readonly stores: Stores
  readonly certificates: Certificates
  readonly enrolment: Enrolment
  readonly tokens: EnrolmentTokens
  readonly #authority: CertificateAuthority
  readonly #folder: string
  /** The engines' timers let a process end; a test that waits for them must not. */
  readonly #hold = new MessageChannel()
  service: RotationService

  private constructor(parts: { folder: string; stores: Stores; config: RotationConfig }) {
    this.#folder = parts.folder
    this.stores = parts.stores
    this.config = parts.config
    const { clock, registrar } = this
    const provisioning = testConfig({ deviceLifetimeDays: LIFETIME_HOURS / 24, backdateMs: 0, tokenLifetimeMs: 90 * 24 * HOUR_MS })
    const common = { ...this.stores, clock, log: silentLogger, metrics: new Metrics(), registrar, config: provisioning }
    this.#authority = new CertificateAuthority({ ...common, dataDir: this.#folder, pkiUrl: () => 'http://localhost' })
    this.certificates = new Certificates(common)
    this.tokens = new EnrolmentTokens(common)
    const by = {
      ...common,
      authority: this.#authority,
      certificates: this.certificates,
      tokens: this.tokens,
      enrolmentConfig: testEnrolmentConfig(),
    }
    this.enrolment = new Enrolment({ ...by, steps: new EnrolmentSteps({ ...by, hook: new EnrolmentHook(by) }) })
    this.service = this.#create(this.stores.documents)
    this.#hold.port1.on('message', () => undefined)
  }

  static async open(changes: Partial<RotationConfig> = {}): Promise<RotationWorld> {
    const folder = await temporaryFolder()
    const stores = await openStores(folder)
    const topics = [TOPICS.commands, TOPICS.anomalies]
    await stores.eventLog.ensureTopics(topics.map((topic) => ({ topic, partitions: 1, retentionBytes: 0, retentionMs: 0 })))
    const world = new RotationWorld({ folder, stores, config: rotationConfig(changes) })
    await world.#authority.start()
    await world.certificates.start()
    await world.tokens.start()
    await world.service.start()
    return world
  }

  async close(): Promise<void> {
    await this.service.stop()
    await this.tokens.stop()
    await this.certificates.stop()
    await this.#authority.stop()
    await this.stores.close()
    this.#hold.port1.close()
    await rm(this.#folder, { recursive: true, force: true })
  }

  /** Another process goes on where this one was. `documents` may misbehave. */
  async restart(documents: Documents = this.stores.documents): Promise<void> {
    await this.service.stop()
    this.service = this.#create(documents)
    await this.service.start()
  }

  /** Moves the clock, and looks. */
  async pass(hours: number): Promise<void> {
    this.clock.shiftMs += hours * HOUR_MS
    await this.service.rotation.sweep()
  }

  /** A first certificate, by token. */
  async enrol(device: string): Promise<{ certificate: StoredCertificate; bundle: Pick<DeviceBundle, 'keyPem'> }> {
    const { token } = await this.tokens.create({ tenant: TENANT, deviceId: device, by: 'system' })
    const { keyPem, csrPem } = await newDeviceRequest(device)
    const outcome = await this.enrolment.enrolWithToken(device, token, derOf(csrPem))
    if (outcome.status !== 'issued') throw new Error(outcome.detail)
    await this.service.rotation.sweep()
    return { certificate: outcome.certificate, bundle: { keyPem } }
  }

  /** What an edge writes down when a device asks on its topic. */
  async ask(device: string, serial: string | undefined, payload: string | Uint8Array, receivedAt = this.clock.nowMs()): Promise<void> {
    const bodyBase64 = Buffer.from(payload).toString('base64')
    await this.say({
      tenant: TENANT,
      device,
      kind: 'certificate-renew',
      receivedAt,
      correlationId: 'c',
      bodyBase64,
      ...(serial === undefined ? {} : { serial }),
    })
  }

  async connected(device: string, serial: string): Promise<void> {
    await this.say({ tenant: TENANT, device, kind: 'connected', receivedAt: this.clock.nowMs(), correlationId: 'c', serial })
  }

  async say(message: DeviceMessage): Promise<void> {
    const key = deviceKey(message.tenant, message.device)
    await this.stores.eventLog.append(TOPICS.deviceEvents, [{ key, schema: DEVICE_MESSAGE, value: jsonBytes(message) }])
  }

  async changed(device: string, state: string): Promise<void> {
    const event = { event: 'device-changed', tenant: TENANT, device, type: 'generic', state, at: this.clock.nowMs() }
    const message = { key: deviceKey(TENANT, device), schema: DEVICE_EVENT, value: jsonBytes(event) }
    await this.stores.eventLog.append(TOPICS.deviceEvents, [message])
  }

  /** What this device was told so far. */
  async notices(device: string): Promise<CertificateNotice[]> {
    const downlinks = (await this.stores.records(TOPICS.commands)).map(
      (record) => JSON.parse(Buffer.from(record.value).toString()) as Downlink,
    )
    const own = downlinks.filter((downlink) => downlink.device === device && downlink.path === 'certificate')
    return own.map(({ payloadBase64 }) => JSON.parse(Buffer.from(payloadBase64, 'base64').toString()) as CertificateNotice)
  }

  /** What operators were told of this device so far. */
  async anomalies(device: string): Promise<Anomaly[]> {
    const all = (await this.stores.records(TOPICS.anomalies)).map((record) => JSON.parse(Buffer.from(record.value).toString()) as Anomaly)
    return all.filter((anomaly) => anomaly.device === device)
  }

  /** Waits, in real time, until what was said was taken in. */
  async settled(isSo: () => Promise<boolean>): Promise<void> {
    const deadlineMs = systemClock.monotonicMs() + 60_000
    while (!(await isSo())) {
      if (systemClock.monotonicMs() > deadlineMs) throw new Error('waited 5 s in vain')
      await sleep(systemClock, 5)
    }
  }

  async stateOf(serial: string): Promise<string> {
    const { state, reason } = await this.certificates.get(TENANT, serial)
    return reason === null ? state : `${state}: ${reason}`
  }

  #create(documents: Documents): RotationService {
    const { clock, config, certificates, enrolment, registrar } = this
    return new RotationService({
      ...{ documents, eventLog: this.stores.eventLog, clock, config, certificates, enrolment, registrar },
      authority: this.#authority,
      log: silentLogger,
      metrics: new Metrics(),
      limits: testConfig(),
    })
  }
}

export function derOf(csrPem: string): Buffer {
  return Buffer.from(csrPem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}
