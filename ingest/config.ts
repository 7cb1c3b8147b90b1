import { Type, type Static } from 'typebox'

/** What one publish may hold; each bound keeps one device from costing the others memory or columns. */
export const IngestConfigSchema = Type.Object(
  {
    arrayReadingsMax: Type.Integer({ default: 5_000, minimum: 1, maximum: 100_000, description: 'Readings in one publish; more and the whole publish is rejected.' }),
    metricsPerReadingMax: Type.Integer({ default: 256, minimum: 1, maximum: 4_096, description: 'Metrics in one reading.' }),
    metricsPerTypeMax: Type.Integer({ default: 512, minimum: 1, maximum: 10_000, description: 'Distinct metrics (columns) of one device type; a reading that would add one more is rejected.' }),
    metricNameCharactersMax: Type.Integer({ default: 128, minimum: 1, maximum: 512, description: 'Characters of a metric name.' }),
    stringValueCharactersMax: Type.Integer({ default: 1_024, minimum: 1, maximum: 65_536, description: 'Characters of a text value.' }),
    rejectedPayloadBytesMax: Type.Integer({ default: 16_384, minimum: 0, maximum: 1_048_576, description: 'Bytes of a rejected payload that are kept with its reason.' }),
    pendingBytesMax: Type.Integer({ default: 134_217_728, minimum: 1_048_576, description: 'Bytes waiting to become durable in this process; above it publishes fail, their connections close and devices send again.' }),
  },
  { additionalProperties: false, default: {} },
)
export type IngestConfig = Static<typeof IngestConfigSchema>
