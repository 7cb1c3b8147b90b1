import { Broker } from '../../broker/broker.ts'
import { LabListener } from '../../broker/lab-listener.ts'
import { Activation } from '../../device-registry/activation.ts'
import { FollowingRegistryView } from '../../device-registry/registry-view.ts'
import { Ingest } from '../../ingest/ingest.ts'
import { MqttDoor } from '../../ingest/mqtt-door.ts'
import { DeviceHttps } from '../../provisioning/https/device-https.ts'
import { ExpiryForecast } from '../../provisioning/rotation/expiry-forecast.ts'
import { RotationService } from '../../provisioning/rotation/rotation-service.ts'
import { TrustView } from '../../provisioning/trust/trust-view.ts'
import { Posture } from '../../provisioning/posture/posture.ts'
import type { BuildContext, Parts, ModuleTable } from '../module.ts'
import { riskySettings } from '../risky-settings.ts'
import { announceRefusals, announceRefused, announceSessions, announceUse } from '../sessions.ts'
import { STORES } from './stores.ts'

/** Where devices connect, and what must be known of them there. */
export const EDGE_MODULES = {
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
} satisfies Partial<ModuleTable>

/** The CAs of ours that sign clients, as this thread knows them: it has the CA, or asked for its certificate, or was told of it. */
function caPemOf(context: BuildContext, parts: Partial<Parts>): string {
  const { clientIssuersPem, caPem } = parts.authority ?? parts.edgeCertificate?.material ?? context.tls()
  return clientIssuersPem ?? caPem
}
