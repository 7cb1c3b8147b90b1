import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../kernel/errors.ts'
import { IMPACTS, PolicySchema, type Impact } from './policies/policy.ts'

/** Settings of the anomaly operator. */
export const AnomalyConfigSchema = Type.Object(
  {
    alertThreshold: Type.Number({
      minimum: 0.05,
      maximum: 1,
      default: 0.65,
      description:
        'novelty, 0.05 to 1, at which an anomaly is raised. 0.65 lets about one clean series in several speak once a day at a reading a second, and less often when readings are fewer',
    }),
    criticalThreshold: Type.Number({
      minimum: 0.05,
      maximum: 1,
      default: 0.85,
      description: 'novelty, 0.05 to 1 and not below alertThreshold, from which an anomaly is critical instead of a warning',
    }),
    impact: Type.Unsafe<Impact>({
      type: 'string',
      enum: [...IMPACTS],
      default: 'normal',
      description:
        'low, normal or high: what an anomaly means where no policy says otherwise. Of low impact it is never critical; of high impact it is as soon as it is more likely true than not',
    }),
    policies: Type.Array(PolicySchema, {
      default: [],
      maxItems: 1_000,
      description:
        'settings of their own for metrics of devices, at most 1000; the first that names both holds, after those that people put over the API. Readings that are replayed after a change of these are judged by the new ones',
    }),
    normalBelow: Type.Number({
      minimum: 0.01,
      maximum: 1,
      default: 0.4,
      description:
        'novelty, 0.01 to 1 and not above alertThreshold, below which a reading counts as normal again: apart from alertThreshold, so that nothing flaps',
    }),
    confirmedThreshold: Type.Number({
      minimum: 0.05,
      maximum: 1,
      default: 0.5,
      description:
        'novelty, 0.05 to 1, at which the like of an anomaly that people confirmed is raised: below alertThreshold, so that it comes sooner than what nobody has judged',
    }),
    rejectedQuietMs: Type.Integer({
      minimum: 0,
      maximum: 86_400_000,
      default: 3_600_000,
      description:
        'ms of event time, up to a day, for which the like of a rejected anomaly stays quiet at most, where it is not known how long the rejected one lasted; beyond it is raised after all',
    }),
    feedbackPollMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 1_000,
      description:
        'ms, 100 to 10 minutes, between two looks for feedback that was applied or undone, and for policies that were put: one small query each time',
    }),
    feedbackMax: Type.Integer({
      minimum: 1,
      maximum: 10_000_000,
      default: 1_000_000,
      description: 'pieces of feedback kept per tenant, 1 to 10000000; more are refused',
    }),
    feedbackChangesMax: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 10_000,
      description:
        'times, 1 to 1000000, that feedback may be applied or undone, and policies put, in all, each for itself: every process that scores holds all of them, so that a replay of the log meets each where it was; about 1 KiB each',
    }),
    feedbackGroupMax: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 10_000,
      description: 'devices, 1 to 100000, of a group that feedback is applied to: their names are kept with it',
    }),
    previewDevicesMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 20,
      description: 'devices, 1 to 10000, whose stored readings the preview of feedback replays: bounds its time',
    }),
    previewReadingsMax: Type.Integer({
      minimum: 100,
      maximum: 10_000_000,
      default: 50_000,
      description:
        'newest readings of a device, 100 to 10000000, that the preview of feedback replays: bounds its memory, about 50 bytes each',
    }),
    previewShareMax: Type.Number({
      minimum: 0.01,
      maximum: 1,
      default: 0.25,
      description: 'share of its thread, 0.01 to 1, that a preview takes: it rests in between, so that readings go on',
    }),
    clearAfterReadings: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 60,
      description:
        'readings in a row, 1 to 100000, that must be normal before an anomaly is cleared; repeats of one event within them stay one anomaly',
    }),
    clearAfterMs: Type.Integer({
      minimum: 0,
      maximum: 86_400_000,
      default: 10_000,
      description:
        'ms of event time, up to a day, since the last reading that would raise it: a fast series does not open and clear an anomaly many times a second',
    }),
    metricsPerDeviceMax: Type.Integer({
      minimum: 1,
      maximum: 4_096,
      default: 64,
      description:
        'metrics scored per device, 1 to 4096: bounds memory, about 6 KiB each; further metrics are stored but not scored, and counted',
    }),
    ensemble: Type.Boolean({
      default: true,
      description:
        'true or false: whether the whole ensemble of detectors judges, or its fast tier alone, which needs 2 KiB a series instead of 6 and finds less',
    }),
    correlation: Type.Boolean({
      default: true,
      description:
        'true or false: whether metrics of one device that went together and no longer do are anomalies; about a KiB a device of several metrics',
    }),
    peers: Type.Boolean({
      default: true,
      description:
        'true or false: whether a device that is odd among the others of its type is an anomaly; about 300 bytes a metric of a device, 16 metrics at most',
    }),
    peersMin: Type.Integer({
      minimum: 3,
      maximum: 100_000,
      default: 5,
      description: 'others of its type, 3 to 100000, that a device is compared with at least: of fewer nobody can say what is usual',
    }),
    peersSlotMs: Type.Integer({
      minimum: 1_000,
      maximum: 86_400_000,
      default: 60_000,
      description:
        'ms of event time, a second to a day: devices are compared by what they were like in the same slot of this length; one that says nothing in a slot is not compared in it',
    }),
    peersWaitMs: Type.Integer({
      minimum: 100,
      maximum: 86_400_000,
      default: 60_000,
      description:
        'ms, 100 to a day, after the first device is through with a slot in which others may still come: longer finds slower devices, and an odd one later',
    }),
    peersPollMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 5_000,
      description: 'ms, 100 to 10 minutes, between two looks for slots to be summarised and for summaries of other processes',
    }),
    peersKept: Type.Integer({
      minimum: 10,
      maximum: 1_000_000,
      default: 2_000,
      description:
        'summaries kept, 10 to 1000000, over all types, one a slot each: every process that scores holds them, about 4 KiB each; readings replayed from before them are compared with nobody',
    }),
    peersValuesMax: Type.Integer({
      minimum: 1_000,
      maximum: 100_000_000,
      default: 1_000_000,
      description:
        'values of devices held until their slot is summarised, 1000 to 100000000, about 20 bytes each; further ones are counted and left out',
    }),
    ensembleEveryMs: Type.Integer({
      minimum: 0,
      maximum: 86_400_000,
      default: 1_000,
      description:
        'ms of event time, 0 to a day, between two readings of a series that the whole ensemble of detectors judges; those in between are judged by its fast tier alone. A second keeps fast series cheap; 0 judges every reading in full',
    }),
    silenceFactor: Type.Number({
      minimum: 1.5,
      maximum: 1_000,
      default: 5,
      description:
        "times, 1.5 to 1000, the device's longest usual gap between readings after which it is silent, where its type says nothing",
    }),
    silenceMinMs: Type.Integer({
      minimum: 1_000,
      maximum: 86_400_000,
      default: 60_000,
      description: 'ms, a second to a day: a learnt silence limit is never shorter, so that a reconnect is no alert',
    }),
    silenceMaxMs: Type.Integer({
      minimum: 1_000,
      maximum: 2_592_000_000,
      default: 86_400_000,
      description:
        'ms, a second to 30 days and not below silenceMinMs: a learnt silence limit is never longer, so that every device is missed some day',
    }),
    silenceMinReadings: Type.Integer({
      minimum: 2,
      maximum: 100_000,
      default: 10,
      description: 'readings, 2 to 100000, before a limit is learnt: until then a device is not missed unless its type says when',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type AnomalyConfig = Static<typeof AnomalyConfigSchema>

/** Settings that are each allowed but do not go together; `path` is where this section stands in the whole configuration. */
export function anomalyConfigFaults(config: AnomalyConfig, path = 'anomaly'): ConfigFault[] {
  const faults: ConfigFault[] = []
  if (config.criticalThreshold < config.alertThreshold) {
    faults.push({ key: `${path}.criticalThreshold`, problem: 'is below alertThreshold', allowed: `from ${config.alertThreshold} to 1` })
  }
  if (config.normalBelow > config.alertThreshold) {
    faults.push({ key: `${path}.normalBelow`, problem: 'is above alertThreshold', allowed: `from 0.01 to ${config.alertThreshold}` })
  }
  if (config.silenceMaxMs < config.silenceMinMs) {
    faults.push({ key: `${path}.silenceMaxMs`, problem: 'is below silenceMinMs', allowed: `from ${config.silenceMinMs} to 2592000000` })
  }
  return faults
}
