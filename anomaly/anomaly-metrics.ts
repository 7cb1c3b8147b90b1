import type { Counter } from 'prom-client'
import type { Metrics } from '../kernel/metrics.ts'

/** Counters of the anomaly operator; made once, labels bounded. */
export class AnomalyMetrics {
  readonly raised: Counter<'cause' | 'severity'>
  readonly cleared: Counter<'cause'>
  /** Anomalies that feedback keeps quiet, and raises before their time. */
  readonly quieted: Counter
  readonly sooner: Counter
  /** Values beyond `metricsPerDeviceMax`. */
  readonly unscored: Counter
  constructor(metrics: Metrics) {
    this.raised = metrics.counter('anomaly_raised_anomalies_total', 'Anomalies raised, by cause and severity', ['cause', 'severity'])
    this.cleared = metrics.counter('anomaly_cleared_anomalies_total', 'Anomalies cleared, by cause', ['cause'])
    this.quieted = metrics.counter('anomaly_quieted_anomalies_total', 'Anomalies not raised because they are the like of rejected ones')
    this.sooner = metrics.counter('anomaly_sooner_anomalies_total', 'Anomalies raised early because they are the like of confirmed ones')
    this.unscored = metrics.counter(
      'anomaly_unscored_values_total',
      'Values not scored because their device has more metrics than metricsPerDeviceMax',
    )
  }
}
