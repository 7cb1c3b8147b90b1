import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DeviceEvent } from '../../contracts/device-event.ts'
import { TOPICS } from '../../contracts/topics.ts'
import type { ReadingOutcome, Uplink, UplinkSink } from '../../contracts/uplink.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { Service } from '../../kernel/service.ts'
import { systemClock, VirtualClock, type Clock } from '../../kernel/time.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { TopicFollower } from '../../storage/event-log/topic-follower.ts'
import { CertificateAuthority, type DeviceCertificateRequest } from '../ca/authority.ts'
import { Certificates, type StoredCertificate } from '../certificates.ts'
import { ProvisioningConfigSchema, type ProvisioningConfig } from '../config.ts'
import { DeviceHttps } from '../https/device-https.ts'
import { Claims, signerOf } from '../doors/claims.ts'
import { EnrolmentConfigSchema, type EnrolmentConfig } from '../doors/config.ts'
import { DeskClient } from '../doors/desk-client.ts'
import { Doors } from '../doors/doors.ts'
import { EnrolmentTokens } from '../doors/enrolment-tokens.ts'
import { EstClient } from '../doors/est-client.ts'
import { issueCertificate } from './issue-certificate.ts'
import { OcspResponder } from '../revocation/ocsp-responder.ts'
import { StapleDesk } from '../revocation/staple-desk.ts'
import { Staples } from '../revocation/staples.ts'
import { PkiHttp } from '../revocation/pki-http.ts'
import { RevocationList } from '../revocation/revocation-list.ts'
import { SigningDesk } from '../ca/signing-desk.ts'
import { ServerCertificate } from '../ca/server-certificate.ts'
import { FactoryAuthorities } from '../trust/factory-authorities.ts'
import { TrustView } from '../trust/trust-view.ts'
import { AuditDouble } from './audit-double.ts'
import { RegistrarDouble } from './registrar-double.ts'
import { openStores } from './stores.ts'

export const TENANT = 'default'

/** Defaults, free ports, loopback. */
export function testConfig(changes: Partial<ProvisioningConfig> = {}): ProvisioningConfig {
  const checked = compileSchema(ProvisioningConfigSchema)({
    httpsHost: '127.0.0.1',
    httpsPort: 0,
    pkiHttpHost: '127.0.0.1',
    pkiHttpPort: 0,
    ...changes,
  })
  if (checked.status === 'invalid') throw new Error(JSON.stringify(checked.faults))
  return checked.value
}

/** Defaults, with short waits. */
export function testEnrolmentConfig(changes: Partial<EnrolmentConfig> = {}): EnrolmentConfig {
  const checked = compileSchema(EnrolmentConfigSchema)({ deskPollMs: 5, ...changes })
  if (checked.status === 'invalid') throw new Error(JSON.stringify(checked.faults))
  return checked.value
}

/** No edge asks for its devices while a virtual clock is advanced by weeks: looking for that would be most of a test's work. */
const NEVER_MS = 100 * 365 * 86_400_000

/** Takes what devices send; refuses when told to. */
export class SinkDouble implements UplinkSink {
  readonly uplinks: Uplink[] = []
  refusal: Error | undefined
  /** What it says of the readings of a payload. */
  outcomes: ReadingOutcome[] = [{ status: 'accepted' }]

  accept(uplink: Uplink, done: (error?: Error) => void, onReading?: (outcome: ReadingOutcome) => void): void {
    if (this.refusal === undefined) this.uplinks.push(uplink)
    for (const outcome of this.outcomes) onReading?.(outcome)
    setImmediate(() => done(this.refusal))
  }
}

export async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'fleetpulse-provisioning-'))
}

