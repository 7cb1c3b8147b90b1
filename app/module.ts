import type { Agents } from '../agents/agents.ts'
import type { BusDigestReader } from '../agents/bus/digest-reader.ts'
import type { Pulse } from '../agents/watchdog/pulse.ts'
import type { Watchdog } from '../agents/watchdog/watchdog.ts'
import type { Alerts } from '../alerts/alerts.ts'
import type { PlatformHealth } from '../alerts/platform-health.ts'
import type { Webhooks } from '../alerts/webhooks/webhooks.ts'
import type { Proposals } from '../agents/proposals/proposals.ts'
import type { Brains } from '../agents/brains/brains.ts'
import type { AnomalyArchive } from '../anomaly/anomaly-archive.ts'
import type { Learning } from '../anomaly/models/learning.ts'
import type { ModelDesk } from '../anomaly/models/model-desk.ts'
import type { ModelServing } from '../anomaly/models/serving.ts'
import type { AppliedPolicies } from '../anomaly/policies/applied-policies.ts'
import type { PolicyDesk } from '../anomaly/policies/policy-desk.ts'
import type { Peers } from '../anomaly/peers/peers.ts'
import type { AppliedFeedback } from '../anomaly/feedback/applied-feedback.ts'
import type { FeedbackService } from '../anomaly/feedback/feedback-service.ts'
import type { Broker } from '../broker/broker.ts'
import type { LabListener } from '../broker/lab-listener.ts'
import type { ApiServer } from '../dashboard/api/server.ts'
import type { Checkpoints } from '../device-registry/audit/checkpoints.ts'
import type { StatementKey } from '../device-registry/audit/statement-key.ts'
import type { Trail } from '../device-registry/audit/trail.ts'
import type { Activation } from '../device-registry/activation.ts'
import type { Decommission } from '../device-registry/decommission/decommission.ts'
import type { DecommissionWork } from '../device-registry/decommission/decommission-work.ts'
import type { FollowingRegistryView } from '../device-registry/registry-view.ts'
import type { Registry } from '../device-registry/registry.ts'
import type { Ingest } from '../ingest/ingest.ts'
import type { MqttDoor } from '../ingest/mqtt-door.ts'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Random } from '../kernel/random.ts'
import type { Clock } from '../kernel/time.ts'
import type { TlsMaterial } from '../kernel/tls.ts'
import type { ReadingsWorker } from '../processing/readings-worker.ts'
import type { Rules } from '../processing/rules/rules.ts'
import type { AuthorityDesk } from '../provisioning/ca/authority-desk.ts'
import type { AuthorityOrders } from '../provisioning/ca/authority-orders.ts'
import type { CertificateAuthority } from '../provisioning/ca/authority.ts'
import type { Certificates } from '../provisioning/certificates.ts'
import type { DeviceHttps } from '../provisioning/https/device-https.ts'
import type { Claims } from '../provisioning/doors/claims.ts'
import type { DeskClient } from '../provisioning/doors/desk-client.ts'
import type { Doors } from '../provisioning/doors/doors.ts'
import type { EnrolmentTokens } from '../provisioning/doors/enrolment-tokens.ts'
import type { ExpiryForecast } from '../provisioning/rotation/expiry-forecast.ts'
import type { RotationService } from '../provisioning/rotation/rotation-service.ts'
import type { OperatorDesk } from '../provisioning/doors/operator-door.ts'
import type { Enrolment } from '../provisioning/doors/enrolment.ts'
import type { FactoryAuthorities } from '../provisioning/trust/factory-authorities.ts'
import type { TrustView } from '../provisioning/trust/trust-view.ts'
import type { Posture } from '../provisioning/posture/posture.ts'
import type { OcspResponder } from '../provisioning/revocation/ocsp-responder.ts'
import type { StapleDesk } from '../provisioning/revocation/staple-desk.ts'
import type { Staples } from '../provisioning/revocation/staples.ts'
import type { PkiHttp } from '../provisioning/revocation/pki-http.ts'
import type { RevocationPolicy } from '../provisioning/revocation/revocation-policy.ts'
import type { RevocationList } from '../provisioning/revocation/revocation-list.ts'
import type { RemoteAuthority } from '../provisioning/ca/remote-authority.ts'
import type { ServerCertificate } from '../provisioning/ca/server-certificate.ts'
import type { SigningDesk } from '../provisioning/ca/signing-desk.ts'
import type { Documents } from '../storage/documents/documents.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import type { SeriesStore } from '../storage/series/series-store.ts'
import type { Config } from './config-sections.ts'
import type { Operations } from '../dashboard/api/context.ts'
import type { StoredDomainFacts } from './evidence/domain-facts.ts'
import type { EvidenceSources } from './evidence/evidence-sources.ts'
import type { Target } from './targets.ts'
import type { OtlpExporter } from './telemetry/otlp-exporter.ts'

