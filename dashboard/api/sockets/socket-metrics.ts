import { LATENCY_BUCKETS_S, type Metrics } from '../../../kernel/metrics.ts'

const made = new WeakMap<Metrics, ReturnType<typeof make>>()

function make(metrics: Metrics) {
  return {
    open: metrics.gauge('dashboard_conversation_sockets_open', 'Open sockets of conversations'),
    frames: metrics.counter('dashboard_conversation_frames_total', 'Frames sent on sockets of conversations', ['type'] as const),
    ends: metrics.counter('dashboard_conversation_sockets_closed_total', 'Sockets of conversations closed by the server', [
      'code',
    ] as const),
    delaySeconds: metrics.histogram(
      'dashboard_conversation_message_delay_seconds',
      'From when a message was said to when a socket that was up to date had it',
      LATENCY_BUCKETS_S,
    ),
  }
}

/** One set for one registry, however many servers show it. */
export function socketMetrics(metrics: Metrics): ReturnType<typeof make> {
  const known = made.get(metrics) ?? make(metrics)
  made.set(metrics, known)
  return known
}
