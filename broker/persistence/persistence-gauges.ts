import type { Metrics } from '../../kernel/metrics.ts'
import type { DocumentsPersistence } from './documents-persistence.ts'

/** What the broker keeps for devices, read when it is scraped. */
export function exposePersistence(metrics: Metrics, { sessions, queues, retained }: DocumentsPersistence): void {
  metrics.gaugeOf('broker_sessions', 'Persistent sessions kept', () => sessions.size)
  metrics.gaugeOf('broker_queued_messages', 'Messages waiting for persistent sessions', () => queues.messages)
  metrics.gaugeOf('broker_queued_bytes', 'Bytes waiting for persistent sessions', () => queues.sizeBytes)
  metrics.gaugeOf('broker_retained_messages', 'Retained messages', () => retained.messages)
  metrics.gaugeOf('broker_retained_bytes', 'Bytes of retained messages', () => retained.sizeBytes)
}
