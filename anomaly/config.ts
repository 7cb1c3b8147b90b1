import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../kernel/errors.ts'

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
    normalBelow: Type.Number({
      minimum: 0.01,
      maximum: 1,
      default: 0.4,
      description:
        'novelty, 0.01 to 1 and not above alertThreshold, below which a reading counts as normal again: apart from alertThreshold, so that nothing flaps',
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
        'metrics scored per device, 1 to 4096: bounds memory, about 2 KiB each; further metrics are stored but not scored, and counted',
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
