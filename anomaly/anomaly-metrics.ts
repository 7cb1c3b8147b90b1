import type { Counter } from 'prom-client'
import type { Metrics } from '../kernel/metrics.ts'

/** Counters of the anomaly operator; made once, labels bounded. */
export class AnomalyMetrics {
  readonly raised: Counter<'cause' | 'severity'>
  readonly cleared: Counter<'cause'>
  /** Values beyond `metricsPerDeviceMax`. */
  readonly unscored: Counter
  constructor(metrics: Metrics) {
    this.raised = metrics.counter('anomaly_raised_anomalies_total', 'Anomalies raised, by cause and severity', ['cause', 'severity'])
    this.cleared = metrics.counter('anomaly_cleared_anomalies_total', 'Anomalies cleared, by cause', ['cause'])
    this.unscored = metrics.counter(
      'anomaly_unscored_values_total',
      'Values not scored because their device has more metrics than metricsPerDeviceMax',
    )
  }
}
