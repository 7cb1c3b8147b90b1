import { Type, type Static, type TSchema } from 'typebox'
import type { ConfigFault } from '../kernel/errors.ts'
import { AgentsConfigSchema, crossCheckAgentsConfig } from '../agents/config.ts'
import { EvidenceConfigSchema } from '../agents/evidence/config.ts'
import { ProposalsConfigSchema } from '../agents/proposals/config.ts'
import { BrainsConfigSchema, crossCheckBrainsConfig } from '../agents/brains/config.ts'
import { MemoryConfigSchema } from '../agents/memory/config.ts'
import { crossCheckProactiveConfig, ProactiveConfigSchema } from '../agents/proactive/config.ts'
import { crossCheckWatchdogConfig, WatchdogConfigSchema } from '../agents/watchdog/config.ts'
import { AlertsConfigSchema, crossCheckAlertsConfig } from '../alerts/config.ts'
import { crossCheckWebhooksConfig, WebhooksConfigSchema } from '../alerts/webhooks/config.ts'
import { anomalyConfigFaults, AnomalyConfigSchema } from '../anomaly/config.ts'
import { modelsConfigFaults, ModelsConfigSchema } from '../anomaly/models/config.ts'
import { brokerConfigSchema } from '../broker/config.ts'
import { ApiConfigSchema } from '../dashboard/api/config.ts'
import { AuditConfigSchema } from '../device-registry/audit/config.ts'
import { DecommissionConfigSchema } from '../device-registry/decommission/config.ts'
import { RegistryConfigSchema } from '../device-registry/config.ts'
import { IngestConfigSchema } from '../ingest/config.ts'
import { crossCheckMqttDoorConfig, MqttDoorConfigSchema } from '../ingest/mqtt-door-config.ts'
import { ProcessingConfigSchema } from '../processing/config.ts'
import { crossCheckRulesConfig, RulesConfigSchema } from '../processing/rules/config.ts'
import { crossCheckWindowsConfig, WindowsConfigSchema } from '../processing/windows/config.ts'
import { crossCheckEnrolmentConfig, EnrolmentConfigSchema } from '../provisioning/doors/config.ts'
import { PostureConfigSchema } from '../provisioning/posture/config.ts'
import { crossCheckProvisioningConfig, ProvisioningConfigSchema } from '../provisioning/config.ts'
import { crossCheckRotationConfig, RotationConfigSchema } from '../provisioning/rotation/config.ts'
import { DocumentsConfigSchema } from '../storage/documents/config.ts'
import { MongodbConfigSchema } from '../storage/documents/mongodb-config.ts'
import { crossCheckEventLogConfig, EventLogConfigSchema } from '../storage/event-log/config.ts'
import { crossCheckKafkaConfig, KafkaConfigSchema } from '../storage/event-log/kafka-config.ts'
import { crossCheckSeriesConfig, SeriesConfigSchema } from '../storage/series/config.ts'
import { TelemetryConfigSchema } from './telemetry/config.ts'
import { QuestdbConfigSchema } from '../storage/series/questdb-config.ts'

/** What concerns the whole process. */
export const PlatformConfigSchema = Type.Object(
  {
    dataDirectory: Type.String({
      default: './data',
      minLength: 1,
      env: 'FLEETPULSE_DATA',
      description: 'Folder of all state (made with mode 0700).',
    }),
    logLevel: Type.Union(
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'].map((level) => Type.Literal(level)),
      { default: 'info', env: 'FLEETPULSE_LOG_LEVEL', description: 'Least severe log line that is written.' },
    ),
    stopTimeoutMs: Type.Integer({
      default: 4_000,
      minimum: 100,
      maximum: 60_000,
      description: 'Longest time one service may take to stop, in ms; a stop of everything takes less than 10 s.',
    }),
    eventLogEngine: Type.Union([Type.Literal('lmdb'), Type.Literal('kafka')], {
      default: 'lmdb',
      env: 'FLEETPULSE_EVENT_LOG_ENGINE',
      description: 'Event log: lmdb (this machine) or kafka (section kafka).',
    }),
    seriesEngine: Type.Union([Type.Literal('duckdb'), Type.Literal('questdb')], {
      default: 'duckdb',
      env: 'FLEETPULSE_SERIES_ENGINE',
      description: 'Time-series store: duckdb (this machine) or questdb (section questdb).',
    }),
    documentsEngine: Type.Union([Type.Literal('lmdb'), Type.Literal('mongodb')], {
      default: 'lmdb',
      env: 'FLEETPULSE_DOCUMENTS_ENGINE',
      description: 'Documents: lmdb (this machine) or mongodb (section mongodb).',
    }),
    partitions: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 1_024,
      description:
        'Partitions of every topic, at most so many processes share the work; 0 = what suits the engine: 1 on lmdb, 12 on kafka. It can grow, which moves devices between partitions, and never shrinks.',
    }),
    operationsHost: Type.String({
      default: '127.0.0.1',
      env: 'FLEETPULSE_OPERATIONS_HOST',
      description:
        'Address of the operations port: /metrics, /healthz and /readyz of a process without the target dashboard (which answers them on its API).',
    }),
    operationsPort: Type.Integer({
      default: 8090,
      minimum: 0,
      maximum: 65_535,
      env: 'FLEETPULSE_OPERATIONS_PORT',
      description: 'Its port; 0 = any free one.',
    }),
    topicPrefix: Type.String({
      default: 'fleetpulse.',
      maxLength: 64,
      pattern: '^[A-Za-z0-9._-]*$',
      description: 'In front of every topic of the event log.',
    }),
    readingsRetentionMs: Type.Integer({
      default: 7 * 86_400_000,
      minimum: 0,
      description: 'Readings stay in the event log for so long, in ms (the series store keeps its own retention); 0 = no bound by age.',
    }),
    readingsRetentionBytes: Type.Integer({
      default: 4 * 1024 ** 3,
      minimum: 0,
      description: 'Bytes of readings in the event log; 0 = no bound by size.',
    }),
    otherRetentionMs: Type.Integer({ default: 30 * 86_400_000, minimum: 0, description: 'As readingsRetentionMs, for every other topic.' }),
    otherRetentionBytes: Type.Integer({
      default: 512 * 1024 ** 2,
      minimum: 0,
      description: 'As readingsRetentionBytes, for each other topic.',
    }),
    anomaliesMax: Type.Integer({
      default: 200_000,
      minimum: 100,
      description: 'Anomalies kept for charts and explanations; the oldest by receipt go first.',
    }),
    seriesRetentionMs: Type.Integer({
      default: 90 * 86_400_000,
      minimum: 0,
      description: 'Stored readings are removed this long after receipt, in ms; 0 keeps them for good.',
    }),
    seriesRetentionCheckMs: Type.Integer({ default: 3_600_000, minimum: 1_000, description: 'How often that is done, in ms.' }),
  },
  { additionalProperties: false, default: {} },
)

