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
    staleResolveMs: Type.Integer({
      minimum: 0,
      maximum: 365 * DAY_MS,
      default: 0,
      description:
        'ms, 0 to a year: an alert of which nothing was heard for so long resolves by itself; 0, the default, never, because every source clears what it raised',
    }),
    flapCount: Type.Integer({
      minimum: 0,
      maximum: 100,
      default: 4,
      description:
        'times, 0 to 100, that a cause comes back within flapWindowMs until its alert counts as flapping: told once, and held open until it stayed away for flapQuietMs; 0 switches that off',
    }),
    flapWindowMs: Type.Integer({
      minimum: 60_000,
      maximum: 7 * DAY_MS,
      default: 3_600_000,
      description: 'ms of event time, a minute to a week: returns further back do not make an alert flap',
    }),
    flapQuietMs: Type.Integer({
      minimum: 0,
      maximum: DAY_MS,
      default: 900_000,
      description: 'ms, 0 to a day: the quiet time of a flapping alert, if it is longer than resolveQuietMs',
    }),
    severityHoldMs: Type.Integer({
      minimum: 0,
      maximum: 7 * DAY_MS,
      default: 600_000,
      description: 'ms of event time, 0 to a week, without a critical anomaly until a critical alert that goes on falls to warning',
    }),
    escalationStepsMs: Type.Array(Type.Integer({ minimum: 1_000, maximum: 30 * DAY_MS }), {
      default: [900_000, 3_600_000],
      maxItems: 10,
      description:
        'ms, each a second to 30 days, up to 10: how long an alert waits at each step for somebody to acknowledge it before it escalates; routes match the label escalation (1, 2, …); empty: never',
    }),
    dependencyGraceMs: Type.Integer({
      minimum: 0,
      maximum: 3_600_000,
      default: 60_000,
      description: 'ms, 0 to an hour, that devices have to be heard again after their gateway came back, before their alerts are told',
    }),
    dependencyRecheckMs: Type.Integer({
      minimum: 1_000,
      maximum: 3_600_000,
      default: 300_000,
      description:
        'ms, 1000 to an hour: how often an alert that a silent gateway keeps quiet asks whether it still does, should the word have been lost in a crash',
    }),
    maintenanceWindowsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 500,
      description: 'maintenance windows of one tenant, 1 to 10000: every opened alert is compared with them',
    }),
    maintenanceRefreshMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 2_000,
      description: 'ms, 100 to 600000: how often maintenance windows changed by another process are read',
    }),
    incidentWindowMs: Type.Integer({
      minimum: 1_000,
      maximum: DAY_MS,
      default: 300_000,
      description: 'ms, a second to a day: an alert joins an incident that another one joined no longer ago than this',
    }),
    incidentBurstMs: Type.Integer({
      minimum: 1_000,
      maximum: DAY_MS,
      default: 60_000,
      description: 'ms, a second to a day: incidents that opened within it count for incidentsPerGroupMax and incidentsPerCauseMax',
    }),
    incidentsPerGroupMax: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 2,
      description: 'incidents of single devices of one type, place and cause in a burst, 1 to 1000; then one takes them together',
    }),
    incidentsPerCauseMax: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 3,
      description:
        'incidents of one cause in a burst, 1 to 1000; then one for the whole fleet takes the rest, so that a storm makes one more than this',
    }),
    incidentsJoinableMax: Type.Integer({
      minimum: 10,
      maximum: 10_000,
      default: 500,
      description: 'incidents of a tenant that alerts may join at a time, 10 to 10000: they are kept in one document; the oldest go first',
    }),
    incidentRecountMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 2_000,
      description: 'ms, 100 to 600000: how long after a change the alerts of an incident are counted anew: once for all changes within it',
    }),
    bulkItemsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 1_000,
      description: 'alerts that one bulk request may name, 1 to 10000',
    }),
    healthCheckMs: Type.Integer({
      minimum: 1_000,
      maximum: 600_000,
      default: 10_000,
      description: "ms, 1000 to 600000: how often the platform's own health is looked at",
    }),
    healthTroubleMs: Type.Integer({
      minimum: 0,
      maximum: 3_600_000,
      default: 30_000,
      description: 'ms, 0 to an hour, that a part of the platform does not work until an alert opens: a restart of a store is shorter',
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
    externalDeviceLabel: Type.String({
      minLength: 1,
      maxLength: 64,
      default: 'device',
      description:
        'name of a label, 1 to 64 characters: which label of an alert that Alertmanager sends names the device; one that the registry does not know, or none, makes it an alert of no device (`_external`)',
    }),
    externalItemsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 500,
      description: "alerts in one request of another system, 1 to 10000; Alertmanager's max_alerts should be no higher",
    }),
    externalRequestsPerMinute: Type.Integer({
      minimum: 1,
      maximum: 60_000,
      default: 600,
      description:
        'requests a minute with alerts of other systems, 1 to 60000, for each caller and each process that serves the API; as many at once',
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