/** Every module by name; the road from device to page, top to bottom. */
export interface Parts {
  documents: Documents
  eventLog: EventLog
  auditTrail: Trail
  statementKey: StatementKey
  auditCheckpoints: Checkpoints
  registry: Registry
  authority: CertificateAuthority
  certificates: Certificates
  revocationList: RevocationList
  revocationPolicy: RevocationPolicy
  ocspResponder: OcspResponder
  pkiHttp: PkiHttp
  stapleDesk: StapleDesk
  staples: Staples
  edgeStaples: Staples
  serverCertificate: ServerCertificate
  signingDesk: SigningDesk
  authorityDesk: AuthorityDesk
  authorityOrders: AuthorityOrders
  enrolmentTokens: EnrolmentTokens
  enrolment: Enrolment
  operatorDesk: OperatorDesk
  remoteAuthority: RemoteAuthority
  edgeCertificate: ServerCertificate
  factoryAuthorities: FactoryAuthorities
  claims: Claims
  doors: Doors
  deskClient: DeskClient
  registryView: FollowingRegistryView
  trustView: TrustView
  ingest: Ingest
  deviceHttps: DeviceHttps
  rotation: RotationService
  posture: Posture
  expiryForecast: ExpiryForecast
  activation: Activation
  broker: Broker
  mqttDoor: MqttDoor
  lab: LabListener
  modelKey: StatementKey
  modelServing: ModelServing
  modelDesk: ModelDesk
  series: SeriesStore
  decommission: Decommission
  decommissionWork: DecommissionWork
  rules: Rules
  readings: ReadingsWorker
  appliedFeedback: AppliedFeedback
  appliedPolicies: AppliedPolicies
  policies: PolicyDesk
  peers: Peers
  anomalyArchive: AnomalyArchive
  learning: Learning
  feedback: FeedbackService
  spans: OtlpExporter
  brains: Brains
  alerts: Alerts
  digestReader: BusDigestReader
  webhooks: Webhooks
  evidenceSources: EvidenceSources
  domainFacts: StoredDomainFacts
  proposals: Proposals
  agents: Agents
  pulse: Pulse
  edgePulse: Pulse
  watchdog: Watchdog
  watchdogHealth: PlatformHealth
  api: ApiServer
}

/** What a build may use besides other modules. */
export interface BuildContext {
  config: Config
  /** Everything that runs in this process, in whichever thread. */
  targets: readonly Target[]
  /** Of this data folder, the same after every start. */
  processId: string
  /** Absolute. */
  dataDirectory: string
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  /** What device listeners present, where the registry target is in this process and makes it. */
  tls: () => TlsMaterial
  operations: Operations
  /** Aborted when the process is told to stop: what has not started by then is not started any more. */
  stopAsked: AbortSignal
}

export interface Module<K extends keyof Parts> {
  /** Targets that run it; a module that others need is built wherever they are. */
  targets: readonly Target[]
  needs: readonly (keyof Parts)[]
  /** Where the process has this target, the module is not needed. */
  unless?: Target
  build(context: BuildContext, parts: Parts): Parts[K] | Promise<Parts[K]>
}

export type ModuleTable = { readonly [K in keyof Parts]: Module<K> }
