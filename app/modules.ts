import { fileURLToPath } from 'node:url'
import { Alerts } from '../alerts/alerts.ts'
import { Webhooks } from '../alerts/webhooks/webhooks.ts'
import { AnomalyArchive } from '../anomaly/anomaly-archive.ts'
import { AnomalyOperator } from '../anomaly/anomaly-operator.ts'
import { Broker } from '../broker/broker.ts'
import { LabListener } from '../broker/lab-listener.ts'
import { ApiServer } from '../dashboard/api/server.ts'
import { Checkpoints } from '../device-registry/audit/checkpoints.ts'
import { StatementKey } from '../device-registry/audit/statement-key.ts'
import { Trail } from '../device-registry/audit/trail.ts'
import { Activation } from '../device-registry/activation.ts'
import { DeviceImport } from '../device-registry/import/device-import.ts'
import { FollowingRegistryView } from '../device-registry/registry-view.ts'
import { Registry } from '../device-registry/registry.ts'
import { Ingest } from '../ingest/ingest.ts'
import { MqttDoor } from '../ingest/mqtt-door.ts'
import type { ProcessingConfig } from '../processing/config.ts'
import { ReadingsWorker } from '../processing/readings-worker.ts'
import { WindowOperator } from '../processing/windows/window-operator.ts'
import { openAdminToken } from '../provisioning/admin-token.ts'
import { AuthorityDesk } from '../provisioning/ca/authority-desk.ts'
import { AuthorityOrders } from '../provisioning/ca/authority-orders.ts'
import { CertificateAuthority } from '../provisioning/ca/authority.ts'
import { Certificates } from '../provisioning/certificates.ts'
import { DeviceHttps } from '../provisioning/https/device-https.ts'
import { EnrolmentTokens } from '../provisioning/doors/enrolment-tokens.ts'
import { LocalOperatorDoor, OperatorDesk, RemoteOperatorDoor, type OperatorDoor } from '../provisioning/doors/operator-door.ts'
import { ExpiryForecast } from '../provisioning/rotation/expiry-forecast.ts'
import { RotationService } from '../provisioning/rotation/rotation-service.ts'
import { OcspResponder } from '../provisioning/revocation/ocsp-responder.ts'
import { Claims, signerOf } from '../provisioning/doors/claims.ts'
import { DeskClient } from '../provisioning/doors/desk-client.ts'
import { Doors } from '../provisioning/doors/doors.ts'
import { FactoryAuthorities } from '../provisioning/trust/factory-authorities.ts'
import { TrustView } from '../provisioning/trust/trust-view.ts'
import { Posture } from '../provisioning/posture/posture.ts'
import { PkiHttp } from '../provisioning/revocation/pki-http.ts'
import { CrlImport } from '../provisioning/revocation/crl-import.ts'
import { publishedAuthorities } from '../provisioning/revocation/published-authorities.ts'
import { RevocationPolicy } from '../provisioning/revocation/revocation-policy.ts'
import { RevocationList } from '../provisioning/revocation/revocation-list.ts'
import { RemoteAuthority } from '../provisioning/ca/remote-authority.ts'
import { ServerCertificate } from '../provisioning/ca/server-certificate.ts'
import { SigningDesk } from '../provisioning/ca/signing-desk.ts'
import { openDocuments, openEventLog, openSeries } from './engines.ts'
import type { Config } from './config-sections.ts'
import type { BuildContext, ModuleTable, Parts } from './module.ts'
import { riskySettings } from './risky-settings.ts'
import { announceRefusals, announceRefused, announceSessions, announceUse } from './sessions.ts'
import { TARGETS, type Target } from './targets.ts'

const STORES = ['documents', 'eventLog'] as const