/** Every section of the configuration, each owned by its station. */
export const SECTIONS = {
  platform: PlatformConfigSchema,
  broker: brokerConfigSchema,
  ingest: IngestConfigSchema,
  mqttDoor: MqttDoorConfigSchema,
  processing: ProcessingConfigSchema,
  windows: WindowsConfigSchema,
  rules: RulesConfigSchema,
  anomaly: AnomalyConfigSchema,
  models: ModelsConfigSchema,
  alerts: AlertsConfigSchema,
  webhooks: WebhooksConfigSchema,
  agents: AgentsConfigSchema,
  evidence: EvidenceConfigSchema,
  proposals: ProposalsConfigSchema,
  brains: BrainsConfigSchema,
  watchdog: WatchdogConfigSchema,
  proactive: ProactiveConfigSchema,
  memory: MemoryConfigSchema,
  registry: RegistryConfigSchema,
  audit: AuditConfigSchema,
  posture: PostureConfigSchema,
  decommission: DecommissionConfigSchema,
  provisioning: ProvisioningConfigSchema,
  rotation: RotationConfigSchema,
  enrolment: EnrolmentConfigSchema,
  api: ApiConfigSchema,
  eventLog: EventLogConfigSchema,
  series: SeriesConfigSchema,
  documents: DocumentsConfigSchema,
  kafka: KafkaConfigSchema,
  questdb: QuestdbConfigSchema,
  mongodb: MongodbConfigSchema,
  telemetry: TelemetryConfigSchema,
} as const satisfies Record<string, TSchema>

export type Config = { [K in keyof typeof SECTIONS]: Static<(typeof SECTIONS)[K]> }

/** What settings must hold together; each section knows its own rules. */
export function crossCheck(config: Config): ConfigFault[] {
  return [
    ...crossCheckWindowsConfig(config.windows, 'windows'),
    ...crossCheckRulesConfig(config.rules, 'rules'),
    ...anomalyConfigFaults(config.anomaly, 'anomaly'),
    ...modelsConfigFaults(config.models, 'models'),
    ...crossCheckAlertsConfig(config.alerts, 'alerts'),
    ...crossCheckWebhooksConfig(config.webhooks, 'webhooks'),
    ...crossCheckAgentsConfig(config.agents, 'agents'),
    ...crossCheckBrainsConfig(config.brains, 'brains'),
    ...crossCheckWatchdogConfig(config.watchdog, 'watchdog'),
    ...crossCheckProactiveConfig(config.proactive, 'proactive'),
    ...crossCheckProvisioningConfig(config.provisioning, 'provisioning'),
    ...crossCheckRotationConfig(config.rotation, 'rotation'),
    ...crossCheckEnrolmentConfig(config.enrolment, 'enrolment'),
    ...crossCheckSeriesConfig(config.series, 'series'),
    ...crossCheckEventLogConfig(config.eventLog, 'eventLog'),
    ...crossCheckMqttDoorConfig(config.mqttDoor, 'mqttDoor'),
    ...crossCheckKafkaConfig(config.kafka, 'kafka'),
  ]
}
