import { Type, type Static } from 'typebox'

/** Where traces go besides the log; nothing leaves the machine unless this says so. */
export const TelemetryConfigSchema = Type.Object(
  {
    otlpEndpoint: Type.String({
      default: '',
      maxLength: 2_048,
      pattern: '^(https?://[^\\s?#]+)?$',
      env: 'OTEL_EXPORTER_OTLP_ENDPOINT',
      description:
        'base address of an OpenTelemetry collector (OTLP/HTTP, JSON) that spans are sent to, below it at v1/traces; empty: none are',
    }),
    otlpHeaders: Type.String({
      default: '',
      maxLength: 4_096,
      secret: true,
      env: 'OTEL_EXPORTER_OTLP_HEADERS',
      description: 'headers of those requests, NAME=VALUE separated by commas, for instance what a collector knows us by',
    }),
    spansMax: Type.Integer({
      default: 2_048,
      minimum: 1,
      maximum: 100_000,
      description: 'spans that wait to be sent, 1 to 100000; more are dropped, and counted',
    }),
    batchSpansMax: Type.Integer({ default: 512, minimum: 1, maximum: 10_000, description: 'spans of one request, 1 to 10000' }),
    sendIntervalMs: Type.Integer({
      default: 5_000,
      minimum: 50,
      maximum: 600_000,
      description: 'ms, 50 to 600000: how often what waits is sent',
    }),
    sendTimeoutMs: Type.Integer({
      default: 3_000,
      minimum: 100,
      maximum: 60_000,
      description: 'ms, 100 to 60000: one request as a whole; a stop waits for one',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type TelemetryConfig = Static<typeof TelemetryConfigSchema>
