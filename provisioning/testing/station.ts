import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ReadingOutcome, Uplink, UplinkSink } from '../../contracts/uplink.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { Service } from '../../kernel/service.ts'
import { systemClock, type Clock } from '../../kernel/time.ts'
import { CertificateAuthority, type DeviceCertificateRequest } from '../ca/authority.ts'
import { Certificates, type StoredCertificate } from '../certificates.ts'
import { ProvisioningConfigSchema, type ProvisioningConfig } from '../config.ts'
import { DeviceHttps } from '../https/device-https.ts'
import { Enrolment } from '../doors/enrolment.ts'
import { EnrolmentTokens } from '../doors/enrolment-tokens.ts'
import { EstClient } from '../doors/est-client.ts'
import { issueCertificate } from '../doors/issue-certificate.ts'
import { OcspResponder } from '../revocation/ocsp-responder.ts'
import { PkiHttp } from '../revocation/pki-http.ts'
import { RevocationList } from '../revocation/revocation-list.ts'
import { ServerCertificate } from '../ca/server-certificate.ts'
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
export async function startStation(changes: Partial<ProvisioningConfig> = {}, clock: Clock = systemClock) {
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
  const ocspResponder = new OcspResponder({ authority, sources: [certificates], config, clock, log, metrics })
  const pkiHttp: PkiHttp = new PkiHttp({ authority, revocationList, ocspResponder, config, clock, log })
  const serverCertificate = new ServerCertificate({ authority, config, clock, log, metrics })
  const tokens = new EnrolmentTokens({ documents, registrar, config, clock, log })
  const enrolment = new Enrolment({ authority, certificates, tokens, registrar, config, log, metrics })
  const https = new DeviceHttps({
    authority,
    serverCertificate,
    enrolment,
    registryView: registrar,
    uplinkSink: sink,
    config,
    clock,
    log,
    metrics,
  })
  const services: Service[] = [authority, certificates, revocationList, pkiHttp, serverCertificate, tokens, https]
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
    pkiHttp,
    serverCertificate,
    tokens,
    enrolment,
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
