import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Alerts } from '../alerts/alerts.ts'
import { Webhooks } from '../alerts/webhooks/webhooks.ts'
import { AnomalyArchive } from '../anomaly/anomaly-archive.ts'
import { AnomalyOperator } from '../anomaly/anomaly-operator.ts'
import { Broker } from '../broker/broker.ts'
import { LabListener } from '../broker/lab-listener.ts'
import { ApiServer } from '../dashboard/api/server.ts'
import { Activation } from '../device-registry/activation.ts'
import { FollowingRegistryView } from '../device-registry/registry-view.ts'
import { Registry } from '../device-registry/registry.ts'
import { Ingest } from '../ingest/ingest.ts'
import { ReadingsWorker } from '../processing/readings-worker.ts'
import { WindowOperator } from '../processing/windows/window-operator.ts'
import { openAdminToken } from '../provisioning/admin-token.ts'
import { CertificateAuthority } from '../provisioning/authority.ts'
import { Certificates } from '../provisioning/certificates.ts'
import { DeviceHttps } from '../provisioning/device-https.ts'
import { EnrolmentTokens } from '../provisioning/enrolment-tokens.ts'
import { Enrolment } from '../provisioning/enrolment.ts'
import { PkiHttp } from '../provisioning/pki-http.ts'
import { RevocationList } from '../provisioning/revocation-list.ts'
import { ServerCertificate } from '../provisioning/server-certificate.ts'
import { LmdbDocuments } from '../storage/documents/lmdb-documents.ts'
import { LmdbEventLog } from '../storage/event-log/lmdb-event-log.ts'
import { DuckdbSeriesStore } from '../storage/series/duckdb-series-store.ts'
import type { ModuleTable, Parts } from './module.ts'
import { announceSessions } from './sessions.ts'

const STORES = ['documents', 'eventLog'] as const

/** Every module: where it runs, what it needs, how it is built. This is the only wiring there is. */
export const MODULES: ModuleTable = {
  documents: {
    targets: [],
    needs: [],
    build: (context) => new LmdbDocuments({ ...context, directory: join(context.dataDirectory, 'documents'), config: context.config.documents }),
  },
  eventLog: {
    targets: [],
    needs: [],
    build: (context) =>
      new LmdbEventLog({ ...context, directory: join(context.dataDirectory, 'log'), config: context.config.eventLog, topicPrefix: context.config.platform.topicPrefix }),
  },
  registry: { targets: ['registry'], needs: STORES, build: (context, parts) => new Registry({ ...context, ...parts, registryConfig: context.config.registry }) },
  authority: {
    targets: ['registry'],
    needs: [],
    build: (context, parts) =>
      new CertificateAuthority({ ...context, dataDir: context.dataDirectory, config: context.config.provisioning, pkiUrl: () => parts.pkiHttp.publicUrl }),
  },
  certificates: { targets: ['registry'], needs: [...STORES, 'authority'], build: (context, parts) => new Certificates({ ...context, ...parts }) },
  revocationList: {
    targets: ['registry'],
    needs: ['documents', 'authority', 'certificates'],
    build: (context, parts) => new RevocationList({ ...context, ...parts, config: context.config.provisioning }),
  },
  pkiHttp: {
    targets: ['registry'],
    needs: ['authority', 'revocationList'],
    build: (context, parts) => new PkiHttp({ ...context, ...parts, config: context.config.provisioning }),
  },
  serverCertificate: {
    targets: ['registry'],
    needs: ['authority', 'pkiHttp'],
    build: (context, parts) => new ServerCertificate({ ...context, ...parts, config: context.config.provisioning }),
  },
  enrolmentTokens: {
    targets: ['registry'],
    needs: ['documents', 'registry'],
    build: (context, parts) => new EnrolmentTokens({ ...context, ...parts, registrar: parts.registry, config: context.config.provisioning }),
  },
  registryView: { targets: ['edge', 'registry'], needs: STORES, build: (context, parts) => new FollowingRegistryView({ ...context, ...parts, registryConfig: context.config.registry }) },
  ingest: {
    targets: ['edge', 'registry'],
    needs: [...STORES, 'registryView'],
    build: (context, parts) => new Ingest({ ...context, ...parts, registry: parts.registryView, config: context.config.ingest }),
  },
  deviceHttps: {
    targets: ['registry'],
    needs: ['authority', 'serverCertificate', 'certificates', 'enrolmentTokens', 'registry', 'registryView', 'ingest'],
    build: (context, parts) => {
      const config = context.config.provisioning
      const enrolment = new Enrolment({ ...context, ...parts, config, tokens: parts.enrolmentTokens, registrar: parts.registry })
      return new DeviceHttps({ ...context, ...parts, config, enrolment, uplinkSink: parts.ingest })
    },
  },
  activation: { targets: ['registry'], needs: ['registry', 'eventLog'], build: (context, parts) => new Activation({ ...context, ...parts, registryConfig: context.config.registry }) },
  broker: {
    targets: ['edge'],
    needs: ['documents', 'eventLog', 'registryView', 'ingest'],
    build: (context, parts) =>
      new Broker({
        ...context,
        config: context.config.broker,
        registry: parts.registryView,
        uplinks: parts.ingest,
        documents: parts.documents,
        onSession: announceSessions(parts.eventLog, context.log),
      }),
  },
  lab: { targets: ['edge'], needs: ['documents'], build: (context, parts) => new LabListener({ ...context, ...parts, config: context.config.broker }) },
  series: {
    targets: [],
    needs: [],
    build: (context) => new DuckdbSeriesStore({ ...context, directory: join(context.dataDirectory, 'series'), config: context.config.series }),
  },
  readings: {
    targets: ['processing', 'anomaly'],
    needs: [...STORES, 'series', 'registryView'],
    build: (context, parts) => {
      const silenceAfterMs = (tenant: string, type: string): number | null => parts.registryView.type(tenant, type)?.silenceAfterMs ?? null
      const windows = new WindowOperator({ ...context, config: context.config.windows })
      const anomalies = new AnomalyOperator({ ...context, config: context.config.anomaly, silenceAfterMs })
      return new ReadingsWorker({ ...context, ...parts, config: context.config.processing, operators: [windows, anomalies] })
    },
  },
  anomalyArchive: {
    targets: ['anomaly'],
    needs: STORES,
    build: (context, parts) => new AnomalyArchive({ ...context, ...parts, anomaliesMax: context.config.platform.anomaliesMax }),
  },
  alerts: { targets: ['alerts'], needs: STORES, build: (context, parts) => new Alerts({ ...context, ...parts, config: context.config.alerts }) },
  webhooks: { targets: ['alerts'], needs: STORES, build: (context, parts) => new Webhooks({ ...context, ...parts, config: context.config.webhooks }) },
  api: {
    targets: ['dashboard'],
    needs: [...STORES, 'series', 'registry', 'certificates', 'enrolmentTokens', 'anomalyArchive', 'alerts', 'webhooks'],
    build: async (context, parts) =>
      new ApiServer({
        ...context,
        ...parts,
        config: context.config.api,
        adminToken: await openAdminToken(context.dataDirectory),
        alerts: parts.alerts.service,
        webhooks: parts.webhooks.service,
        anomalies: parts.anomalyArchive,
        webRoot: fileURLToPath(new URL('../../dist/web', import.meta.url)),
      }),
  },
}

/** Modules in the order in which they start: the order of the table, which is the road's. */
export const START_ORDER = Object.keys(MODULES) as (keyof Parts)[]