/** The whole station on embedded stores in a temporary folder, wired as the app wires it. */
export async function startStation(
  changes: Partial<ProvisioningConfig> = {},
  clock: Clock = systemClock,
  enrolmentChanges: Partial<EnrolmentConfig> = {},
) {
  const folder = await temporaryFolder()
  const stores = await openStores(folder)
  const { documents, eventLog } = stores
  const config = testConfig(changes)
  const registrar = new RegistrarDouble()
  const sink = new SinkDouble()
  const log = silentLogger
  const metrics = new Metrics()
  const authority: CertificateAuthority = new CertificateAuthority({ dataDir: folder, config, clock, log, pkiUrl: () => pkiHttp.publicUrl })
  const certificates = new Certificates({ documents, eventLog, clock, log, metrics })
  const revocationList = new RevocationList({ documents, authority, certificates, config, pkiUrl: () => pkiHttp.publicUrl, clock, log })
  const ocspResponder = new OcspResponder({
    authority,
    sources: [certificates, { statusOf: (issuer, serial) => stapleDesk.statusOf(issuer, serial) }],
    config,
    clock,
    log,
    metrics,
  })
  const pkiHttp: PkiHttp = new PkiHttp({ authority, revocationList, ocspResponder, config, clock, log })
  const serverCertificate = new ServerCertificate({ authority, config, clock, log, metrics })
  // A virtual clock that is advanced by days would ask the stores millions of times.
  const stapling = { documents, config, clock: changes.signingPollMs === undefined ? systemClock : clock, log }
  const stapleDesk: StapleDesk = new StapleDesk({ ...stapling, authority, ocspResponder })
  const staples = new Staples({ ...stapling, serverCertificate })
  const tokens = new EnrolmentTokens({ documents, registrar, config, clock, log })
  const checked = testEnrolmentConfig(enrolmentChanges)
  const enrolmentConfig =
    clock instanceof VirtualClock && enrolmentChanges.deskPollMs === undefined ? { ...checked, deskPollMs: NEVER_MS } : checked
  const auditTrail = new AuditDouble()
  const common = { ...stores, authority, certificates, auditTrail, config, enrolmentConfig, clock, log, metrics }
  const hasType = (_tenant: string, type: string): Promise<boolean> => Promise.resolve(registrar.hasType(type))
  const factoryAuthorities = new FactoryAuthorities({ ...common, hasType })
  const claims = new Claims({ ...common, sign: signerOf(authority), hasType })
  const doors = new Doors({ ...common, enrolmentTokens: tokens, factoryAuthorities, claims, registrar })
  const signingDesk = new SigningDesk({ ...common, clock: systemClock })
  const deskClient = new DeskClient({ ...common, edgeId: 'test' })
  const follower = followTrust(stores, registrar)
  const trust = new TrustView({ ...common, ownCaPem: () => authority.caPem, follow: (listener) => registrar.onTrustChanged(listener) })
  const { enrolment, justInTime } = doors
  const https = new DeviceHttps({
    authority,
    serverCertificate,
    enrolment,
    registryView: registrar,
    trust,
    justInTime,
    uplinkSink: sink,
    config,
    enrolmentConfig,
    clock,
    log,
    metrics,
  })
  const services: Service[] = [
    ...[authority, certificates, revocationList, pkiHttp, serverCertificate, stapleDesk, staples, tokens, signingDesk],
    ...[factoryAuthorities, claims, doors, deskClient, follower, trust, https],
  ]
  for (const service of services) await service.start()
  const clients: EstClient[] = []
  return {
    folder,
    stores,
    config,
    registrar,
    sink,
    authority,
    certificates,
    revocationList,
    ocspResponder,
    stapleDesk,
    pkiHttp,
    serverCertificate,
    tokens,
    enrolment,
    factoryAuthorities,
    claims,
    doors,
    deskClient,
    trust,
    justInTime,
    enrolmentConfig,
    auditTrail,
    https,
    metrics,
    origin: `https://localhost:${https.port}`,
    issue(request: DeviceCertificateRequest): Promise<StoredCertificate> {
      return issueCertificate({ authority, certificates }, request, 'test')
    },
    /** A client that trusts this station; closed with it. */
    estClient(client?: { keyPem: string; certPem: string }): EstClient {
      const made = new EstClient({
        origin: `https://127.0.0.1:${https.port}`,
        caPem: authority.caPem,
        timeoutMs: 10_000,
        ...(client === undefined ? {} : { client }),
      })
      clients.push(made)
      return made
    },
    async token(deviceId: string): Promise<string> {
      return (await tokens.create({ tenant: TENANT, deviceId, by: 'system' })).token
    },
    async stop(): Promise<void> {
      for (const client of clients) await client.close()
      for (const service of services.toReversed()) await service.stop()
      await stores.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export type Station = Awaited<ReturnType<typeof startStation>>

/** Hands what the log tells of trust and revocation to the registry's double, as the registry's own view does. */
function followTrust(stores: { eventLog: EventLog }, registrar: RegistrarDouble): Service {
  let follower: TopicFollower | undefined
  return {
    name: 'trust-follower',
    start: async () => {
      follower = await TopicFollower.join({
        eventLog: stores.eventLog,
        clock: systemClock,
        log: silentLogger,
        consumer: { topic: TOPICS.deviceEvents, from: 'latest' },
        recordsMax: 100,
        retryMs: 20,
        waitMs: () => 200,
        onRecords: (records) => {
          for (const record of records) registrar.note(JSON.parse(utf8Text(record.value)) as DeviceEvent)
          return Promise.resolve()
        },
      })
      follower.run()
    },
    stop: async () => follower?.stop(),
  }
}
