import { Type, type Static, type TSchema } from 'typebox'
import type { ConfigFault } from '../kernel/errors.ts'
import { AlertsConfigSchema, crossCheckAlertsConfig } from '../alerts/config.ts'
import { crossCheckWebhooksConfig, WebhooksConfigSchema } from '../alerts/webhooks/config.ts'
import { anomalyConfigFaults, AnomalyConfigSchema } from '../anomaly/config.ts'
import { brokerConfigSchema } from '../broker/config.ts'
import { ApiConfigSchema } from '../dashboard/api/config.ts'
import { RegistryConfigSchema } from '../device-registry/config.ts'
import { IngestConfigSchema } from '../ingest/config.ts'
import { ProcessingConfigSchema } from '../processing/config.ts'
import { crossCheckWindowsConfig, WindowsConfigSchema } from '../processing/windows/config.ts'
import { crossCheckProvisioningConfig, ProvisioningConfigSchema } from '../provisioning/config.ts'
import { DocumentsConfigSchema } from '../storage/documents/config.ts'
import { crossCheckEventLogConfig, EventLogConfigSchema } from '../storage/event-log/config.ts'
import { crossCheckSeriesConfig, SeriesConfigSchema } from '../storage/series/config.ts'

/** What concerns the whole process. */
export const PlatformConfigSchema = Type.Object(
  {
    dataDirectory: Type.String({ default: './data', minLength: 1, env: 'FLEETPULSE_DATA', description: 'Folder of all state (made with mode 0700).' }),
    logLevel: Type.Union(
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'].map((level) => Type.Literal(level)),
      { default: 'info', env: 'FLEETPULSE_LOG_LEVEL', description: 'Least severe log line that is written.' },
    ),
    stopTimeoutMs: Type.Integer({ default: 4_000, minimum: 100, maximum: 60_000, description: 'Longest time one service may take to stop, in ms; a stop of everything takes less than 10 s.' }),
    topicPrefix: Type.String({ default: 'fleetpulse.', maxLength: 64, pattern: '^[A-Za-z0-9._-]*$', description: 'In front of every topic of the event log.' }),
    readingsRetentionMs: Type.Integer({ default: 7 * 86_400_000, minimum: 0, description: 'Readings stay in the event log for so long, in ms (the series store keeps its own retention); 0 = no bound by age.' }),
    readingsRetentionBytes: Type.Integer({ default: 4 * 1024 ** 3, minimum: 0, description: 'Bytes of readings in the event log; 0 = no bound by size.' }),
    otherRetentionMs: Type.Integer({ default: 30 * 86_400_000, minimum: 0, description: 'As readingsRetentionMs, for every other topic.' }),
    otherRetentionBytes: Type.Integer({ default: 512 * 1024 ** 2, minimum: 0, description: 'As readingsRetentionBytes, for each other topic.' }),
    anomaliesMax: Type.Integer({ default: 200_000, minimum: 100, description: 'Anomalies kept for charts and explanations; the oldest by receipt go first.' }),
    seriesRetentionMs: Type.Integer({ default: 90 * 86_400_000, minimum: 0, description: 'Stored readings are removed this long after receipt, in ms; 0 keeps them for good.' }),
    seriesRetentionCheckMs: Type.Integer({ default: 3_600_000, minimum: 1_000, description: 'How often that is done, in ms.' }),
  },
  { additionalProperties: false, default: {} },
)

/** Every section of the configuration, each owned by its station. */
export const SECTIONS = {
  platform: PlatformConfigSchema,
  broker: brokerConfigSchema,
  ingest: IngestConfigSchema,
  processing: ProcessingConfigSchema,
  windows: WindowsConfigSchema,
  anomaly: AnomalyConfigSchema,
  alerts: AlertsConfigSchema,
  webhooks: WebhooksConfigSchema,
  registry: RegistryConfigSchema,
  provisioning: ProvisioningConfigSchema,
  api: ApiConfigSchema,
  eventLog: EventLogConfigSchema,
  series: SeriesConfigSchema,
  documents: DocumentsConfigSchema,
} as const satisfies Record<string, TSchema>

export type Config = { [K in keyof typeof SECTIONS]: Static<(typeof SECTIONS)[K]> }

/** What settings must hold together; each section knows its own rules. */
export function crossCheck(config: Config): ConfigFault[] {
  return [
    ...crossCheckWindowsConfig(config.windows, 'windows'),
    ...anomalyConfigFaults(config.anomaly, 'anomaly'),
    ...crossCheckAlertsConfig(config.alerts, 'alerts'),
    ...crossCheckWebhooksConfig(config.webhooks, 'webhooks'),
    ...crossCheckProvisioningConfig(config.provisioning, 'provisioning'),
    ...crossCheckSeriesConfig(config.series, 'series'),
    ...crossCheckEventLogConfig(config.eventLog, 'eventLog'),
  ]
}
