import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../kernel/errors.ts'

const DAY_MS = 86_400_000

/** Settings of the alert worker and service. */
export const AlertsConfigSchema = Type.Object(
  {
    resolveQuietMs: Type.Integer({
      minimum: 0,
      maximum: DAY_MS,
      default: 60_000,
      description:
        'ms, 0 to a day: an alert whose anomaly cleared resolves after so long without another one, in event time or on the wall; 0 resolves at once, and a flapping signal then opens an alert each time',
    }),
    historyMax: Type.Integer({
      minimum: 5,
      maximum: 1_000,
      default: 50,
      description: 'entries of history kept per alert, 5 to 1000; the oldest go and are counted',
    }),
    anomalyIdsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 64,
      description:
        'anomaly ids remembered per alert, 1 to 10000: an anomaly that an upstream replay appends again within so many changes nothing',
    }),
    silenceMaxMs: Type.Integer({
      minimum: 60_000,
      maximum: 365 * DAY_MS,
      default: 30 * DAY_MS,
      description: 'ms, a minute to a year: an alert cannot be silenced for longer, so that none is forgotten',
    }),
    resolvedRetentionMs: Type.Integer({
      minimum: DAY_MS,
      maximum: 3_650 * DAY_MS,
      default: 90 * DAY_MS,
      description: 'ms, a day to ten years: resolved alerts are removed after so long',
    }),
    pageItemsMax: Type.Integer({ minimum: 1, maximum: 1_000, default: 200, description: 'alerts one page of a list may hold, 1 to 1000' }),
    batchRecordsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 500,
      description: 'anomalies taken from the log at a time, 1 to 10000: bounds memory, and what one commit repeats after a crash',
    }),
    pollWaitMs: Type.Integer({
      minimum: 10,
      maximum: 60_000,
      default: 1_000,
      description: 'ms, 10 to 60000: longest wait of one poll of the log; new records end it earlier',
    }),
    writesInFlightMax: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 128,
      description: 'alert documents written at a time, 1 to 1000: enough to share one group commit of the store',
    }),
    casAttemptsMax: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 100,
      description: 'tries of one change against others at the same alert, 1 to 1000; then it fails as a conflict',
    }),
    sweepIntervalMs: Type.Integer({
      minimum: 100,
      maximum: 60_000,
      default: 1_000,
      description: 'ms, 100 to 60000: how often quiet alerts, unpublished changes and expired documents are looked for',
    }),
    republishAfterMs: Type.Integer({
      minimum: 1_000,
      maximum: 600_000,
      default: 10_000,
      description:
        'ms, 1000 to 600000: a change whose message may not have reached the log (a crash in between) is appended again after so long, under the same id',
    }),
    retryInitialMs: Type.Integer({
      minimum: 1,
      maximum: 60_000,
      default: 100,
      description: 'ms, 1 to 60000: first wait when a store or the log fails; doubles each time',
    }),
    retryMaxMs: Type.Integer({
      minimum: 1,
      maximum: 600_000,
      default: 10_000,
      description: 'ms, retryInitialMs to 600000: longest such wait',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type AlertsConfig = Static<typeof AlertsConfigSchema>

/** Faults that the schema cannot see; `section` is its dotted path. */
export function crossCheckAlertsConfig(config: AlertsConfig, section: string): ConfigFault[] {
  if (config.retryMaxMs >= config.retryInitialMs) return []
  return [
    {
      key: `${section}.retryMaxMs`,
      problem: `${config.retryMaxMs} is shorter than retryInitialMs`,
      allowed: `at least ${config.retryInitialMs}`,
    },
  ]
}