/** Every module: where it runs, what it needs, how it is built. This is the only wiring there is. */
export const MODULES: ModuleTable = {
  documents: {
    targets: [],
    needs: [],
    build: (context) => openDocuments(context.config, context),
  },
  eventLog: {
    targets: [],
    needs: [],
    build: (context) => openEventLog(context.config, context),
  },
  auditTrail: {
    targets: TARGETS,
    needs: ['documents'],
    build: (context, parts) => new Trail({ ...context, ...parts, auditConfig: context.config.audit }),
  },
  statementKey: {
    targets: ['registry'],
    needs: ['documents'],
    build: (context, parts) => new StatementKey({ ...context, ...parts }),
  },
  auditCheckpoints: {
    targets: ['registry'],
    needs: ['documents', 'auditTrail', 'statementKey'],
    build: (context, parts) =>
      new Checkpoints({ ...context, ...parts, signer: parts.statementKey, trail: parts.auditTrail, auditConfig: context.config.audit }),
  },
  registry: {
    targets: ['registry'],
    needs: [...STORES, 'auditTrail'],
    build: (context, parts) => new Registry({ ...context, ...parts, registryConfig: context.config.registry }),
  },
  authority: {
    targets: ['registry'],
    needs: [],
    build: (context, parts) =>
      new CertificateAuthority({
        ...context,
        dataDir: context.dataDirectory,
        config: context.config.provisioning,
        pkiUrl: () => parts.pkiHttp.publicUrl,
      }),
  },
  certificates: {
    targets: ['registry'],
    needs: [...STORES, 'auditTrail'],
    build: (context, parts) => new Certificates({ ...context, ...parts }),
  },
  revocationList: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'certificates'],
    build: (context, parts) =>
      new RevocationList({ ...context, ...parts, config: context.config.provisioning, pkiUrl: () => parts.pkiHttp.publicUrl }),
  },
  pkiHttp: {
    targets: ['registry'],
    needs: ['authority', 'certificates', 'revocationList'],
    build: (context, parts) => {
      const config = context.config.provisioning
      const ocspResponder = new OcspResponder({ ...context, ...parts, config, sources: [parts.certificates] })
      return new PkiHttp({ ...context, ...parts, config, ocspResponder })
    },
  },
  revocationPolicy: {
    targets: ['registry'],
    needs: [...STORES, 'auditTrail', 'certificates', 'registry'],
    build: (context, parts) =>
      new RevocationPolicy({ ...context, ...parts, registrar: parts.registry, config: context.config.provisioning }),
  },
  serverCertificate: {
    targets: ['registry'],
    needs: ['authority', 'pkiHttp'],
    build: (context, parts) => new ServerCertificate({ ...context, ...parts, config: context.config.provisioning }),
  },
  signingDesk: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'pkiHttp'],
    build: (context, parts) => new SigningDesk({ ...context, ...parts, config: context.config.provisioning }),
  },
  authorityDesk: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'certificates'],
    build: (context, parts) => new AuthorityDesk({ ...context, ...parts, config: context.config.provisioning }),
  },
  authorityOrders: {
    targets: [],
    needs: ['documents'],
    build: (context, parts) => new AuthorityOrders({ ...context, ...parts, config: context.config.provisioning }),
  },
  remoteAuthority: {
    targets: ['edge'],
    unless: 'registry',
    needs: ['documents'],
    build: (context, parts) =>
      new RemoteAuthority({
        ...context,
        ...parts,
        edgeId: context.processId,
        dataDir: context.dataDirectory,
        config: context.config.provisioning,
      }),
  },
  edgeCertificate: {
    targets: ['edge'],
    unless: 'registry',
    needs: ['remoteAuthority'],
    build: (context, parts) => new ServerCertificate({ ...context, authority: parts.remoteAuthority, config: context.config.provisioning }),
  },
  enrolmentTokens: {
    targets: ['registry'],
    needs: ['documents', 'registry'],
    build: (context, parts) =>
      new EnrolmentTokens({ ...context, ...parts, registrar: parts.registry, config: context.config.provisioning }),
  },
  factoryAuthorities: {
    targets: ['registry'],
    needs: [...STORES, 'certificates', 'registry'],
    build: (context, parts) =>
      new FactoryAuthorities({
        ...context,
        ...parts,
        config: context.config.provisioning,
        enrolmentConfig: context.config.enrolment,
        hasType: (tenant, type) => parts.registry.hasType(tenant, type),
      }),
  },
  deskClient: {
    targets: ['edge'],
    needs: ['documents'],
    build: (context, parts) =>
      new DeskClient({ ...context, ...parts, edgeId: context.processId, enrolmentConfig: context.config.enrolment }),
  },
  claims: {
    targets: ['registry'],
    needs: [...STORES, 'certificates', 'registry', 'deskClient'],
    build: (context, parts) =>
      new Claims({
        ...context,
        ...parts,
        sign: context.targets.includes('registry') ? signerOf(parts.authority) : (claim) => parts.deskClient.signClaim(claim),
        config: context.config.provisioning,
        enrolmentConfig: context.config.enrolment,
        hasType: (tenant, type) => parts.registry.hasType(tenant, type),
      }),
  },
  doors: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'certificates', 'enrolmentTokens', 'factoryAuthorities', 'claims', 'registry'],
    build: (context, parts) => {
      const { provisioning: config, enrolment: enrolmentConfig } = context.config
      return new Doors({ ...context, ...parts, config, enrolmentConfig, registrar: parts.registry })
    },
  },
  enrolment: {
    targets: ['registry'],
    needs: ['doors'],
    build: (_context, parts) => parts.doors.enrolment,
  },
  operatorDesk: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'enrolment'],
    build: (context, parts) =>
      new OperatorDesk({ ...context, ...parts, door: new LocalOperatorDoor(parts), config: context.config.provisioning }),
  },
  registryView: {
    targets: ['edge', 'registry'],
    needs: STORES,
    build: (context, parts) => {
      const view = new FollowingRegistryView({ ...context, ...parts, registryConfig: context.config.registry })
      view.onExpelled(({ serial }) => {
        if (serial !== undefined) (parts as Partial<Parts>).revocationList?.noteRevocation()
      })
      return view
    },
  },
  trustView: {
    targets: ['edge', 'registry'],
    needs: ['documents', 'registryView'],
    build: (context, parts) =>
      new TrustView({
        ...context,
        ...parts,
        ownCaPem: () => caPemOf(context, parts),
        follow: (listener) => parts.registryView.onTrustChanged(listener),
      }),
  },
  ingest: {
    targets: ['edge', 'registry'],
    needs: [...STORES, 'registryView'],
    build: (context, parts) => new Ingest({ ...context, ...parts, registry: parts.registryView, config: context.config.ingest }),
  },
  deviceHttps: {
    targets: ['registry'],
    needs: ['authority', 'serverCertificate', 'doors', 'enrolment', 'trustView', 'registryView', 'ingest'],
    build: (context, parts) => {
      const { provisioning: config, enrolment: enrolmentConfig } = context.config
      const onCertificateUsed = announceUse(parts.eventLog, context.clock, context.log)
      const { justInTime } = parts.doors
      const onCertificateRefused = announceRefused(parts.eventLog, context.clock, context.log)
      const told = { onCertificateUsed, onCertificateRefused }
      const options = { config, enrolmentConfig, justInTime, trust: parts.trustView, uplinkSink: parts.ingest, ...told }
      return new DeviceHttps({ ...context, ...parts, ...options })
    },
  },
  rotation: {
    targets: ['registry'],
    needs: [...STORES, 'authority', 'certificates', 'registry', 'enrolment'],
    build: (context, parts) =>
      new RotationService({
        ...context,
        ...parts,
        registrar: parts.registry,
        config: context.config.rotation,
        limits: context.config.provisioning,
      }),
  },
  posture: {
    targets: ['registry'],
    needs: [...STORES, 'auditTrail', 'registry'],
    build: (context, parts) =>
      new Posture({
        ...context,
        ...parts,
        config: context.config.posture,
        rsaBitsMin: context.config.provisioning.rsaBitsMin,
        settings: riskySettings(context.config),
        countDevices: (tenant) => parts.registry.countDevices(tenant),
        works: context.targets.includes('registry'),
      }),
  },
  expiryForecast: {
    targets: ['registry'],
    needs: ['documents'],
    build: (context, parts) =>
      new ExpiryForecast({ ...context, ...parts, config: context.config.rotation, works: context.targets.includes('registry') }),
  },
  activation: {
    targets: ['registry'],
    needs: ['registry', 'eventLog'],
    build: (context, parts) => new Activation({ ...context, ...parts, registryConfig: context.config.registry }),
  },
  broker: {
    targets: ['edge'],
    needs: ['documents', 'eventLog', 'registryView', 'trustView', 'deskClient', 'ingest'],
    build: (context, parts) =>
      new Broker({
        ...context,
        config: context.config.broker,
        registry: parts.registryView,
        doors: { trust: parts.trustView, remote: parts.deskClient },
        uplinks: parts.ingest,
        documents: parts.documents,
        tls: () => (parts as Partial<Parts>).edgeCertificate?.material ?? context.tls(),
        // Only shared documents can have another edge beside this one.
        ...(context.config.platform.documentsEngine === 'lmdb'
          ? { downlinks: parts.eventLog }
          : { edge: { id: context.processId, eventLog: parts.eventLog } }),
        isCutOff: (tenant, device) => parts.registryView.isCutOff(tenant, device),
        onSession: announceSessions(parts.eventLog, context.log),
        onRefusal: announceRefusals(parts.eventLog, context.clock, context.log),
      }),
  },
  mqttDoor: {
    targets: ['edge'],
    needs: ['registry', 'registryView', 'ingest'],
    build: (context, parts) =>
      new MqttDoor({ ...context, ...parts, config: context.config.mqttDoor, uplinks: parts.ingest, registrar: parts.registry }),
  },
  lab: {
    targets: ['edge'],
    needs: ['documents'],
    build: (context, parts) => new LabListener({ ...context, ...parts, config: context.config.broker }),
  },
  series: {
    targets: [],
    needs: [],
    build: (context) => openSeries(context.config, context),
  },
  readings: {
    targets: ['processing', 'anomaly'],
    needs: [...STORES, 'series', 'registryView'],
    build: (context, parts) => {
      const silenceAfterMs = (tenant: string, type: string): number | null => parts.registryView.type(tenant, type)?.silenceAfterMs ?? null
      const runs = (target: Target): boolean => context.targets.includes(target)
      const windows = runs('processing') ? [new WindowOperator({ ...context, config: context.config.windows })] : []
      const anomalies = runs('anomaly') ? [new AnomalyOperator({ ...context, config: context.config.anomaly, silenceAfterMs })] : []
      const group = runs('processing') ? 'processing' : 'anomaly'
      return new ReadingsWorker({
        ...context,
        ...parts,
        config: processingConfig(context.config),
        group,
        operators: [...windows, ...anomalies],
      })
    },
  },
  anomalyArchive: {
    targets: ['anomaly'],
    needs: STORES,
    build: (context, parts) =>
      new AnomalyArchive({
        ...context,
        ...parts,
        anomaliesMax: context.config.platform.anomaliesMax,
        works: context.targets.includes('anomaly'),
      }),
  },
  alerts: {
    targets: ['alerts'],
    needs: STORES,
    build: (context, parts) =>
      new Alerts({ ...context, ...parts, config: context.config.alerts, works: context.targets.includes('alerts') }),
  },
  webhooks: {
    targets: ['alerts'],
    needs: STORES,
    build: (context, parts) =>
      new Webhooks({ ...context, ...parts, config: context.config.webhooks, works: context.targets.includes('alerts') }),
  },
  api: {
    targets: ['dashboard'],
    needs: [
      ...STORES,
      'series',
      'auditTrail',
      'registry',
      'certificates',
      'authorityOrders',
      'enrolmentTokens',
      'expiryForecast',
      'claims',
      'factoryAuthorities',
      'posture',
      'anomalyArchive',
      'alerts',
      'webhooks',
    ],
    build: async (context, parts) =>
      new ApiServer({
        ...context,
        ...parts,
        config: context.config.api,
        auditConfig: context.config.audit,
        operatorDoor: operatorDoor(context, parts),
        deviceImport: new DeviceImport({ ...context, ...parts, registryConfig: context.config.registry }),
        adminToken: await openAdminToken(context.dataDirectory),
        alerts: parts.alerts.service,
        webhooks: parts.webhooks.service,
        anomalies: parts.anomalyArchive,
        crlImport: new CrlImport({
          ...context,
          certificates: parts.certificates,
          authorities: async (tenant) => [
            ...(await publishedAuthorities(parts.documents, parts.certificates, tenant)),
            ...(await parts.factoryAuthorities.crlAuthorities(tenant)),
          ],
          config: context.config.provisioning,
        }),
        webRoot: fileURLToPath(new URL('../../dist/web', import.meta.url)),
      }),
  },
}

/** The CA is in the registry's process alone. */
function operatorDoor(context: BuildContext, parts: Parts): OperatorDoor {
  const { enrolment, authority } = parts as Partial<Parts>
  if (enrolment !== undefined && authority !== undefined) return new LocalOperatorDoor({ enrolment, authority })
  return new RemoteOperatorDoor({ ...context, ...parts, config: context.config.provisioning })
}

/** Modules in the order in which they start: the order of the table, which is the road's. */
export const START_ORDER = Object.keys(MODULES) as (keyof Parts)[]

/** Longest wait of a row where the configuration leaves it to the store, in ms. */
const SERIES_FLUSH_MS = { duckdb: 100, questdb: 250 } as const

function processingConfig({ processing, platform }: Config): ProcessingConfig {
  return { ...processing, seriesFlushMs: processing.seriesFlushMs || SERIES_FLUSH_MS[platform.seriesEngine] }
}

/** The CAs of ours that sign clients, as this thread knows them: it has the CA, or asked for its certificate, or was told of it. */
function caPemOf(context: BuildContext, parts: Partial<Parts>): string {
  const { clientIssuersPem, caPem } = parts.authority ?? parts.edgeCertificate?.material ?? context.tls()
  return clientIssuersPem ?? caPem
}
