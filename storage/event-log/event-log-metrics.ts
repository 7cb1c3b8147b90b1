import { LATENCY_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'

/** What the embedded event log counts. Labels are topics and groups of the program, never devices. */
export function eventLogMetrics(metrics: Metrics) {
  return {
    appendedMessages: metrics.counter('event_log_appended_messages_total', 'Messages that became durable', ['topic']),
    appendedBytes: metrics.counter('event_log_appended_bytes_total', 'Bytes of entries that became durable', ['topic']),
    appendSeconds: metrics.histogram(
      'event_log_append_seconds',
      'From handing a commit to the engine until it is on the disk',
      LATENCY_BUCKETS_S,
    ),
    appendFailures: metrics.counter('event_log_append_failures_total', 'Commits that were rejected', ['code']),
    conflicts: metrics.counter('event_log_commit_conflicts_total', 'Commits repeated because another thread appended first'),
    pendingBytes: metrics.gauge('event_log_pending_bytes', 'Bytes appended but not yet durable'),
    lag: metrics.gauge('event_log_consumer_lag_messages', 'Messages between the committed offset and the end', ['topic', 'group']),
    lostMessages: metrics.counter(
      'event_log_lost_to_retention_messages_total',
      'Messages removed by retention before the group read them',
      ['topic', 'group'],
    ),
    removedMessages: metrics.counter('event_log_retention_removed_messages_total', 'Messages removed by retention', ['topic']),
    removedBytes: metrics.counter('event_log_retention_removed_bytes_total', 'Bytes removed by retention', ['topic']),
  }
}
export type EventLogMetrics = ReturnType<typeof eventLogMetrics>
