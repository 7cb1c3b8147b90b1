import { rm } from 'node:fs/promises'
import type { TestContext } from 'node:test'
import type { Anomaly } from '../../contracts/anomaly.ts'
import type { AuditedAct } from '../../contracts/audit.ts'
import { CERTIFICATES_COLLECTION, type CertificateRecord } from '../../contracts/certificate.ts'
import { DEVICE_MESSAGE, type DeviceMessage } from '../../contracts/device-message.ts'
import type { Finding } from '../../contracts/finding.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { jsonBytes, utf8Text } from '../../kernel/bytes.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock, type Clock, type Timer } from '../../kernel/time.ts'
import { CertificateAuthority } from '../ca/authority.ts'
import { newPrivateKeyPem } from '../ca/ca-key.ts'
import { publicKeyOf } from '../ca/make-pki.ts'
import { SigningDesk } from '../ca/signing-desk.ts'
import { Certificates, type StoredCertificate } from '../certificates.ts'
import { issueCertificate } from './issue-certificate.ts'
import type { RiskySetting } from '../posture/checks.ts'
import { PostureConfigSchema, type PostureConfig } from '../posture/config.ts'
import { Posture } from '../posture/posture.ts'
import { temporaryFolder, TENANT, testConfig } from './station.ts'
import { openStores, type Stores } from './stores.ts'

export const DAY_MS = 86_400_000

/** Wall time that can be moved on; timers are real. */
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

export interface PostureWorld {
  clock: ShiftedClock
  stores: Stores
  posture: Posture
  certificates: Certificates
  /** What may be changed: the next check sees it. */
  settings: RiskySetting[]
  acts: AuditedAct[]
  issue(device: string, key?: CryptoKeyBytes): Promise<StoredCertificate>
  /** A certificate on record that somebody else made. */
  adopt(device: string, pem: string): Promise<void>
  /** What an edge would say. */
  tell(message: Partial<DeviceMessage> & { device: string; serial: string; address: string }): Promise<void>
  /** After a check: what counts, as `CHECK SUBJECT`. */
  checked(): Promise<string[]>
  open(): Promise<Finding[]>
  anomalies(): Promise<Anomaly[]>
}

type CryptoKeyBytes = Parameters<CertificateAuthority['signDevice']>[0]['publicKey']

export async function newKey(): Promise<CryptoKeyBytes> {
  return publicKeyOf(await newPrivateKeyPem())
}

export function postureConfig(changes: Partial<PostureConfig> = {}): PostureConfig {
  const checked = compileSchema(PostureConfigSchema)({ pollWaitMs: 20, retryMs: 10, ...changes })
  if (checked.status === 'invalid') throw new Error(JSON.stringify(checked.faults))
  return checked.value
}

/** Certificates, their CA and the checks, on embedded stores and a clock that moves when told to. */
export async function openPosture(t: TestContext, changes: Partial<PostureConfig> = {}): Promise<PostureWorld> {
  const folder = await temporaryFolder()
  const stores = await openStores(folder)
  const { documents, eventLog } = stores
  await eventLog.ensureTopics(
    [TOPICS.anomalies, TOPICS.commands].map((topic) => ({ topic, partitions: 1, retentionBytes: 0, retentionMs: 0 })),
  )
  const clock = new ShiftedClock()
  const common = { documents, eventLog, clock, log: silentLogger, metrics: new Metrics() }
  const authority = new CertificateAuthority({ ...common, dataDir: folder, config: testConfig(), pkiUrl: () => 'http://localhost' })
  const certificates = new Certificates(common)
  await authority.start()
  await certificates.start()
  const desk = new SigningDesk({ ...common, authority, config: testConfig() })
  await desk.start()
  const records = await documents.collection<CertificateRecord>({ name: CERTIFICATES_COLLECTION, indexes: [] })
  const settings: RiskySetting[] = []
  const acts: AuditedAct[] = []
  const devices = new Set<string>()
  const posture = new Posture({
    ...common,
    auditTrail: { record: async (act) => void acts.push(act) },
    config: postureConfig(changes),
    rsaBitsMin: 2_048,
    settings,
    countDevices: () => Promise.resolve(devices.size),
    works: true,
  })
  await posture.start()
  t.after(async () => {
    await posture.stop()
    await desk.stop()
    await certificates.stop()
    await authority.stop()
    await stores.close()
    await rm(folder, { recursive: true, force: true })
  })
  const open = async (): Promise<Finding[]> => (await posture.list({ tenant: TENANT, state: 'open', limit: 1_000 })).items
  return {
    ...{ clock, stores, posture, certificates, settings, acts, open },
    async issue(device, key) {
      devices.add(device)
      return issueCertificate({ authority, certificates }, { tenant: TENANT, device, publicKey: key ?? (await newKey()) }, 'test')
    },
    async adopt(device, pem) {
      devices.add(device)
      const { serial, ...like } = await issueCertificate(
        { authority, certificates },
        { tenant: TENANT, device, publicKey: await newKey() },
        'test',
      )
      const { _id, version: _version, ...record } = { serial, ...like }
      await records.put(_id, { ...record, pem })
    },
    async tell({ device, serial, address, ...more }) {
      const message: DeviceMessage = {
        tenant: TENANT,
        device,
        serial,
        kind: 'connected',
        receivedAt: clock.nowMs(),
        correlationId: 'c',
        body: { listener: 'mqtts', remoteAddress: address },
        ...more,
      }
      await eventLog.append(TOPICS.deviceEvents, [{ key: deviceKey(TENANT, device), schema: DEVICE_MESSAGE, value: jsonBytes(message) }])
    },
    async checked() {
      await posture.check('user:test')
      return (await open()).map(({ check, subject }) => `${check} ${subject.kind === 'ca' ? 'ca' : subject.id}`).sort()
    },
    async anomalies() {
      return (await stores.records(TOPICS.anomalies)).map((record) => JSON.parse(utf8Text(record.value)) as Anomaly)
    },
  }
}
